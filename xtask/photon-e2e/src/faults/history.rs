//! What the clients did and what came of it: noted before a request is sent and after it was answered.
//!
//! Time is a counter that every note advances, so that "returned before called" is never a matter of clocks. What was
//! not answered has no return: it may take effect at any time after its call, or never.

use std::{
    io::Write as _,
    path::Path,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use anyhow::Result;
use serde::Serialize;

/// The time of what was never answered.
pub(super) const NEVER: u64 = u64::MAX;

/// Keys with requests that are decided key by key start so.
pub(super) const REGISTERS: &str = "register/";

/// Keys that belong to leases start so; who deletes them is the store.
pub(super) const LEASED: &str = "lease/";

/// A request to keys with versions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Did {
    /// Reads.
    Get,
    /// Reads all keys that begin with the key.
    List,
    /// Writes, whatever is there.
    Put(String),
    /// Writes if the record is at the version.
    Swap(u64, String),
    /// Deletes if the record is at the version.
    Delete(u64),
    /// Writes the same value to this and the other key, atomically.
    Pair(String, String),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Outcome {
    /// A read: version (0: absent), value, and the namespace's revision.
    Found(u64, String, u64),
    /// What a list found: keys with their versions, and the revision that it is of.
    Listed(Vec<(String, u64)>, u64),
    /// A write took effect at this revision.
    Done(u64),
    /// The record was at this version instead.
    Conflict(u64),
    /// It certainly had no effect.
    Failed(String),
    /// It may or may not have had one.
    Unknown(String),
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Operation {
    /// Who asked.
    pub(super) client: u32,
    /// The key.
    pub(super) key: String,
    /// What was asked for.
    pub(super) did: Did,
    /// What came of it.
    pub(super) outcome: Outcome,
    /// When it was sent.
    pub(super) called: u64,
    /// When it was answered; [`NEVER`] when the outcome is unknown.
    pub(super) returned: u64,
    /// Milliseconds since the start of the run when it was sent, for people.
    pub(super) at_ms: u64,
}

impl Operation {
    /// The value that it writes, if it writes one.
    pub(super) fn value(&self) -> Option<&str> {
        match &self.did {
            Did::Put(value) | Did::Swap(_, value) | Did::Pair(_, value) => Some(value),
            Did::Get | Did::List | Did::Delete(_) => None,
        }
    }

    /// Whether it may have changed something.
    pub(super) fn may_have_written(&self) -> bool {
        !matches!(self.did, Did::Get | Did::List)
            && matches!(self.outcome, Outcome::Done(_) | Outcome::Unknown(_))
    }
}

/// A request of an Eventual namespace. Values are unique.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum RawDid {
    /// Writes a value.
    Put(String),
    /// Deletes.
    Delete,
    /// Reads at this slot, with everything that the client had seen.
    Get(usize),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) enum RawOutcome {
    /// A write took effect with this timestamp.
    Done(u64),
    /// A read found this timestamp and value; `None`: no record.
    Found(Option<(u64, String)>),
    /// It certainly had no effect.
    Failed(String),
    /// It may or may not have had one.
    Unknown(String),
}

/// One request of an Eventual namespace; a client's requests follow one another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RawOperation {
    /// Who asked.
    pub(super) client: u32,
    /// The key.
    pub(super) key: String,
    /// What was asked for.
    pub(super) did: RawDid,
    /// What came of it.
    pub(super) outcome: RawOutcome,
    /// Milliseconds since the start of the run when it was sent.
    pub(super) at_ms: u64,
}

/// Takes notes.
#[derive(Debug)]
pub(super) struct Recorder {
    started: Instant,
    tick: AtomicU64,
    operations: Mutex<Vec<Operation>>,
    raw: Mutex<Vec<RawOperation>>,
    /// Writes that were acknowledged, of both kinds.
    acknowledged: AtomicU64,
    /// Requests that were not answered, or refused.
    failed: AtomicU64,
    /// When the latest acknowledged write of a Strong namespace was sent, by [`Recorder::now_ms`].
    acknowledged_call_ms: AtomicU64,
    /// From when to when something was broken.
    broken_ms: Mutex<Vec<(u64, u64)>>,
}

impl Recorder {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            tick: AtomicU64::new(1),
            operations: Mutex::default(),
            raw: Mutex::default(),
            acknowledged: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            acknowledged_call_ms: AtomicU64::new(0),
            broken_ms: Mutex::default(),
        }
    }

    /// Milliseconds since the start of the run.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The time of a note.
    pub(super) fn tick(&self) -> u64 {
        self.tick.fetch_add(1, Ordering::SeqCst)
    }

    /// How many requests were noted.
    pub(super) fn count(&self) -> usize {
        lock(&self.operations).len() + lock(&self.raw).len()
    }

    /// How many writes were acknowledged, and how many requests were not answered or refused.
    pub(super) fn totals(&self) -> (u64, u64) {
        (self.acknowledged.load(Ordering::SeqCst), self.failed.load(Ordering::SeqCst))
    }

    /// When the latest acknowledged write was sent.
    pub(super) fn acknowledged_call_ms(&self) -> u64 {
        self.acknowledged_call_ms.load(Ordering::SeqCst)
    }

    /// Notes a request with its outcome; its return is now.
    pub(super) fn note(&self, mut operation: Operation) {
        operation.returned = self.tick();
        match operation.outcome {
            Outcome::Done(_) => {
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
                self.acknowledged_call_ms.fetch_max(operation.at_ms, Ordering::SeqCst);
            }
            Outcome::Unknown(_) => {
                operation.returned = NEVER;
                self.failed.fetch_add(1, Ordering::SeqCst);
            }
            Outcome::Failed(_) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
            }
            Outcome::Found(..) | Outcome::Listed(..) | Outcome::Conflict(_) => {}
        }
        lock(&self.operations).push(operation);
    }

    /// Notes a request of an Eventual namespace with its outcome.
    pub(super) fn note_raw(&self, operation: RawOperation) {
        match operation.outcome {
            RawOutcome::Done(_) => {
                self.acknowledged.fetch_add(1, Ordering::SeqCst);
            }
            RawOutcome::Failed(_) | RawOutcome::Unknown(_) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
            }
            RawOutcome::Found(_) => {}
        }
        lock(&self.raw).push(operation);
    }

    /// Notes that something was broken from then until now.
    pub(super) fn note_broken(&self, since_ms: u64) {
        lock(&self.broken_ms).push((since_ms, self.now_ms()));
    }

    /// From when to when something was broken.
    pub(super) fn broken(&self) -> Vec<(u64, u64)> {
        lock(&self.broken_ms).clone()
    }

    /// Everything that was noted, by the time of its call.
    pub(super) fn operations(&self) -> Vec<Operation> {
        let mut operations = lock(&self.operations).clone();
        operations.sort_by_key(|operation| operation.called);
        operations
    }

    /// Everything that was noted of Eventual namespaces, each client's in its order.
    pub(super) fn raw_operations(&self) -> Vec<RawOperation> {
        lock(&self.raw).clone()
    }
}

fn lock<T>(notes: &Mutex<Vec<T>>) -> std::sync::MutexGuard<'_, Vec<T>> {
    notes.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes values as one JSON text per line.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn save<T: Serialize>(path: &Path, values: &[T]) -> Result<()> {
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    for value in values {
        serde_json::to_writer(&mut file, value)?;
        file.write_all(b"\n")?;
    }
    Ok(file.flush()?)
}
