//! The one RocksDB of a node, shared by its regions.

use std::{path::Path, sync::Arc};

use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBCompressionType,
    DEFAULT_COLUMN_FAMILY_NAME, FlushOptions, ReadOptions, SliceTransform, WriteBatch, WriteBufferManager,
    WriteOptions,
};

use crate::{EngineError, OpenError, Region, keys};

/// The column families, in the order in which snapshots hold them.
pub(crate) const FAMILIES: [&str; 5] = ["meta", "cas", "hist", "ids", "raw"];
pub(crate) const META: &str = "meta";
pub(crate) const CAS: &str = "cas";
pub(crate) const HIST: &str = "hist";
pub(crate) const IDS: &str = "ids";
pub(crate) const RAW: &str = "raw";

/// Bits of a Bloom filter for each key: one lookup in a hundred reads a block in vain.
const BLOOM_BITS: f64 = 10.0;
const BLOCK_BYTES: usize = 16 << 10;
const MEMTABLE_BYTES: usize = 32 << 20;
/// With less memory than this for writes that are not on disk yet, files would be small and merged all the time.
const MEMTABLES_BYTES_MIN: usize = 32 << 20;

/// When a write is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// After [`Region::flush`]; until then the log that the entries came from must be kept.
    Flushed,
    /// When [`Region::apply`] returns: RocksDB's own log is synced each time.
    Synced,
}

/// How to open a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// When a write is on disk.
    pub durability: Durability,
    /// Memory for what is kept to be fast: a quarter for what each region remembers of its writes, the rest for blocks
    /// of files with their indices and filters, and for writes that are not on disk yet, which may take a third of all
    /// and at least 32 MiB.
    pub memory_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { durability: Durability::Flushed, memory_bytes: 256 << 20 }
    }
}

/// A region's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RegionId(pub u64);

/// The database of a node. Clones share it.
#[derive(Clone)]
pub struct Engine {
    pub(crate) db: Arc<DB>,
    pub(crate) durability: Durability,
    pub(crate) recent_bytes_max: usize,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("path", &self.db.path()).finish_non_exhaustive()
    }
}

impl Engine {
    /// Opens the database in `path`, which is made if it is not there.
    ///
    /// # Errors
    /// When another process has it open, or it cannot be read or written.
    pub fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let mut database = rocksdb::Options::default();
        database.create_if_missing(true);
        database.create_missing_column_families(true);
        // Without a log of its own, only a flush of all families together keeps them in step.
        database.set_atomic_flush(options.durability == Durability::Flushed);
        database.set_keep_log_file_num(4);
        database.set_max_background_jobs(2);
        let memory_bytes = usize::try_from(options.memory_bytes).unwrap_or(usize::MAX);
        let recent_bytes_max = memory_bytes / 4;
        let cache = Cache::new_lru_cache(memory_bytes - recent_bytes_max);
        // What writes take is charged to the cache, which makes room for it.
        database.set_write_buffer_manager(&WriteBufferManager::new_write_buffer_manager_with_cache(
            (memory_bytes / 3).max(MEMTABLES_BYTES_MIN),
            false,
            cache.clone(),
        ));
        // The family that nothing is in counts as well: after a full disk, RocksDB goes on only when there is room for
        // the largest memtable of all, and the default is 64 MiB, as much as the server holds in reserve.
        let all = FAMILIES.into_iter().chain([DEFAULT_COLUMN_FAMILY_NAME]);
        let families = all.map(|name| ColumnFamilyDescriptor::new(name, family(name, &cache)));
        let db = DB::open_cf_descriptors(&database, path, families)
            .map_err(|source| OpenError::Rocks { path: path.to_owned(), source })?;
        Ok(Self { db: Arc::new(db), durability: options.durability, recent_bytes_max })
    }

    /// From now on no file of the folder is removed, so that it can be copied while it is in use: what the copied
    /// manifest names is there.
    ///
    /// # Errors
    /// When RocksDB refuses.
    pub fn keep_files(&self) -> Result<(), EngineError> {
        Ok(self.db.disable_file_deletions()?)
    }

    /// The region with this number, empty if it is new.
    ///
    /// # Errors
    /// When its rows are damaged.
    pub fn region(&self, id: RegionId) -> Result<Region, EngineError> {
        Region::load(self.clone(), id)
    }

    pub(crate) fn family(&self, name: &'static str) -> Result<&ColumnFamily, EngineError> {
        self.db.cf_handle(name).ok_or(EngineError::Corrupt { what: "column families" })
    }

    /// Rows of `cas` in the order of keys, across records.
    pub(crate) fn in_order() -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options
    }

    pub(crate) fn write(&self, batch: WriteBatch) -> Result<(), EngineError> {
        let mut options = WriteOptions::default();
        match self.durability {
            Durability::Flushed => options.disable_wal(true),
            Durability::Synced => options.set_sync(true),
        }
        Ok(self.db.write_opt(batch, &options)?)
    }

    /// Everything written so far is on disk when this returns.
    pub(crate) fn flush(&self) -> Result<(), EngineError> {
        let mut options = FlushOptions::default();
        options.set_wait(true);
        let families = FAMILIES.iter().map(|name| self.family(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.db.flush_cfs_opt(&families, &options)?)
    }
}

fn family(name: &str, cache: &Cache) -> rocksdb::Options {
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(BLOCK_BYTES);
    blocks.set_bloom_filter(BLOOM_BITS, false);
    // Beside the cache, they would grow with the data.
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_cache_index_and_filter_blocks_with_high_priority(true);
    // Every read looks into the youngest files.
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    let mut options = rocksdb::Options::default();
    if name == CAS {
        // Who wants the newest version of a record knows no row of it, so the filters are of records, not of rows.
        options.set_prefix_extractor(SliceTransform::create(
            "record",
            keys::record_part,
            Some(keys::is_version),
        ));
        blocks.set_whole_key_filtering(false);
    }
    options.set_block_based_table_factory(&blocks);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_write_buffer_size(MEMTABLE_BYTES);
    options
}
