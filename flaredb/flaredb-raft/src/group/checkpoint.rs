//! Keeps the log short: flushes the state machine now and then, so that the log before it can go.
//!
//! A flush is due after so many bytes of log, after so long, or when the log engine asks for it because this
//! region holds its oldest file. openraft purges after it, keeping what a follower that was briefly away needs. While
//! a peer catches up from a snapshot, nothing is purged, unless the disk is about to be full.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Replica, metrics_of};
use crate::{error::ReadError, types::position};

/// Checkpoints until the replica stops.
pub(crate) async fn run(replica: Arc<Replica>, interval: Duration) {
    let mut covered = replica.machine.flushed_index();
    loop {
        tokio::select! {
            () = replica.machine.checkpoint_due.notified() => {}
            () = tokio::time::sleep(interval) => {}
            () = replica.stop.cancelled() => return,
        }
        let applied = *replica.machine.watch_applied().borrow();
        if applied > covered {
            match replica.checkpoint(applied).await {
                Ok(Purged::Yes) => covered = applied,
                Ok(Purged::NotYet) => {}
                Err(_stopped) => return,
            }
        }
    }
}

/// Whether a checkpoint let the log go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purged {
    Yes,
    /// Somebody still needs it.
    NotYet,
}

impl Replica {
    /// Flushes what was applied, and lets the log before it be purged, if nobody needs it.
    pub(crate) async fn checkpoint(&self, applied: u64) -> Result<Purged, ReadError> {
        if self.is_log_needed(applied) {
            let flushed = self.machine.flushed().await;
            return flushed.map(|_view| Purged::NotYet).map_err(|_told| ReadError::Stopped);
        }
        let triggered = self.raft.trigger().snapshot().await;
        triggered.map(|()| Purged::Yes).map_err(|_fatal| ReadError::Stopped)
    }

    fn is_log_needed(&self, applied: u64) -> bool {
        let metrics = metrics_of(&self.raft);
        let matched = |peer: u64| Some(position(metrics.replication.as_ref()?.get(&peer)?.as_ref()));
        let end = applied.saturating_sub(self.entries_kept);
        self.network.catch_ups.need(end, Instant::now(), matched) && !self.log.space().is_short()
    }
}
