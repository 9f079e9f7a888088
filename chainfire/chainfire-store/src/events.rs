//! What each revision did, for watches.

use bytes::Bytes;
use chainfire_proto::mvccpb::{KeyValue, event::EventType};
use flaredb_engine::{EngineError, EventLimits, EventRecord, RevisionEvents};

use crate::{
    Store, StoreError,
    number::{signed, unsigned},
    record,
    refusal::COMPACTED,
};

/// What happened to one key.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreEvent {
    /// Whether it was put or deleted.
    pub kind: EventType,
    /// Of a put, the record; of a deletion, the key and the revision that deleted it.
    pub kv: KeyValue,
    /// The revision that had put what was there before; 0: there was nothing.
    pub previous_revision: i64,
}

/// A whole revision.
#[derive(Debug, Clone, PartialEq)]
pub struct Revision {
    /// Its number.
    pub revision: i64,
    /// What it did, in order; never empty.
    pub events: Vec<StoreEvent>,
}

/// Revisions in order, and where to go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Events {
    /// The revisions.
    pub revisions: Vec<Revision>,
    /// The first revision that was not looked at.
    pub next: i64,
}

impl Store {
    /// The revisions from `from` on, within limits, but for a first one that is larger.
    ///
    /// # Errors
    /// When `from` is compacted, or the state cannot be read.
    pub fn events(&self, from: i64, limits: EventLimits) -> Result<Events, StoreError> {
        if from < self.settings()?.compacted {
            return Err(COMPACTED.into());
        }
        let Some(info) = self.namespace() else { return Ok(Events { revisions: Vec::new(), next: from }) };
        // The empty store was a revision as well; nothing had happened.
        let start = unsigned(from.max(0)).max(info.oldest_revision);
        let batch = self.region().events(info.id, &[], start, limits)?;
        let revisions = batch.revisions.into_iter().map(revision).collect::<Result<_, _>>()?;
        Ok(Events { revisions, next: signed(batch.next) })
    }

    /// The record as it was before an event; `None`: it was not there, or that is forgotten.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn previous(&self, event: &StoreEvent) -> Result<Option<KeyValue>, StoreError> {
        let Some(info) = self.namespace().filter(|_| event.previous_revision > 0) else { return Ok(None) };
        let version = unsigned(event.previous_revision);
        let row = self.region().version(info.id, &event.kv.key, version)?;
        Ok(row.map(|row| record::of_row(event.kv.key.clone(), &row, version)).transpose()?)
    }
}

fn revision(found: RevisionEvents) -> Result<Revision, EngineError> {
    let number = found.revision;
    let events = found.events.into_iter().map(|event| of_record(event, number)).collect::<Result<_, _>>()?;
    Ok(Revision { revision: signed(number), events })
}

fn of_record(event: EventRecord, revision: u64) -> Result<StoreEvent, EngineError> {
    let previous_revision = signed(event.previous_version);
    let (kind, kv) = match &event.value {
        Some(row) => (EventType::Put, record::of_row(event.key, row, revision)?),
        None => (EventType::Delete, deleted(event.key, revision)),
    };
    Ok(StoreEvent { kind, kv, previous_revision })
}

fn deleted(key: Bytes, revision: u64) -> KeyValue {
    KeyValue { key, mod_revision: signed(revision), ..KeyValue::default() }
}
