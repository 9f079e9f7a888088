//! What each revision did, for watches: whole revisions, in order, from any that is retained.

use bytes::Bytes;
use rocksdb::{DBRawIterator, Snapshot};

use crate::{
    EngineError, NamespaceId, ReadError, Region,
    codec::{take_u8, take_u64},
    engine::{CAS, HIST},
    keys,
    read::namespace_in,
};

/// Bounds of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventLimits {
    /// Most revisions to look at, also of those that did not touch the prefix.
    pub revisions_max: usize,
    /// Most bytes of keys and values, but for the first revision.
    pub bytes_max: usize,
}

/// One record that a revision changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRecord {
    /// Its key.
    pub key: Bytes,
    /// Its new value; `None`: it was deleted.
    pub value: Option<Bytes>,
    /// The version that it had before; 0: it was absent.
    pub previous_version: u64,
}

/// A whole revision, as far as it touched the prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevisionEvents {
    /// Its number.
    pub revision: u64,
    /// What it changed; never empty.
    pub events: Vec<EventRecord>,
}

/// Revisions in order, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBatch {
    /// The revisions that touched the prefix.
    pub revisions: Vec<RevisionEvents>,
    /// The first revision that was not looked at.
    pub next: u64,
}

/// A row of `hist`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) put: bool,
    pub(crate) previous_version: u64,
    pub(crate) key: Bytes,
}

impl Event {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut row = Vec::with_capacity(9 + self.key.len());
        row.push(u8::from(self.put));
        row.extend_from_slice(&self.previous_version.to_be_bytes());
        row.extend_from_slice(&self.key);
        row
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, EngineError> {
        let (put, rest) = take_u8(row, "event")?;
        let (previous_version, key) = take_u64(rest, "event")?;
        Ok(Self { put: put == 1, previous_version, key: Bytes::copy_from_slice(key) })
    }
}

impl Region {
    /// The revisions from `from` on that touched keys under `prefix`.
    ///
    /// # Errors
    /// When `from` is not retained any more, the namespace is gone, or the state cannot be read.
    pub fn events(
        &self,
        namespace: NamespaceId,
        prefix: &[u8],
        from: u64,
        limits: EventLimits,
    ) -> Result<EventBatch, ReadError> {
        self.whole(|| self.read_events(namespace, prefix, from, limits))
    }

    fn read_events(
        &self,
        namespace: NamespaceId,
        prefix: &[u8],
        from: u64,
        limits: EventLimits,
    ) -> Result<EventBatch, ReadError> {
        let view = self.engine().db.snapshot();
        let info = namespace_in(&view, self, namespace)?;
        if from < info.oldest_revision {
            return Err(ReadError::TooOld { requested: from, oldest: info.oldest_revision });
        }
        let mut rows = view.raw_iterator_cf(self.engine().family(HIST)?);
        rows.seek(keys::revision(namespace, from));
        let mut reading = Reading { region: self, view: &view, rows, namespace, prefix, bytes: 0 };
        let mut batch = EventBatch { revisions: Vec::new(), next: from };
        let mut looked_at = 0;
        while batch.next <= info.revision && looked_at < limits.revisions_max {
            let events = reading.revision(batch.next)?;
            if reading.bytes > limits.bytes_max && !batch.revisions.is_empty() {
                break;
            }
            if !events.is_empty() {
                batch.revisions.push(RevisionEvents { revision: batch.next, events });
            }
            batch.next += 1;
            looked_at += 1;
        }
        Ok(batch)
    }
}

struct Reading<'a> {
    region: &'a Region,
    view: &'a Snapshot<'a>,
    /// Stands at the first row of the revision that comes next.
    rows: DBRawIterator<'a>,
    namespace: NamespaceId,
    prefix: &'a [u8],
    bytes: usize,
}

impl Reading<'_> {
    fn revision(&mut self, revision: u64) -> Result<Vec<EventRecord>, EngineError> {
        let start = keys::revision(self.namespace, revision);
        let mut events = Vec::new();
        while let Some((key, row)) = self.rows.item().filter(|(key, _)| key.starts_with(&start)) {
            if !key.ends_with(&keys::ID_POSITION.to_be_bytes()) {
                let event = Event::decode(row)?;
                if event.key.starts_with(self.prefix) {
                    events.push(self.record(revision, event)?);
                }
            }
            self.rows.next();
        }
        self.rows.status()?;
        Ok(events)
    }

    fn record(&mut self, revision: u64, event: Event) -> Result<EventRecord, EngineError> {
        let value = if event.put { Some(self.value(revision, &event.key)?) } else { None };
        self.bytes += event.key.len() + value.as_ref().map_or(0, Bytes::len);
        Ok(EventRecord { key: event.key, value, previous_version: event.previous_version })
    }

    /// The value that a revision put.
    fn value(&self, revision: u64, key: &[u8]) -> Result<Bytes, EngineError> {
        let row = keys::version(self.namespace, key, revision, true);
        let value = self.view.get_pinned_cf(self.region.engine().family(CAS)?, row)?;
        let value = value.ok_or(EngineError::Corrupt { what: "history: a put without its value" })?;
        Ok(Bytes::copy_from_slice(&value))
    }
}
