//! What clients asked and were told, in the order in which they did.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use flaredb_engine::{RevisionEvents, ScanPage, Versioned};

/// A record's new value; `None` deletes.
pub(crate) type Change = (Bytes, Option<Bytes>);

/// What a client asked for.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// A batch under compares; a single put or delete is one.
    Write {
        compares: Vec<(Bytes, u64)>,
        writes: Vec<Change>,
    },
    Get(Bytes),
    Scan(Option<u64>),
    /// An eventual write.
    Raw {
        key: Bytes,
        value: Option<Bytes>,
        ts: u64,
        origin: u64,
    },
}

/// What it was told.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// It happened, at this revision.
    Done(u64),
    /// It did not happen: these keys had these versions.
    Conflicts(Vec<(Bytes, u64)>),
    /// It did not happen.
    Not,
    /// It may have happened, or may still.
    Unknown,
    Record(Option<Versioned>, u64),
    Page(ScanPage),
}

/// One operation. Its times count begins and ends of operations.
#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) client: u64,
    pub(crate) began: u64,
    /// Later than everything while it is under way, and for ever if its outcome is not known.
    pub(crate) ended: u64,
    pub(crate) what: What,
    pub(crate) outcome: Outcome,
}

/// The record of a run. Clones are of the same run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    time: u64,
    ops: Vec<Op>,
    /// What each watcher got.
    watched: Vec<Vec<RevisionEvents>>,
}

impl History {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client begins; returns the operation's number.
    pub(crate) fn begin(&self, client: u64, what: impl FnOnce(usize) -> What) -> usize {
        let mut inner = self.lock();
        inner.time += 1;
        let (number, began) = (inner.ops.len(), inner.time);
        let op = Op { client, began, ended: u64::MAX, what: what(number), outcome: Outcome::Unknown };
        inner.ops.push(op);
        number
    }

    pub(crate) fn end(&self, number: usize, outcome: Outcome) {
        let mut inner = self.lock();
        inner.time += 1;
        let ended = if matches!(outcome, Outcome::Unknown) { u64::MAX } else { inner.time };
        if let Some(op) = inner.ops.get_mut(number) {
            (op.outcome, op.ended) = (outcome, ended);
        }
    }

    pub(crate) fn ops(&self) -> Vec<Op> {
        self.lock().ops.clone()
    }

    /// A new watcher; returns its number.
    pub(crate) fn watcher(&self) -> usize {
        let mut inner = self.lock();
        inner.watched.push(Vec::new());
        inner.watched.len() - 1
    }

    pub(crate) fn watched(&self, watcher: usize, revisions: Vec<RevisionEvents>) {
        if let Some(watched) = self.lock().watched.get_mut(watcher) {
            watched.extend(revisions);
        }
    }

    pub(crate) fn all_watched(&self) -> Vec<Vec<RevisionEvents>> {
        self.lock().watched.clone()
    }
}
