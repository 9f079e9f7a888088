//! What records were written lately.
//!
//! A write must know what it supersedes, and what is written is mostly what was written before. RocksDB would look for
//! it in every memtable and table file; here it is one look-up. Only `apply` changes it, after RocksDB has what it says
//! and before anybody is told, so it never shows less than what a reader may ask for.

use std::{
    collections::HashMap,
    hash::BuildHasher as _,
    sync::{Arc, PoisonError, RwLock},
};

use bytes::Bytes;
use foldhash::fast::RandomState;

/// Larger rows are not kept: one of them would drive out thousands.
const ROW_BYTES_MAX: usize = 64 << 10;
/// What a row costs beside its bytes: entries of the table, the allocator's rounding.
const ROW_OVERHEAD_BYTES: usize = 96;

/// What bytes of their own cost beside themselves.
const ALLOCATION_BYTES: usize = 32;

/// What a write must know of a Strong record that it supersedes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Current {
    /// The revision that wrote it.
    pub version: u64,
    /// The length of its value.
    pub value_bytes: usize,
}

impl Current {
    pub(crate) fn new(version: u64, value: &[u8]) -> Self {
        Self { version, value_bytes: value.len() }
    }
}

/// What is kept of a record.
pub(crate) trait Kept {
    /// Bytes that it holds elsewhere.
    fn bytes(&self) -> usize;
}

impl Kept for Current {
    fn bytes(&self) -> usize {
        0
    }
}

impl Kept for Bytes {
    fn bytes(&self) -> usize {
        self.len() + ALLOCATION_BYTES
    }
}

/// Readers of different records seldom wait for each other or for the writer.
const SHARDS: usize = 16;

/// Strong records that were written lately, for the writer and for readers: who knows the version of a record need not
/// look for the newest one in every file that holds any.
#[derive(Debug)]
pub(crate) struct Known {
    shards: [RwLock<Recent<Current>>; SHARDS],
    hasher: RandomState,
}

impl Known {
    fn new(bytes_max: usize) -> Self {
        let shard = |_| RwLock::new(Recent::new(bytes_max / SHARDS));
        Self { shards: std::array::from_fn(shard), hasher: RandomState::default() }
    }

    fn shard(&self, key: &[u8]) -> &RwLock<Recent<Current>> {
        let shards = u64::try_from(SHARDS).unwrap_or(1);
        let number = usize::try_from(self.hasher.hash_one(key) % shards).unwrap_or_default();
        &self.shards[number]
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Current> {
        self.shard(key).read().unwrap_or_else(PoisonError::into_inner).get(key).copied()
    }

    /// The record is now this one; `None`: it is gone.
    pub(crate) fn set(&self, key: Vec<u8>, current: Option<Current>) {
        self.shard(&key).write().unwrap_or_else(PoisonError::into_inner).set(key, current);
    }

    fn bytes(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).bytes()).sum()
    }

    fn clear(&self) {
        for shard in &self.shards {
            shard.write().unwrap_or_else(PoisonError::into_inner).clear();
        }
    }
}

/// What a region has written lately.
#[derive(Debug)]
pub(crate) struct Recents {
    pub(crate) strong: Arc<Known>,
    /// Rows of Eventual records.
    pub(crate) raw: Recent<Bytes>,
}

impl Recents {
    /// Each of both holds at most about half of `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { strong: Arc::new(Known::new(bytes_max / 2)), raw: Recent::new(bytes_max / 2) }
    }

    /// Bytes that it holds.
    pub(crate) fn bytes(&self) -> usize {
        self.strong.bytes() + self.raw.bytes()
    }

    pub(crate) fn clear(&mut self) {
        self.strong.clear();
        self.raw.clear();
    }
}

/// Records by key, as RocksDB holds them.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    generation_bytes_max: usize,
    young: Generation<T>,
    /// Goes as a whole when the young one is full and takes its place.
    old: Generation<T>,
}

#[derive(Debug)]
struct Generation<T> {
    rows: HashMap<Vec<u8>, T, RandomState>,
    bytes: usize,
}

impl<T> Default for Generation<T> {
    fn default() -> Self {
        Self { rows: HashMap::default(), bytes: 0 }
    }
}

fn size(key: &[u8], row: &impl Kept) -> usize {
    key.len() + row.bytes() + ROW_OVERHEAD_BYTES
}

impl<T: Kept> Generation<T> {
    fn put(&mut self, key: Vec<u8>, row: T) {
        self.bytes += size(&key, &row);
        let key_bytes = key.len();
        if let Some(before) = self.rows.insert(key, row) {
            self.bytes -= key_bytes + before.bytes() + ROW_OVERHEAD_BYTES;
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(row) = self.rows.remove(key) {
            self.bytes -= size(key, &row);
        }
    }
}

impl<T: Kept> Recent<T> {
    /// Holds at most about `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { generation_bytes_max: bytes_max / 2, young: Generation::default(), old: Generation::default() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&T> {
        self.young.rows.get(key).or_else(|| self.old.rows.get(key))
    }

    /// The row is now this one; `None`: it is gone.
    pub(crate) fn set(&mut self, key: Vec<u8>, row: Option<T>) {
        match row {
            Some(row) if row.bytes() <= ROW_BYTES_MAX => self.put(key, row),
            _ => {
                self.young.remove(&key);
                self.old.remove(&key);
            }
        }
    }

    fn put(&mut self, key: Vec<u8>, row: T) {
        self.young.put(key, row);
        if self.young.bytes > self.generation_bytes_max {
            self.old = std::mem::take(&mut self.young);
        }
    }

    fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }

    pub(crate) fn clear(&mut self) {
        self.young = Generation::default();
        self.old = Generation::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_row_is_the_last_one_set_or_forgotten(
            steps in proptest::collection::vec((0_u8..20, proptest::option::of(0_usize..300)), 0..200),
        ) {
            let mut recent = Recent::new(4_000);
            let mut model = BTreeMap::new();
            for (key, length) in steps {
                let row = length.map(|length| Bytes::from(vec![key; length]));
                recent.set(vec![key], row.clone());
                model.insert(vec![key], row);
                for (key, row) in &model {
                    let found = recent.get(key);
                    prop_assert!(found.is_none() || found == row.as_ref());
                }
                prop_assert!(recent.young.bytes + recent.old.bytes <= 4_000 + 2 * (300 + ALLOCATION_BYTES + ROW_OVERHEAD_BYTES));
            }
        }
    }

    #[test]
    fn bytes_are_counted_back_to_nothing() {
        let mut recent = Recent::<Bytes>::new(1 << 20);
        for round in 1_u8..4 {
            (0..100_u8).for_each(|key| recent.set(vec![key], Some(vec![round; 50].into())));
        }
        assert_eq!(recent.young.bytes, 100 * (1 + 50 + ALLOCATION_BYTES + ROW_OVERHEAD_BYTES));
        (0..100_u8).for_each(|key| recent.set(vec![key], None));
        assert_eq!((recent.young.bytes, recent.get(&[7])), (0, None));
    }
}
