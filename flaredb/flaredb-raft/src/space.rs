//! Whether this node has room on its disk.
//!
//! Two things make a node short of space: its host says so, before the disk is full ([`Space::set_short`]), or the log
//! itself met a full disk. In the second case the writer waits and tries again: a write that met a full disk has
//! changed nothing, so unlike a failed sync it may be repeated. Nothing of it is acknowledged meanwhile, and new
//! proposals are refused.
//!
//! A node that is short of space tells its leader with every heartbeat's answer, so that the leader knows whether a
//! quorum could still take what it proposes.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How often a write that met a full disk is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// The room on a node's disk. Clones are of the same node.
#[derive(Clone, Debug, Default)]
pub struct Space(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    short: AtomicBool,
    log_waits: AtomicBool,
    ending: AtomicBool,
}

impl Space {
    /// The host says whether the disk is about to be full.
    pub fn set_short(&self, short: bool) {
        self.0.short.store(short, Ordering::Relaxed);
    }

    /// Whether this node should be given nothing new to write.
    pub fn is_short(&self) -> bool {
        self.0.short.load(Ordering::Relaxed) || self.log_waits()
    }

    /// Whether the log has met a full disk and waits for room.
    pub fn log_waits(&self) -> bool {
        self.0.log_waits.load(Ordering::Relaxed)
    }

    /// Notes that the log has met a full disk and waits a little; false when the node is ending and nobody waits for
    /// the write any more.
    pub(crate) fn wait(&self) -> bool {
        if !self.0.log_waits.swap(true, Ordering::Relaxed) {
            tracing::warn!("the disk of the Raft log is full; nothing is acknowledged until there is room");
        }
        std::thread::sleep(RETRY_DELAY);
        !self.0.ending.load(Ordering::Relaxed)
    }

    /// Notes that the log could be written.
    pub(crate) fn written(&self) {
        if self.0.log_waits.load(Ordering::Relaxed) {
            self.0.log_waits.store(false, Ordering::Relaxed);
            tracing::info!("the Raft log is written again");
        }
    }

    /// Lets a write that waits fail.
    pub(crate) fn end(&self) {
        self.0.ending.store(true, Ordering::Relaxed);
    }
}
