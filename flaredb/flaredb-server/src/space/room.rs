//! The room of a node as writes, applies and flushes see it.

use std::{
    io,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use flaredb_engine::EngineError;
use flaredb_proto::v1::flare_request::Command;

use crate::status::Refusal;

/// How often an apply that found the disk full is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Why writes are refused at the moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Closed {
    /// There is no room where it would be needed.
    NoRoom(String),
    /// Another node is to lead, which has room.
    HandingOver,
}

/// The room of this node, as writes, applies and flushes see it.
#[derive(Debug, Default)]
pub(crate) struct Room {
    closed: RwLock<Option<Closed>>,
    /// Whether there is a reason: looked at by every write.
    is_closed: AtomicBool,
    /// The database found the disk full and has not written since.
    state_waits: AtomicBool,
    ending: AtomicBool,
}

impl Room {
    /// Lets a command in, unless it would need room that is not there. Nothing of it was written when it is refused.
    ///
    /// # Errors
    /// [`Refusal::NoSpace`], or [`Refusal::NotLeader`] while a node with room takes over.
    pub(crate) fn admit(&self, command: &Command) -> Result<(), Refusal> {
        if !self.is_closed.load(Ordering::Relaxed) || makes_room(command) {
            return Ok(());
        }
        match &*self.closed.read().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(Closed::NoRoom(why)) => Err(Refusal::NoSpace(why.clone())),
            Some(Closed::HandingOver) => Err(Refusal::NotLeader { id: 0, endpoint: String::new() }),
        }
    }

    /// Lets writes in from now on, or not.
    pub(super) fn close(&self, why: Option<Closed>) {
        let is_closed = why.is_some();
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = why;
        self.is_closed.store(is_closed, Ordering::Relaxed);
    }

    /// Whether the database found the disk full and has not written since.
    pub(super) fn state_waits(&self) -> bool {
        self.state_waits.load(Ordering::Relaxed)
    }

    /// Repeats `work` for as long as it finds the disk full. Blocks.
    pub(crate) fn patiently<T>(&self, mut work: impl FnMut() -> Result<T, EngineError>) -> io::Result<T> {
        loop {
            match work() {
                Err(error) if error.is_full() => {
                    if !self.state_waits.swap(true, Ordering::Relaxed) {
                        tracing::warn!("the disk of the database is full; applying waits for room");
                    }
                    if self.ending.load(Ordering::Relaxed) {
                        return Err(full(error));
                    }
                    std::thread::sleep(RETRY_DELAY);
                }
                done => {
                    if self.state_waits.load(Ordering::Relaxed) && done.is_ok() {
                        self.state_waits.store(false, Ordering::Relaxed);
                        tracing::info!("the database is written again");
                    }
                    return done.map_err(io::Error::other);
                }
            }
        }
    }

    /// Lets what waits for room fail, so that the process can end.
    pub(crate) fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

/// The error that tells the Raft host that nothing has changed.
pub(crate) fn full(error: EngineError) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, error)
}

/// Commands that are small and let something be forgotten: how an operator gets room back.
fn makes_room(command: &Command) -> bool {
    matches!(
        command,
        Command::DeleteNamespace(_) | Command::CompactHistory(_) | Command::CollectTombstones(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_room_is_let_in_when_there_is_none() {
        let room = Room::default();
        room.close(Some(Closed::NoRoom("full".to_owned())));
        room.admit(&Command::CompactHistory(Default::default())).unwrap();
        let refused = room.admit(&Command::CasPut(Default::default()));
        assert!(matches!(refused, Err(Refusal::NoSpace(why)) if why == "full"));
        room.close(None);
        room.admit(&Command::CasPut(Default::default())).unwrap();
    }
}
