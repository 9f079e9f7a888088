//! Every task of the process, by name, so that shutdown can join them all and say which did not end.
//!
//! A panic in a task is logged with the task's name. A *critical* task is one that the process is pointless without:
//! when it ends while the process should run, by return, error or panic, the process drains and exits with 1.

use std::{
    any::Any,
    collections::BTreeMap,
    convert::Infallible,
    fmt,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use tokio::task::AbortHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{errors::chain, service::BoxError, shutdown::Shutdown};

/// Starts tasks and joins them. Clones are of the same set.
#[derive(Clone)]
pub struct Tasks {
    shutdown: Shutdown,
    tracker: TaskTracker,
    running: Arc<Mutex<Running>>,
}

#[derive(Default)]
struct Running {
    next: u64,
    tasks: BTreeMap<u64, (&'static str, AbortHandle)>,
}

/// What a task may return: nothing, or a result whose error is logged.
pub trait TaskOutcome {
    /// The error, if it failed.
    fn failure(self) -> Option<BoxError>;
}

impl TaskOutcome for () {
    fn failure(self) -> Option<BoxError> {
        None
    }
}

impl TaskOutcome for Infallible {
    fn failure(self) -> Option<BoxError> {
        match self {}
    }
}

impl<E: Into<BoxError>> TaskOutcome for Result<(), E> {
    fn failure(self) -> Option<BoxError> {
        self.err().map(Into::into)
    }
}

impl Tasks {
    /// An empty set, whose tasks end with `shutdown`.
    pub fn new(shutdown: Shutdown) -> Self {
        Self { shutdown, tracker: TaskTracker::new(), running: Arc::default() }
    }

    /// Starts a task. It must end soon after [`Tasks::shutdown`] is cancelled.
    pub fn spawn<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output: TaskOutcome> + Send + 'static,
    {
        self.track(name, async move {
            if let Err(error) = outcome(task).await {
                tracing::error!(task = name, error = %chain(error.as_ref()), "task failed");
            }
        });
    }

    /// Starts a task whose end, before the process's, ends the process with exit code 1.
    pub fn spawn_critical<F>(&self, name: &'static str, task: F)
    where
        F: Future<Output: TaskOutcome> + Send + 'static,
    {
        let shutdown = self.shutdown.clone();
        self.track(name, async move {
            let ended = outcome(task).await;
            if ended.is_ok() && shutdown.is_requested() {
                return;
            }
            let error = ended.err().unwrap_or_else(|| "it returned although nobody asked it to".into());
            tracing::error!(task = name, error = %chain(error.as_ref()), "critical task ended");
            shutdown.fail(name, error);
        });
    }

    /// Cancelled when tasks are to end.
    pub fn shutdown(&self) -> CancellationToken {
        self.shutdown.stopping()
    }

    /// Joins all tasks; those that have not ended after `timeout` are aborted and named.
    pub(crate) async fn join(&self, timeout: Duration) -> Vec<&'static str> {
        self.tracker.close();
        if tokio::time::timeout(timeout, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let late = std::mem::take(&mut self.running().tasks);
        late.values().for_each(|(_, handle)| handle.abort());
        late.into_values().map(|(name, _)| name).collect()
    }

    fn track(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        // Held over the spawn, so that a task which ends at once finds its entry to remove.
        let mut running = self.running();
        let id = running.next;
        running.next += 1;
        let entries = Arc::clone(&self.running);
        let handle = self.tracker.spawn(async move {
            task.await;
            locked(&entries).tasks.remove(&id);
        });
        running.tasks.insert(id, (name, handle.abort_handle()));
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        locked(&self.running)
    }
}

/// The map holds no invariant that a panic could break half-way.
fn locked(running: &Mutex<Running>) -> MutexGuard<'_, Running> {
    running.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn outcome<F: Future<Output: TaskOutcome>>(task: F) -> Result<(), BoxError> {
    match AssertUnwindSafe(task).catch_unwind().await {
        Ok(outcome) => outcome.failure().map_or(Ok(()), Err),
        Err(panic) => Err(format!("it panicked: {}", panic_message(panic.as_ref())).into()),
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.running().tasks.values().map(|(name, _)| *name).collect::<Vec<_>>();
        f.debug_tuple("Tasks").field(&names).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks() -> (Tasks, Shutdown) {
        let shutdown = Shutdown::default();
        (Tasks::new(shutdown.clone()), shutdown)
    }

    async fn panicking() {
        panic!("on purpose");
    }

    #[tokio::test]
    async fn join_waits_for_tasks_that_end() {
        let (tasks, shutdown) = tasks();
        let stopping = tasks.shutdown();
        tasks.spawn("polite", async move { stopping.cancelled().await });
        shutdown.stop();
        assert_eq!(tasks.join(Duration::from_secs(60)).await, [""; 0]);
    }

    #[tokio::test]
    async fn join_names_tasks_that_do_not_end_in_time_and_drops_them() {
        let (tasks, shutdown) = tasks();
        tasks.spawn("deaf", std::future::pending::<()>());
        shutdown.stop();
        assert_eq!(tasks.join(Duration::from_millis(1)).await, ["deaf"]);
        tasks.tracker.wait().await;
    }

    #[tokio::test]
    async fn panic_in_a_task_leaves_the_process_alone() {
        let (tasks, shutdown) = tasks();
        tasks.spawn("faulty", panicking());
        assert_eq!(tasks.join(Duration::from_secs(60)).await, [""; 0]);
        assert!(!shutdown.is_requested());
    }

    #[tokio::test]
    async fn end_of_a_critical_task_asks_for_the_end_and_is_its_reason() {
        let failing =
            |tasks: &Tasks| tasks.spawn_critical("disk", async { Err::<(), BoxError>("gone".into()) });
        let panicked = |tasks: &Tasks| tasks.spawn_critical("disk", panicking());
        let returning = |tasks: &Tasks| tasks.spawn_critical("disk", async {});
        for (start, reason) in [
            (&failing as &dyn Fn(&Tasks), "critical task disk ended: gone"),
            (&panicked, "critical task disk ended: it panicked: on purpose"),
            (&returning, "critical task disk ended: it returned although nobody asked it to"),
        ] {
            let (tasks, shutdown) = tasks();
            start(&tasks);
            shutdown.requested().await;
            assert_eq!(chain(shutdown.failure().unwrap()).to_string(), reason);
        }
    }

    #[tokio::test]
    async fn critical_task_may_end_when_the_end_was_asked_for() {
        let (tasks, shutdown) = tasks();
        shutdown.request();
        tasks.spawn_critical("server", async {});
        assert_eq!(tasks.join(Duration::from_secs(60)).await, [""; 0]);
        assert!(shutdown.failure().is_none());
    }
}
