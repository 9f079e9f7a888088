//! Work in a network of its own, for callers that live in the machine's: a thread with namespaces and a runtime.

use anyhow::{Context as _, Result, bail};
use tokio::sync::oneshot;

use crate::faults::enter;

/// Work that is under way; it ends with this value.
#[derive(Debug)]
pub(crate) struct Apart<T> {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<Result<T>>>,
    done: oneshot::Receiver<()>,
}

impl<T: Send + 'static> Apart<T> {
    /// Starts.
    pub(crate) fn start<W: Future<Output = Result<T>>>(work: impl FnOnce() -> W + Send + 'static) -> Self {
        let (stop, stopped) = oneshot::channel();
        let (finished, done) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let outcome = play(work, stopped);
            let _nobody_waits = finished.send(());
            outcome
        });
        Self { stop: Some(stop), thread: Some(thread), done }
    }

    /// What it came to.
    ///
    /// # Errors
    /// When it failed, or could not be run.
    pub(crate) async fn outcome(mut self) -> Result<T> {
        (&mut self.done).await.context("the run ended without a word")?;
        let thread = self.thread.take().context("the run has no thread")?;
        let Ok(outcome) = thread.join() else { bail!("the run panicked") };
        outcome
    }
}

/// The thread's processes and namespaces go before this does.
impl<T> Drop for Apart<T> {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::warn!("the run panicked");
        }
    }
}

fn play<T, W: Future<Output = Result<T>>>(
    work: impl FnOnce() -> W,
    stopped: oneshot::Receiver<()>,
) -> Result<T> {
    enter()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            outcome = work() => outcome,
            _ = stopped => bail!("interrupted"),
        }
    })
}
