//! What the rest of the process asks of a running node.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    identity::Identity,
    keyring::{Key, KeyId, KeyringError},
    metadata::Metadata,
    roster::Member,
};

/// All nodes but this one, as they were after the last event.
pub type Members = Arc<Vec<Member>>;

#[derive(Debug)]
pub(super) enum Command {
    SetMetadata(Metadata, oneshot::Sender<()>),
    ChangeKeys(KeyChange, oneshot::Sender<Result<Vec<KeyId>, KeyringError>>),
}

#[derive(Debug)]
pub(super) enum KeyChange {
    Show,
    Add(Key),
    Use(KeyId),
    Remove(KeyId),
}

/// The node does not run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gossip has stopped")]
pub struct Stopped;

/// Why the keys are as they were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The ring refused.
    #[error(transparent)]
    Keyring(#[from] KeyringError),
    /// Nobody was there to ask.
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// A running node, from outside. Clones are of the same node.
#[derive(Clone, Debug)]
pub struct Handle {
    commands: mpsc::Sender<Command>,
    members: watch::Receiver<Members>,
    identity: watch::Receiver<Identity>,
}

impl Handle {
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        members: watch::Receiver<Members>,
        identity: watch::Receiver<Identity>,
    ) -> Self {
        Self { commands, members, identity }
    }

    /// Who the node is at present: it goes on as its next life when it was declared dead, or had lived before.
    pub fn identity(&self) -> Identity {
        *self.identity.borrow()
    }

    /// The members now, and whenever they change.
    pub fn members(&self) -> watch::Receiver<Members> {
        self.members.clone()
    }

    /// Changes what the node says about itself.
    ///
    /// # Errors
    /// When the node has stopped.
    pub async fn set_metadata(&self, metadata: Metadata) -> Result<(), Stopped> {
        self.command(|done| Command::SetMetadata(metadata, done)).await
    }

    /// The keys' names; the one that seals comes first.
    ///
    /// # Errors
    /// When the node has stopped.
    pub async fn keys(&self) -> Result<Vec<KeyId>, KeyError> {
        self.change_keys(KeyChange::Show).await
    }

    /// Opens what is sealed with this key as well. The first of three rounds over all nodes.
    ///
    /// # Errors
    /// When the ring is full, or the node has stopped.
    pub async fn add_key(&self, key: Key) -> Result<Vec<KeyId>, KeyError> {
        self.change_keys(KeyChange::Add(key)).await
    }

    /// Seals with this key. The second round.
    ///
    /// # Errors
    /// When the ring has no such key, or the node has stopped.
    pub async fn use_key(&self, id: KeyId) -> Result<Vec<KeyId>, KeyError> {
        self.change_keys(KeyChange::Use(id)).await
    }

    /// Refuses what is sealed with this key. The last round.
    ///
    /// # Errors
    /// When the ring has no such key or seals with it, or the node has stopped.
    pub async fn remove_key(&self, id: KeyId) -> Result<Vec<KeyId>, KeyError> {
        self.change_keys(KeyChange::Remove(id)).await
    }

    async fn change_keys(&self, change: KeyChange) -> Result<Vec<KeyId>, KeyError> {
        Ok(self.command(|done| Command::ChangeKeys(change, done)).await??)
    }

    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Result<T, Stopped> {
        let (done, outcome) = oneshot::channel();
        self.commands.send(command(done)).await.map_err(|_closed| Stopped)?;
        outcome.await.map_err(|_dropped| Stopped)
    }
}
