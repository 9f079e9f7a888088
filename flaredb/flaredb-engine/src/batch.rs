//! What a run of entries changes, gathered for one atomic write.
//!
//! Entries of one run must see each other's effects before they are written, so each change also goes into an
//! overlay that lookups ask first.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use rocksdb::WriteBatch;

use crate::{
    Engine, EngineError, NamespaceId, NamespaceInfo,
    engine::{CAS, FAMILIES, META},
    keys,
    namespace::Table,
    planted,
};

type Overlay = BTreeMap<Vec<u8>, Option<Bytes>>;

/// The changes of a run of entries.
pub(crate) struct Batch<'a> {
    engine: &'a Engine,
    write: WriteBatch,
    /// For each family, what the run made of its rows.
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
    pub(crate) fn new(engine: &'a Engine, table: Table) -> Self {
        Self {
            engine,
            write: WriteBatch::default(),
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
        let found = self.engine.db.get_pinned_cf(self.engine.family(family)?, key)?;
        Ok(found.map(|row| Bytes::copy_from_slice(&row)))
    }

    /// Whether what RocksDB has there goes with its namespace when the batch is written.
    fn is_of_a_removed(&self, family: &str, key: &[u8]) -> bool {
        family != META && self.removed.iter().any(|gone| key.starts_with(&gone.0.to_be_bytes()))
    }

    pub(crate) fn put(
        &mut self,
        family: &'static str,
        key: Vec<u8>,
        row: impl Into<Bytes>,
    ) -> Result<(), EngineError> {
        let row = row.into();
        self.write.put_cf(self.engine.family(family)?, &key, &row);
        self.overlays.entry(family).or_default().insert(key, Some(row));
        Ok(())
    }

    pub(crate) fn delete(&mut self, family: &'static str, key: Vec<u8>) -> Result<(), EngineError> {
        self.write.delete_cf(self.engine.family(family)?, &key);
        self.overlays.entry(family).or_default().insert(key, None);
        Ok(())
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

    /// Replaces what is known about a namespace.
    pub(crate) fn update(&mut self, info: NamespaceInfo) {
        self.changed.insert(info.id);
        self.table.insert(info);
    }

    /// Takes a namespace away with all of its rows.
    pub(crate) fn remove(&mut self, id: NamespaceId) -> Result<(), EngineError> {
        let (start, end) = (id.0.to_be_bytes(), keys::namespace_end(id));
        for family in FAMILIES.into_iter().filter(|family| *family != META) {
            self.write.delete_range_cf(self.engine.family(family)?, &start[..], &end[..]);
            if let Some(overlay) = self.overlays.get_mut(family) {
                overlay.retain(|key, _| !key.starts_with(&start));
            }
        }
        self.table.remove(id);
        self.changed.remove(&id);
        self.removed.insert(id);
        Ok(())
    }

    /// Writes everything at once, with the rows of the namespaces under `row_of` and the position in `applied`.
    pub(crate) fn commit(
        mut self,
        row_of: impl Fn(NamespaceId) -> Vec<u8>,
        applied: (Vec<u8>, Vec<u8>),
    ) -> Result<Written, EngineError> {
        let meta = self.engine.family(META)?;
        for id in &self.removed {
            self.write.delete_cf(meta, row_of(*id));
        }
        for info in self.changed.iter().filter_map(|id| self.table.get(*id)) {
            self.write.put_cf(meta, row_of(info.id), info.encode());
        }
        if let Some((key, row)) = planted::position(self.engine.db.path(), applied) {
            self.write.put_cf(meta, key, row);
        }
        self.engine.write(self.write)?;
        let touched = self.changed.union(&self.removed).copied().collect();
        Ok(Written { table: self.table, touched })
    }
}
