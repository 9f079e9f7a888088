//! What a run of entries changes, gathered for one atomic write.
//!
//! Entries of one run must see each other's effects before they are written, so each change goes into an overlay that
//! lookups ask first. What RocksDB gets in the end is the overlay: each row once, in the order of keys, so that rows
//! which are neighbours in its memory are written one after the other.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rocksdb::WriteBatch;

use crate::{
    Engine, EngineError, NamespaceId, NamespaceInfo,
    engine::{CAS, FAMILIES, META, RAW},
    keys,
    namespace::Table,
    planted,
    recent::Recent,
};

type Overlay = BTreeMap<Vec<u8>, Option<Bytes>>;

/// What RocksDB puts around a row in a batch of writes, at most.
const ROW_OVERHEAD_BYTES: usize = 16;

/// The changes of a run of entries.
pub(crate) struct Batch<'a> {
    engine: &'a Engine,
    recent: &'a mut Recent,
    /// For each family, what the run made of its rows.
    overlays: BTreeMap<&'static str, Overlay>,
    /// Rows of history that the run has added, under keys that were never used before; no lookup asks for them.
    added: Vec<(&'static str, Vec<u8>, Bytes)>,
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
    pub(crate) fn new(engine: &'a Engine, recent: &'a mut Recent, table: Table) -> Self {
        Self {
            engine,
            recent,
            overlays: BTreeMap::new(),
            added: Vec::new(),
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
        if let (true, Some(row)) = (holds_records(family), self.recent.get(key)) {
            return Ok(Some(row.clone()));
        }
        let found = self.engine.db.get_pinned_cf(self.engine.family(family)?, key)?;
        Ok(found.map(|row| Bytes::copy_from_slice(&row)))
    }

    /// Whether what RocksDB has there goes with its namespace when the batch is written.
    fn is_of_a_removed(&self, family: &str, key: &[u8]) -> bool {
        family != META && self.removed.iter().any(|gone| key.starts_with(&gone.0.to_be_bytes()))
    }

    pub(crate) fn put(&mut self, family: &'static str, key: Vec<u8>, row: impl Into<Bytes>) {
        self.overlays.entry(family).or_default().insert(key, Some(row.into()));
    }

    /// Adds a row of history, under a key with a revision of this command.
    pub(crate) fn add(&mut self, family: &'static str, key: Vec<u8>, row: impl Into<Bytes>) {
        self.added.push((family, key, row.into()));
    }

    /// Lets lookups and deletions see the history that the run has added.
    pub(crate) fn settle(&mut self) {
        for (family, key, row) in std::mem::take(&mut self.added) {
            self.put(family, key, row);
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

    /// The current record of a Strong namespace, as version and value.
    pub(crate) fn record(
        &self,
        namespace: NamespaceId,
        key: &[u8],
    ) -> Result<Option<(u64, Bytes)>, EngineError> {
        let Some(row) = self.get(CAS, &keys::record(namespace, key))? else { return Ok(None) };
        let (version, _) = crate::codec::take_u64(&row, "record")?;
        Ok(Some((version, row.slice(8..))))
    }

    /// Changes what is known about a namespace, except its name and number.
    pub(crate) fn change(&mut self, id: NamespaceId, change: impl FnOnce(&mut NamespaceInfo)) {
        self.changed.insert(id);
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
        self.added.retain(|(_, key, _)| !key.starts_with(&start));
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
        for (family, key, row) in &self.added {
            write.put_cf(self.engine.family(family)?, key, row);
        }
        Ok(write)
    }

    fn bytes_to_write(&self) -> usize {
        let rows = self.overlays.values().flatten();
        let rows = rows.map(|(key, row)| key.len() + row.as_ref().map_or(0, Bytes::len));
        let added = self.added.iter().map(|(_, key, row)| key.len() + row.len());
        rows.chain(added).map(|bytes| bytes + ROW_OVERHEAD_BYTES).sum::<usize>() + ROW_OVERHEAD_BYTES
    }

    /// Keeps the records for the runs to come.
    fn remember(&mut self, written: bool) {
        if !written || !self.removed.is_empty() {
            self.recent.clear();
            return;
        }
        for family in [CAS, RAW] {
            for (key, row) in self.overlays.remove(family).unwrap_or_default() {
                self.recent.set(key, row);
            }
        }
    }
}

fn holds_records(family: &str) -> bool {
    matches!(family, CAS | RAW)
}
