//! What a run of entries changes, gathered for one atomic write.
//!
//! Entries of one run must see each other's effects before they are written, so each change goes into an overlay that
//! lookups ask first. RocksDB gets each row once, in the order of keys, so that rows which are neighbours in its memory
//! are written one after the other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rocksdb::WriteBatch;

use crate::{
    Engine, EngineError, NamespaceId, NamespaceInfo, Span,
    engine::{CAS, FAMILIES, HIST, META, RAW},
    keys,
    namespace::Table,
    planted,
    recent::{Current, Recents},
    versions::{self, Newest, OwnedVersion},
    visit::WrittenRecords,
};

type Overlay = BTreeMap<Vec<u8>, Option<Bytes>>;
type NewRow = (Vec<u8>, Bytes);

/// What RocksDB puts around a row in a batch of writes, at most.
const ROW_OVERHEAD_BYTES: usize = 16;

/// The changes of a run of entries.
pub(crate) struct Batch<'a> {
    engine: &'a Engine,
    recents: &'a mut Recents,
    /// Opened when something is looked for that is not among the recent ones.
    newest: Option<Newest<'a>>,
    /// Version and value of the Strong records that the run has written; `None`: deleted.
    records: BTreeMap<Vec<u8>, Option<(u64, Bytes)>>,
    /// The rows of those, under keys that were never used before.
    versions: Vec<NewRow>,
    /// Rows of history that the run has added, in order.
    events: Vec<NewRow>,
    /// For each family, what else the run made of its rows.
    overlays: BTreeMap<&'static str, Overlay>,
    /// The namespaces as the run leaves them.
    pub(crate) table: Table,
    changed: BTreeSet<NamespaceId>,
    removed: BTreeSet<NamespaceId>,
}

/// A run that has been written.
pub(crate) struct Written {
    /// The namespaces as they are now.
    pub(crate) table: Table,
    /// Those that changed or went.
    pub(crate) touched: Vec<NamespaceId>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(engine: &'a Engine, recents: &'a mut Recents, table: Table) -> Self {
        Self {
            engine,
            recents,
            newest: None,
            records: BTreeMap::new(),
            versions: Vec::new(),
            events: Vec::new(),
            overlays: BTreeMap::new(),
            table,
            changed: BTreeSet::new(),
            removed: BTreeSet::new(),
        }
    }

    /// The row as the entries so far have left it.
    pub(crate) fn get(&self, family: &'static str, key: &[u8]) -> Result<Option<Bytes>, EngineError> {
        if let Some(row) = self.overlays.get(family).and_then(|overlay| overlay.get(key)) {
            return Ok(row.clone());
        }
        if self.is_of_a_removed(family, key) {
            return Ok(None);
        }
        if let (true, Some(row)) = (family == RAW, self.recents.raw.get(key)) {
            return Ok(Some(row.clone()));
        }
        let found = self.engine.db.get_pinned_cf(self.engine.family(family)?, key)?;
        Ok(found.map(|row| Bytes::copy_from_slice(&row)))
    }

    /// Whether what RocksDB has there goes with its namespace when the batch is written.
    pub(crate) fn is_of_a_removed(&self, family: &str, key: &[u8]) -> bool {
        family != META && self.removed.iter().any(|gone| key.starts_with(&gone.0.to_be_bytes()))
    }

    pub(crate) fn put(&mut self, family: &'static str, key: Vec<u8>, row: impl Into<Bytes>) {
        self.overlays.entry(family).or_default().insert(key, Some(row.into()));
    }

    /// Adds a row of history, under a key with a revision of this command.
    pub(crate) fn add_event(&mut self, key: Vec<u8>, row: impl Into<Bytes>) {
        self.events.push((key, row.into()));
    }

    /// Adds a version of a Strong record, under a revision of this command; `None` deletes the record.
    pub(crate) fn add_version(
        &mut self,
        namespace: NamespaceId,
        key: &[u8],
        version: u64,
        value: Option<Bytes>,
    ) {
        let row = keys::version(namespace, key, version, value.is_some());
        self.versions.push((row, value.clone().unwrap_or_default()));
        self.records.insert(keys::record(namespace, key), value.map(|value| (version, value)));
    }

    /// Lets lookups and deletions see the rows that the run has added.
    pub(crate) fn settle(&mut self) {
        for (family, rows) in
            [(CAS, std::mem::take(&mut self.versions)), (HIST, std::mem::take(&mut self.events))]
        {
            for (key, row) in rows {
                self.put(family, key, row);
            }
        }
    }

    pub(crate) fn delete(&mut self, family: &'static str, key: Vec<u8>) {
        self.overlays.entry(family).or_default().insert(key, None);
    }

