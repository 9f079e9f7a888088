//! Rows of records that were written lately.
//!
//! A write must know what it supersedes, and what is written is mostly what was written before. RocksDB would look for
//! it in every memtable and table file; here it is one look-up. Only `apply` reads it, which is its only writer, so it
//! never shows anything but what RocksDB holds.

use std::collections::HashMap;

use bytes::Bytes;
use foldhash::fast::RandomState;

/// Larger rows are not kept: one of them would drive out thousands.
const ROW_BYTES_MAX: usize = 64 << 10;
/// What a row costs beside its bytes: entries of the table, the allocator's rounding.
const ROW_OVERHEAD_BYTES: usize = 128;

/// Rows by key, as RocksDB holds them. No key is in both of the families that hold records, since a namespace is in
/// one of them for ever.
#[derive(Debug)]
pub(crate) struct Recent {
    generation_bytes_max: usize,
    young: Generation,
    /// Goes as a whole when the young one is full and takes its place.
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    rows: HashMap<Vec<u8>, Bytes, RandomState>,
    bytes: usize,
}

fn size(key: &[u8], row: &Bytes) -> usize {
    key.len() + row.len() + ROW_OVERHEAD_BYTES
}

impl Generation {
    fn put(&mut self, key: Vec<u8>, row: Bytes) {
        self.bytes += size(&key, &row);
        let key_bytes = key.len();
        if let Some(before) = self.rows.insert(key, row) {
            self.bytes -= key_bytes + before.len() + ROW_OVERHEAD_BYTES;
        }
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some(row) = self.rows.remove(key) {
            self.bytes -= size(key, &row);
        }
    }
}

impl Recent {
    /// Holds at most about `bytes_max` bytes.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { generation_bytes_max: bytes_max / 2, young: Generation::default(), old: Generation::default() }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Bytes> {
        self.young.rows.get(key).or_else(|| self.old.rows.get(key))
    }

    /// The row is now this one; `None`: it is gone.
    pub(crate) fn set(&mut self, key: Vec<u8>, row: Option<Bytes>) {
        match row {
            Some(row) if row.len() <= ROW_BYTES_MAX => self.put(key, row),
            _ => {
                self.young.remove(&key);
                self.old.remove(&key);
            }
        }
    }

    fn put(&mut self, key: Vec<u8>, row: Bytes) {
        self.young.put(key, row);
        if self.young.bytes > self.generation_bytes_max {
            self.old = std::mem::take(&mut self.young);
        }
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
                prop_assert!(recent.young.bytes + recent.old.bytes <= 4_000 + 2 * (300 + ROW_OVERHEAD_BYTES));
            }
        }
    }

    #[test]
    fn bytes_are_counted_back_to_nothing() {
        let mut recent = Recent::new(1 << 20);
        for round in 1_u8..4 {
            (0..100_u8).for_each(|key| recent.set(vec![key], Some(vec![round; 50].into())));
        }
        assert_eq!(recent.young.bytes, 100 * (1 + 50 + ROW_OVERHEAD_BYTES));
        (0..100_u8).for_each(|key| recent.set(vec![key], None));
        assert_eq!((recent.young.bytes, recent.get(&[7])), (0, None));
    }
}
