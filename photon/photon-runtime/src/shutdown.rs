//! The phases of a process's end, in order and one way: asked for, draining, stopping.
//!
//! Asked for: nothing has changed yet. Draining: no new calls, those in flight go on, and so must every task that
//! serves them. Stopping: nothing is in flight any more, tasks end.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use crate::service::BoxError;

/// A handle on the process's end. Clones are of the same process.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    requested: CancellationToken,
    draining: CancellationToken,
    stopping: CancellationToken,
    failure: Arc<OnceLock<TaskFailure>>,
}

/// Which critical task ended when it should not have, and why.
#[derive(Debug, thiserror::Error)]
#[error("critical task {task} ended")]
pub(crate) struct TaskFailure {
    pub(crate) task: &'static str,
    #[source]
    pub(crate) source: BoxError,
}

impl Shutdown {
    /// Asks the process to drain and end.
    pub fn request(&self) {
        self.requested.cancel();
    }

    /// Whether the end was asked for.
    pub fn is_requested(&self) -> bool {
        self.requested.is_cancelled()
    }

    /// Waits until the end is asked for.
    pub async fn requested(&self) {
        self.requested.cancelled().await;
    }

    /// Cancelled when new calls are no longer taken. Only what waits for new work ends on this.
    pub fn draining(&self) -> CancellationToken {
        self.draining.clone()
    }

    /// Cancelled when nothing is in flight any more. Tasks end on this.
    pub fn stopping(&self) -> CancellationToken {
        self.stopping.clone()
    }

    pub(crate) fn drain(&self) {
        self.requested.cancel();
        self.draining.cancel();
    }

    pub(crate) fn stop(&self) {
        self.drain();
        self.stopping.cancel();
    }

    /// Asks for the end because something broke. The first failure is the one reported.
    pub(crate) fn fail(&self, task: &'static str, source: BoxError) {
        // A second failure is a consequence of the first; it was logged where it happened.
        drop(self.failure.set(TaskFailure { task, source }));
        self.request();
    }

    #[cfg(test)]
    pub(crate) fn failure(&self) -> Option<&TaskFailure> {
        self.failure.get()
    }

    pub(crate) fn into_failure(self) -> Option<TaskFailure> {
        let Self { failure, .. } = self;
        match Arc::try_unwrap(failure) {
            Ok(failure) => failure.into_inner(),
            Err(shared) => shared.get().map(|failure| TaskFailure {
                task: failure.task,
                source: crate::errors::chain(failure.source.as_ref()).to_string().into(),
            }),
        }
    }
}
