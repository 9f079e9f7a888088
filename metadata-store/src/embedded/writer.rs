//! The one thread that writes: it drains whatever commits wait into one write of the engine, which is one sync of the
//! disk, and answers them all after it. The sync that runs is the batching window; there is no timer.
//!
//! After a write that failed the thread refuses every further one: what a failed sync left on disk is not known, and
//! trying again could acknowledge what is not there. A restart reads what is.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use bytes::Bytes;
use flaredb_engine::{Applied, EngineError, Entry, Region};
use flaredb_proto::v1::{
    CompactHistory, CreateNamespaceRequest, FlareRequest, Refused, flare_request::Command,
    flare_response::Outcome, refused::Reason,
};
use prost::Message as _;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch},
    time::{error::Elapsed, timeout_at},
};

use super::history::History;
use crate::{Cause, IdempotencyId, Namespace, StoreError, Version, wire};

/// Commits that wait.
const QUEUE_MAX: usize = 1_024;
/// KiB of commits that wait or are being written.
const QUEUE_KIB_MAX: u32 = 64 << 10;
/// Bytes of one write, but for the commit that goes beyond.
const WRITE_BYTES_MAX: usize = 16 << 20;

/// A commit on its way.
struct Pending {
    command: Bytes,
    answer: oneshot::Sender<Result<Outcome, Failed>>,
    _space: OwnedSemaphorePermit,
}

/// Why there is no outcome.
#[derive(Debug, Clone)]
enum Failed {
    /// It was in the write that failed, so it may be on disk.
    InThisWrite(Arc<EngineError>),
    /// An earlier write had failed.
    Before(Arc<EngineError>),
}

/// Hands commits to the thread. Dropped, it waits until the thread is through with what it has.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Pending>>,
    space: Arc<Semaphore>,
    newest: watch::Receiver<Version>,
    timeout: Duration,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(region: Region, namespace: Namespace, timeout: Duration) -> io::Result<Writer> {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let revision = region.namespace(namespace.name).map_or(0, |info| info.revision);
        let (newest, seen) = watch::channel(Version(revision));
        let desk = Desk {
            index: region.applied().index,
            history: History::default(),
            failed: None,
            region,
            namespace,
            newest,
        };
        let thread = thread::Builder::new().name("metadata-writer".to_owned()).spawn(|| desk.run(waiting))?;
        let space = Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize));
        Ok(Writer { queue: Some(queue), space, newest: seen, timeout, thread: Some(thread) })
    }

    /// The newest revision that is on disk.
    pub(super) fn newest(&self) -> watch::Receiver<Version> {
        self.newest.clone()
    }

    /// Carries out a command that answers a revision.
    pub(super) async fn done(
        &self,
        command: Command,
        id: Option<IdempotencyId>,
    ) -> Result<Version, StoreError> {
        match self.outcome(command, id).await? {
            Outcome::Done(revision) => Ok(Version(revision)),
            Outcome::Conflicts(conflicts) => Err(wire::conflict(conflicts.conflicts)),
            Outcome::Refused(refused) => Err(refusal(refused)),
            Outcome::Namespace(_) => Err(unexpected()),
        }
    }

    /// Creates a namespace.
    pub(super) async fn create(&self, create: CreateNamespaceRequest) -> Result<(), StoreError> {
        match self.outcome(Command::CreateNamespace(create), None).await? {
            Outcome::Namespace(_) => Ok(()),
            Outcome::Refused(refused) => Err(refusal(refused)),
            _ => Err(unexpected()),
        }
    }

    /// Until the command is in the queue it has not happened; from then on it may have.
    async fn outcome(&self, command: Command, id: Option<IdempotencyId>) -> Result<Outcome, StoreError> {
        let deadline = tokio::time::Instant::now() + self.timeout;
        let command = FlareRequest { command: Some(command) }.encode_to_vec().into();
        let late = |_elapsed: Elapsed| StoreError::unavailable("too many commits wait for the disk");
        let outcome = timeout_at(deadline, self.enqueue(command)).await.map_err(late)??;
        let unknown = |source: Cause| StoreError::Indeterminate { id: id.clone(), source };
        match timeout_at(deadline, outcome).await {
            Ok(Ok(Ok(outcome))) => Ok(outcome),
            Ok(Ok(Err(Failed::Before(error)))) => Err(StoreError::unavailable(error)),
            Ok(Ok(Err(Failed::InThisWrite(error)))) => Err(unknown(error.into())),
            Ok(Err(died)) => Err(unknown(died.into())),
            Err(elapsed) => Err(unknown(elapsed.into())),
        }
    }

    async fn enqueue(
        &self,
        command: Bytes,
    ) -> Result<oneshot::Receiver<Result<Outcome, Failed>>, StoreError> {
        let kib = u32::try_from(command.len() / 1024 + 1).unwrap_or(QUEUE_KIB_MAX).min(QUEUE_KIB_MAX);
        let space = Arc::clone(&self.space).acquire_many_owned(kib).await;
        let space = space.map_err(StoreError::unavailable)?;
        let (answer, outcome) = oneshot::channel();
        let gone = || StoreError::unavailable("the writer's thread has ended");
        let queue = self.queue.as_ref().ok_or_else(gone)?;
        let sent = queue.send(Pending { command, answer, _space: space }).await;
        sent.map(|()| outcome).map_err(|_refused| gone())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that writes metadata had panicked");
        }
    }
}

