//! What a command may see of a region and do to it: the way in for whoever brings commands of their own
//! ([`Region::apply_with`](crate::Region::apply_with)), FlareDB's among them.
//!
//! A command sees what the ones before it in the same run have done, although nothing is written before the run ends.
//! Beside records there are *aux rows*: small rows of a namespace with no history, part of its snapshots and its hash.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    EngineError, NamespaceId, NamespaceInfo, RegionId, Versioned,
    batch::Batch,
    counters::add_namespace,
    engine::{CAS, HIST, IDS, RAW},
    events::Event,
    growth::Growth,
    keys,
    planted::{self, Bug},
    recent::Current,
};

/// Rows of history that one command forgets at most, so that it never holds up others for long; a leader that wants
/// more asks again. More than the largest batch makes, so that each command forgets something.
const COMPACTED_ROWS_MAX: usize = 4_096;

/// The state as the commands so far have left it, and the ways to change it.
pub struct Transaction<'a> {
    pub(crate) batch: Batch<'a>,
    pub(crate) region: RegionId,
}

impl std::fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("region", &self.region).finish_non_exhaustive()
    }
}

/// A revision in the making. What it writes can be read at once; the namespace is at it when it is finished.
#[derive(Debug)]
pub struct Revision {
    namespace: NamespaceId,
    number: u64,
    position: u32,
    growth: Growth,
}

impl Revision {
    /// Its number.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Whether nothing was written so far.
    pub fn is_empty(&self) -> bool {
        self.position == 0
    }
}

impl Transaction<'_> {
    /// What is known about a namespace; `None`: there is none of this number.
    pub fn namespace(&self, id: NamespaceId) -> Option<&Arc<NamespaceInfo>> {
        self.batch.table.get(id)
    }

    /// The Strong namespace of this name, which is made if it is not there; a new one is at `revision`, or behind the
    /// last revision that any namespace of the region has had.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn ensure_namespace(&mut self, name: &str, revision: u64) -> Result<NamespaceId, EngineError> {
        if let Some(info) = self.batch.table.named(name) {
            return Ok(info.id);
        }
        let info = NamespaceInfo { revision, ..NamespaceInfo::empty(name.to_owned()) };
        Ok(add_namespace(&mut self.batch, self.region, info)?.id)
    }

    /// Which version of a record is the newest, without its value; `None`: there is no such record.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn current(&mut self, namespace: NamespaceId, key: &[u8]) -> Result<Option<Current>, EngineError> {
        self.batch.current(namespace, key)
    }

    /// A record.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn get(&mut self, namespace: NamespaceId, key: &[u8]) -> Result<Option<Versioned>, EngineError> {
        let Some(current) = self.batch.current(namespace, key)? else { return Ok(None) };
        let value = self.batch.value(namespace, key, current)?;
        Ok(Some(Versioned { value, version: current.version }))
    }

    /// Begins the revision that follows the namespace's last one. One at a time, finished before the command ends.
    pub fn begin(&self, info: &NamespaceInfo) -> Revision {
        Revision { namespace: info.id, number: info.revision + 1, position: 0, growth: Growth::default() }
    }

    /// Puts a value, or deletes the record (`None`), which was `before` until now. No revision writes a key twice.
    pub fn write(
        &mut self,
        revision: &mut Revision,
        key: &Bytes,
        value: Option<Bytes>,
        before: Option<Current>,
    ) {
        let (namespace, number) = (revision.namespace, revision.number);
        let size = |value_bytes: usize| key.len() + value_bytes;
        let after = value.as_ref().map(|value| size(value.len()));
        revision.growth.add(before.map(|before| size(before.value_bytes)), after);
        let previous_version = before.map_or(0, |before| before.version);
        let event = Event { put: value.is_some(), previous_version, key: key.clone() };
        self.batch.add_event(keys::event(namespace, number, revision.position), event.encode());
        revision.position += 1;
        if value.is_none() && planted::has(Bug::NoTombstone) {
            return;
        }
        let resets = planted::has(Bug::VersionReset) && previous_version == 0;
        self.batch.add_version(namespace, key, if resets { 1 } else { number }, value);
    }

    /// Moves the namespace to the revision, unless that has written nothing.
    pub fn finish(&mut self, revision: &Revision) {
        if revision.is_empty() {
            return;
        }
        self.batch.change(revision.namespace, |info| {
            revision.growth.of(info).set(info);
            info.revision = revision.number;
        });
    }

    /// Forgets revisions up to and including this one, and what only they needed: an event names the record that it
    /// superseded, which nothing behind that revision can see. At most some thousands of rows at once; returns the
    /// oldest revision that is retained.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn compact(&mut self, info: &NamespaceInfo, revision: u64) -> Result<u64, EngineError> {
        let last = revision.min(info.revision);
        if last < info.oldest_revision {
            return Ok(info.oldest_revision);
        }
        self.batch.settle();
        let (start, end) = (keys::revision(info.id, info.oldest_revision), keys::revision(info.id, last + 1));
        let rows = self.batch.rows(HIST, &start, &end, COMPACTED_ROWS_MAX)?;
        let all = rows.len() < COMPACTED_ROWS_MAX;
        let reached =
            if all { last } else { rows.last().map_or(Ok(last), |(key, _)| keys::revision_of(key))? - 1 };
        for (key, row) in rows {
            if keys::revision_of(&key)? > reached {
                break;
            }
            self.forget(info.id, key, &row)?;
        }
        let oldest = info.oldest_revision.max(reached + 1);
        self.batch.change(info.id, |info| info.oldest_revision = oldest);
        Ok(oldest)
    }

    fn forget(&mut self, namespace: NamespaceId, at: Vec<u8>, row: &[u8]) -> Result<(), EngineError> {
        if at.ends_with(&keys::ID_POSITION.to_be_bytes()) {
            self.batch.delete(IDS, keys::record(namespace, row));
        } else {
            let event = Event::decode(row)?;
            if event.previous_version > 0 {
                let before = keys::version(namespace, &event.key, event.previous_version, true);
                self.batch.delete(CAS, before);
            }
            if !event.put {
                let tombstone = keys::version(namespace, &event.key, keys::revision_of(&at)?, false);
                self.batch.delete(CAS, tombstone);
            }
        }
        self.batch.delete(HIST, at);
        Ok(())
    }

    /// An aux row.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn aux(&self, namespace: NamespaceId, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        self.batch.get(RAW, &keys::record(namespace, key))
    }

    /// Puts an aux row.
    pub fn put_aux(&mut self, namespace: NamespaceId, key: &[u8], row: impl Into<Bytes>) {
        self.batch.put(RAW, keys::record(namespace, key), row);
        self.batch.note_change(namespace);
    }

    /// Deletes an aux row.
    pub fn delete_aux(&mut self, namespace: NamespaceId, key: &[u8]) {
        self.batch.delete(RAW, keys::record(namespace, key));
        self.batch.note_change(namespace);
    }

    /// The aux rows from `start` to before `end`, in order, at most `limit` of them.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn aux_rows(
        &self,
        namespace: NamespaceId,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, EngineError> {
        let (start, end) = (keys::record(namespace, start), keys::record(namespace, end));
        let rows = self.batch.rows(RAW, &start, &end, limit)?.into_iter();
        rows.map(|(key, row)| Ok((Bytes::copy_from_slice(keys::user_key(&key)?), row))).collect()
    }
}
