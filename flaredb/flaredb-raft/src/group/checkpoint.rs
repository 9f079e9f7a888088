//! Keeps the log short: flushes the state machine now and then, so that the log before it can go.
//!
//! A flush is due after so many bytes of log, after so long, or when the log engine asks for it because this
//! region holds its oldest file. openraft purges after it, keeping what a follower that was briefly away needs.

use std::{sync::Arc, time::Duration};

use super::Replica;

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
            covered = applied;
            if replica.raft.trigger().snapshot().await.is_err() {
                return;
            }
        }
    }
}
