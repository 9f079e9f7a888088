//! The end of a node whose disk has failed.
//!
//! After a failed write or sync nobody knows what is on the disk, and the kernel may report the next sync as a
//! success although the data is gone. So nothing is retried and nothing is acknowledged any more: the hook is
//! called once for each error and is expected to end the process.

use std::{fmt, sync::Arc};

/// Why a node must stop.
#[derive(Debug, thiserror::Error)]
pub enum FatalError {
    /// The log could not be written or synced.
    #[error("the Raft log could not be written")]
    Log(#[source] std::io::Error),
    /// A state machine could not be written.
    #[error("the state machine of region {region_id} failed")]
    StateMachine {
        /// The region whose replica failed.
        region_id: u64,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// A replica ended by itself: its log could not be read, or it found its own state to be impossible.
    #[error("the replica of region {region_id} ended: {reason}")]
    Replica {
        /// The region.
        region_id: u64,
        /// What openraft said.
        reason: String,
    },
}

/// What a node does when it must stop.
#[derive(Clone)]
pub struct FatalHook(Arc<dyn Fn(&FatalError) + Send + Sync>);

impl FatalHook {
    /// Ends the process without running destructors.
    pub fn abort() -> Self {
        Self::new(|_| std::process::abort())
    }

    /// Calls `hook`, which must bring the process to its end.
    pub fn new(hook: impl Fn(&FatalError) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hook))
    }

    /// Logs the error and calls the hook.
    pub(crate) fn trip(&self, error: &FatalError) {
        let cause = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        tracing::error!(%error, cause, "fatal: the node stops");
        (self.0)(error);
    }
}

impl fmt::Debug for FatalHook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FatalHook")
    }
}