    /// The rows of `family` from `start` to before `end` as the entries so far have left them, in order, at most
    /// `limit` of them. The range lies within one namespace or within `meta`.
    pub(crate) fn rows(
        &self,
        family: &'static str,
        start: &[u8],
        end: &[u8],
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Bytes)>, EngineError> {
        let mut merged: Overlay = BTreeMap::new();
        let empty = Overlay::new();
        let overlay = self.overlays.get(family).unwrap_or(&empty);
        let mode = rocksdb::IteratorMode::From(start, rocksdb::Direction::Forward);
        // Rows that the run deleted do not count, so look that many further.
        let enough = limit.saturating_add(overlay.len());
        for item in self.engine.db.iterator_cf(self.engine.family(family)?, mode) {
            let (key, row) = item?;
            if &*key >= end || merged.len() >= enough || self.is_of_a_removed(family, &key) {
                break;
            }
            merged.insert(key.into_vec(), Some(Bytes::from(row.into_vec())));
        }
        let range = overlay.range(start.to_vec()..end.to_vec());
        merged.extend(range.map(|(key, row)| (key.clone(), row.clone())));
        Ok(merged.into_iter().filter_map(|(key, row)| Some((key, row?))).take(limit).collect())
    }

    pub(crate) fn engine(&self) -> &'a Engine {
        self.engine
    }

    /// What the run has made of the records of a span, at the span's revision.
    pub(crate) fn written(&self, namespace: NamespaceId, span: &Span) -> WrittenRecords {
        let start = keys::record(namespace, &span.start);
        let end = match &span.end {
            Some(end) => keys::record(namespace, end),
            None => keys::namespace_end(namespace),
        };
        if start >= end {
            return WrittenRecords::new();
        }
        let key = |record: &[u8]| Bytes::copy_from_slice(record.get(4..).unwrap_or_default());
        match span.revision {
            None => self.records.range(start..end).map(|(record, row)| (key(record), row.clone())).collect(),
            Some(revision) => self.written_until(revision, namespace, span),
        }
    }

    /// As [`Batch::written`], of the versions up to a revision that the run may have left behind.
    fn written_until(&self, revision: u64, namespace: NamespaceId, span: &Span) -> WrittenRecords {
        let settled = self.overlays.get(CAS).into_iter().flatten();
        let settled = settled.filter_map(|(row, value)| Some((row, value.as_ref()?)));
        let mut written: BTreeMap<Bytes, OwnedVersion> = BTreeMap::new();
        for (row, value) in settled.chain(self.versions.iter().map(|(row, value)| (row, value))) {
            let (Ok((version, put)), Ok(key)) = (keys::version_of(row), keys::record_key(row)) else {
                continue;
            };
            let inside = span.start <= key && span.end.as_ref().is_none_or(|end| key[..] < end[..]);
            if !row.starts_with(&namespace.0.to_be_bytes()) || version > revision || !inside {
                continue;
            }
            let newest = written.entry(key.into()).or_insert((0, None));
            if version > newest.0 {
                *newest = (version, put.then(|| value.clone()));
            }
        }
        written
            .into_iter()
            .map(|(key, (version, value))| (key, value.map(|value| (version, value))))
            .collect()
    }

    /// What a record of a Strong namespace is now; `None`: absent.
    pub(crate) fn current(
        &mut self,
        namespace: NamespaceId,
        key: &[u8],
    ) -> Result<Option<Current>, EngineError> {
        let record = keys::record(namespace, key);
        if let Some(written) = self.records.get(&record) {
            return Ok(written.as_ref().map(|(version, value)| Current::new(*version, value)));
        }
        if !self.is_of_a_removed(CAS, &record)
            && let Some(current) = self.recents.strong.get(&record)
        {
            return Ok(Some(current));
        }
        self.look_up(namespace, key)
    }

    fn look_up(&mut self, namespace: NamespaceId, key: &[u8]) -> Result<Option<Current>, EngineError> {
        let versions = keys::versions(namespace, key);
        let gone = self.is_of_a_removed(CAS, &versions);
        let overlay = self.overlays.get(CAS).into_iter().flat_map(|rows| rows.range(versions.clone()..));
        let mut own = overlay.take_while(|(row, _)| keys::record_part(row) == keys::record_part(&versions));
        let own = own.find_map(|(row, value)| value.as_ref().map(|value| versions::read(row, value)));
        let stored = match &mut self.newest {
            _ if gone => None,
            Some(newest) => newest.of(&versions)?,
            none => none.insert(Newest::open(self.engine)?).of(&versions)?,
        };
        // What the overlay has beside RocksDB is of a restore, which may have brought either of them first.
        let found = own.transpose()?.into_iter().chain(stored).max_by_key(|version| version.number);
        Ok(found.and_then(|found| Some(Current::new(found.number, found.value?))))
    }

    /// The value that a record has now.
    pub(crate) fn value(
        &self,
        namespace: NamespaceId,
        key: &[u8],
        current: Current,
    ) -> Result<Bytes, EngineError> {
        if let Some(Some((_, value))) = self.records.get(&keys::record(namespace, key)) {
            return Ok(value.clone());
        }
        let value = self.get(CAS, &keys::version(namespace, key, current.version, true))?;
        value.ok_or(EngineError::Corrupt { what: "record" })
    }

    /// Says that a namespace has changed.
    pub(crate) fn note_change(&mut self, id: NamespaceId) {
        self.changed.insert(id);
    }

    /// Changes what is known about a namespace, except its name and number.
    pub(crate) fn change(&mut self, id: NamespaceId, change: impl FnOnce(&mut NamespaceInfo)) {
        self.note_change(id);
        self.table.change(id, change);
    }

    /// Replaces what is known about a namespace.
    pub(crate) fn update(&mut self, info: NamespaceInfo) {
        self.changed.insert(info.id);
        self.table.insert(info);
    }

    /// Takes a namespace away with all of its rows.
    pub(crate) fn remove(&mut self, id: NamespaceId) {
        let start = id.0.to_be_bytes();
        self.versions.retain(|(key, _)| !key.starts_with(&start));
        self.events.retain(|(key, _)| !key.starts_with(&start));
        self.records.retain(|key, _| !key.starts_with(&start));
        for (_, overlay) in self.overlays.iter_mut().filter(|(family, _)| **family != META) {
            overlay.retain(|key, _| !key.starts_with(&start));
        }
        self.table.remove(id);
        self.changed.remove(&id);
        self.removed.insert(id);
    }

    /// Writes everything at once, with the rows of the namespaces under `row_of` and the position in `applied`.
    pub(crate) fn commit(
        mut self,
        row_of: impl Fn(NamespaceId) -> Vec<u8>,
        applied: (Vec<u8>, Vec<u8>),
    ) -> Result<Written, EngineError> {
        for id in &self.removed {
            self.overlays.entry(META).or_default().insert(row_of(*id), None);
        }
        for info in self.changed.iter().filter_map(|id| self.table.get(*id)) {
            self.overlays.entry(META).or_default().insert(row_of(info.id), Some(info.encode().into()));
        }
        if let Some((key, row)) = planted::position(self.engine.db.path(), applied) {
            self.put(META, key, row);
        }
        // A run's rows of one record are neighbours, and so are those of records with like keys.
        self.versions.sort_unstable_by(|(one, _), (two, _)| one.cmp(two));
        let written = self.engine.write(self.rows_to_write()?);
        self.remember(written.is_ok());
        written?;
        let touched = self.changed.union(&self.removed).copied().collect();
        Ok(Written { table: self.table, touched })
    }

    fn rows_to_write(&self) -> Result<WriteBatch, EngineError> {
        // All of it at once: a buffer that doubles touches twice the memory.
        let mut write = WriteBatch::with_capacity_bytes(self.bytes_to_write());
        // First: what was written to a namespace before it went is in no overlay any more, but a restore that begins
        // anew brings rows of the same number.
        for id in &self.removed {
            let (start, end) = (id.0.to_be_bytes(), keys::namespace_end(*id));
            for family in FAMILIES.into_iter().filter(|family| *family != META) {
                write.delete_range_cf(self.engine.family(family)?, &start[..], &end[..]);
            }
        }
        for (family, overlay) in &self.overlays {
            let family = self.engine.family(family)?;
            for (key, row) in overlay {
                match row {
                    Some(row) => write.put_cf(family, key, row),
                    None => write.delete_cf(family, key),
                }
            }
        }
        for (family, rows) in [(CAS, &self.versions), (HIST, &self.events)] {
            let family = self.engine.family(family)?;
            for (key, row) in rows {
                write.put_cf(family, key, row);
            }
        }
        Ok(write)
    }

    fn bytes_to_write(&self) -> usize {
        let rows = self.overlays.values().flatten();
        let rows = rows.map(|(key, row)| key.len() + row.as_ref().map_or(0, Bytes::len));
        let added = self.versions.iter().chain(&self.events).map(|(key, row)| key.len() + row.len());
        rows.chain(added).map(|bytes| bytes + ROW_OVERHEAD_BYTES).sum::<usize>() + ROW_OVERHEAD_BYTES
    }

    /// Keeps the records for the runs to come.
    fn remember(&mut self, written: bool) {
        if !written || !self.removed.is_empty() {
            self.recents.clear();
            return;
        }
        for (key, record) in std::mem::take(&mut self.records) {
            self.recents.strong.set(key, record.map(|(version, value)| Current::new(version, &value)));
        }
        for (key, row) in self.overlays.remove(RAW).unwrap_or_default() {
            self.recents.raw.set(key, row);
        }
    }
}
