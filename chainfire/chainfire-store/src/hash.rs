//! One number for all records at a revision, the same on every replica that has it.

use std::ops::ControlFlow;

use flaredb_engine::Span;

use crate::{
    Store, StoreError,
    number::{signed, unsigned},
};

/// A hash of records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysHash {
    /// CRC-32 over all records, in the order of keys.
    pub hash: u32,
    /// The revision that they are of.
    pub revision: i64,
    /// The revision up to which history is forgotten.
    pub compacted: i64,
}

impl Store {
    /// A hash of the records at a revision (0: the present one).
    ///
    /// # Errors
    /// When the revision is compacted or not reached, or the state cannot be read.
    pub fn hash_kv(&self, revision: i64) -> Result<KeysHash, StoreError> {
        let compacted = self.readable(revision)?;
        let mut hash = crc32fast::Hasher::new();
        let Some(info) = self.namespace() else {
            return Ok(KeysHash { hash: hash.finalize(), revision: self.revision(), compacted });
        };
        let span = Span { revision: (revision > 0).then(|| unsigned(revision)), ..Span::default() };
        let revision = self.region().visit(info.id, &span, |row| {
            hash.update(&u64::try_from(row.key.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(row.key);
            hash.update(&row.version.to_be_bytes());
            hash.update(&u64::try_from(row.value.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(row.value);
            ControlFlow::Continue(())
        })?;
        Ok(KeysHash { hash: hash.finalize(), revision: signed(revision), compacted })
    }
}