fn refusal(refused: Refused) -> StoreError {
    match refused.reason() {
        Reason::QuotaExceeded => StoreError::NoSpace { what: refused.message },
        Reason::NoSuchNamespace => StoreError::NotFound { key: refused.message },
        Reason::OutsideKeyPrefix => {
            StoreError::invalid("key", refused.message, "keys of the namespace's prefix")
        }
        reason => StoreError::invalid("commit", refused.message, format!("not {}", reason.as_str_name())),
    }
}

fn unexpected() -> StoreError {
    StoreError::corrupt("embedded store", "an outcome of another command")
}

/// What the thread has.
struct Desk {
    region: Region,
    namespace: Namespace,
    /// Of the last entry.
    index: u64,
    newest: watch::Sender<Version>,
    history: History,
    failed: Option<Arc<EngineError>>,
}

impl Desk {
    fn run(mut self, mut waiting: mpsc::Receiver<Pending>) {
        while let Some(first) = waiting.blocking_recv() {
            let mut bytes = first.command.len();
            let mut batch = vec![first];
            while bytes < WRITE_BYTES_MAX
                && let Ok(next) = waiting.try_recv()
            {
                bytes += next.command.len();
                batch.push(next);
            }
            self.write(batch);
            self.forget();
        }
    }

    fn write(&mut self, batch: Vec<Pending>) {
        let (commands, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|pending| (pending.command, pending.answer)).unzip();
        match self.apply(&commands) {
            Ok(outcomes) => {
                self.publish();
                for (answer, outcome) in answers.into_iter().zip(outcomes) {
                    // Who does not wait any more has been told that the outcome is not known.
                    let _unheard = answer.send(Ok(outcome));
                }
            }
            Err(failed) => {
                for answer in answers {
                    let _unheard = answer.send(Err(failed.clone()));
                }
            }
        }
    }

    /// One write of the engine, on disk when this returns.
    fn apply(&mut self, commands: &[Bytes]) -> Result<Vec<Outcome>, Failed> {
        if let Some(error) = &self.failed {
            return Err(Failed::Before(Arc::clone(error)));
        }
        let first = self.index + 1;
        let entries: Vec<Entry<'_>> =
            (first..).zip(commands).map(|(index, command)| Entry { index, command: Some(command) }).collect();
        let index = first + entries.len() as u64 - 1;
        let applied = self.region.apply(&entries, Applied { index, host: Bytes::new() });
        let outcomes = applied.and_then(|responses| {
            let outcomes = responses.into_iter().map(|response| response.outcome);
            let all: Option<Vec<Outcome>> = outcomes.collect();
            all.ok_or(EngineError::Corrupt { what: "outcome" })
        });
        self.index = index;
        outcomes.map_err(|error| self.fail(error))
    }

    fn fail(&mut self, error: EngineError) -> Failed {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "metadata cannot be written any more; restart"
        );
        let error = Arc::new(error);
        self.failed = Some(Arc::clone(&error));
        Failed::InThisWrite(error)
    }

    fn publish(&self) {
        if let Some(info) = self.region.namespace(self.namespace.name) {
            self.newest.send_replace(Version(info.revision));
        }
    }

    /// Lets history go that nobody can be expected to ask for.
    fn forget(&mut self) {
        let Some(info) = self.region.namespace(self.namespace.name) else { return };
        let Some(revision) = self.history.forget_up_to(Instant::now(), info.revision, info.oldest_revision)
        else {
            return;
        };
        let compact = CompactHistory { namespace_id: info.id.0, revision };
        let command = FlareRequest { command: Some(Command::CompactHistory(compact)) }.encode_to_vec().into();
        if self.apply(&[command]).is_ok() {
            tracing::debug!(revision, "forgot history");
        }
    }
}
