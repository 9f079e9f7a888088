//! Where the memory of a database is, for those who watch it.

use rocksdb::{
    DEFAULT_COLUMN_FAMILY_NAME,
    properties::{self, PropName},
};

use crate::{
    Engine, EngineError,
    engine::{FAMILIES, META},
};

/// Bytes of memory, by what they are for. What regions remember of their writes comes on top
/// ([`crate::Region::remembered_bytes`]).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// Cached blocks of files: rows, indices and filters.
    pub block_cache_bytes: u64,
    /// Writes that are not on disk yet, and those that somebody still reads.
    pub memtables_bytes: u64,
    /// What open files take beside the cache.
    pub table_readers_bytes: u64,
}

impl Engine {
    /// Where memory is at the moment.
    ///
    /// # Errors
    /// When RocksDB does not say.
    pub fn memory(&self) -> Result<Memory, EngineError> {
        let mut memory = Memory {
            // All families share it.
            block_cache_bytes: self.property(META, properties::BLOCK_CACHE_USAGE)?,
            ..Memory::default()
        };
        for name in FAMILIES.into_iter().chain([DEFAULT_COLUMN_FAMILY_NAME]) {
            memory.memtables_bytes += self.property(name, properties::SIZE_ALL_MEM_TABLES)?;
            memory.table_readers_bytes += self.property(name, properties::ESTIMATE_TABLE_READERS_MEM)?;
        }
        Ok(memory)
    }

    fn property(&self, family: &'static str, name: &PropName) -> Result<u64, EngineError> {
        let value = self.db.property_int_value_cf(self.family(family)?, name)?;
        value.ok_or(EngineError::Corrupt { what: "properties" })
    }
}
