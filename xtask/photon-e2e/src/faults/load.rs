//! Clients that ask and watch all the time, whatever happens, and note what came of it: what they do is the same for
//! each store, how it is asked is the store's.
//!
//! A register key is used for so many requests and then left for a fresh one, which keeps each key's history small
//! enough to be decided.

pub(super) mod strong;
pub(super) mod watchers;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use rand::{RngExt as _, rngs::StdRng};
use tokio::task::JoinSet;

use super::{check::watch::Watched, history::Recorder};

/// Clients of the registers; with the readers of single faults, no key has many more.
pub(super) const STRONG_CLIENTS: u32 = 8;
/// Watches.
pub(super) const WATCHERS: usize = 3;
/// A client's pause between two requests, so that the machine is not the bottleneck.
pub(super) const PACE: Duration = Duration::from_millis(12);
/// How long a client waits for an answer.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);
/// How long one waits for one node, where no other may be asked.
pub(super) const NODE_PATIENCE: Duration = Duration::from_secs(1);

/// What all clients have in common.
#[derive(Debug)]
pub(super) struct Shared {
    /// The notes.
    pub(super) recorder: Recorder,
    stop: AtomicBool,
    /// Requests to register keys so far.
    tickets: AtomicU64,
    /// The last revision there will be, once the clients have stopped.
    last_revision: AtomicU64,
    /// The slots with nodes of the cluster.
    members: Mutex<Vec<usize>>,
}

impl Shared {
    /// For clients that read at these slots.
    pub(super) fn new(members: Vec<usize>) -> Self {
        Self {
            recorder: Recorder::new(),
            stop: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
            last_revision: AtomicU64::new(u64::MAX),
            members: Mutex::new(members),
        }
    }

    /// Whether clients go on.
    pub(super) fn runs(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// Stops the clients, and waits for them.
    ///
    /// # Errors
    /// When one panicked.
    pub(super) async fn stop(&self, clients: &mut JoinSet<()>) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = clients.join_next().await {
            ended?;
        }
        Ok(())
    }

    /// Tells the watches which revision is the last, and waits until they have it.
    ///
    /// # Errors
    /// When one panicked.
    pub(super) async fn end(&self, last: u64, watchers: &mut JoinSet<Watched>) -> Result<Vec<Watched>> {
        self.last_revision.store(last, Ordering::SeqCst);
        let mut watched = Vec::new();
        while let Some(ended) = watchers.join_next().await {
            watched.push(ended?);
        }
        Ok(watched)
    }

    /// Reads are for these nodes from now on.
    pub(super) fn members_are(&self, members: Vec<usize>) {
        *self.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// The slot of one of the nodes.
    pub(super) fn any_slot(&self, random: &mut StdRng) -> usize {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.get(random.random_range(0..members.len().max(1))).copied().unwrap_or(0)
    }
}
