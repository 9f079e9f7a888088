//! Replacing a region's whole state by a snapshot's.
//!
//! A durable mark stands while the rows are half there. Who opens the region and finds the mark empties it, so that
//! the state is a whole one or none.

use rocksdb::WriteBatch;

use crate::{
    Applied, Engine, EngineError, Region, RegionId,
    engine::{FAMILIES, META},
    keys,
    region::{
        applied_key, applied_row, counters_key, installing_key, meta_of_snapshot, namespace_key, staged_key,
    },
    snapshot::{self, Snapshot},
};

/// Receives the chunks of a snapshot, in order. What finds the disk full may be repeated; clones go on with the same
/// installation.
#[derive(Clone, Debug)]
pub struct Install {
    region: Region,
}

impl Install {
    pub(crate) fn begin(region: Region) -> Result<Self, EngineError> {
        region.begin_install();
        let engine = region.engine();
        let mut mark = WriteBatch::default();
        mark.put_cf(engine.family(META)?, installing_key(region.id()), [1]);
        engine.write(mark)?;
        engine.flush()?;
        wipe(engine, region.id())?;
        Ok(Self { region })
    }

    /// Writes one chunk's rows.
    ///
    /// # Errors
    /// When the chunk is damaged or RocksDB fails.
    pub fn write(&mut self, chunk: &[u8]) -> Result<(), EngineError> {
        let engine = self.region.engine();
        let mut batch = WriteBatch::default();
        for row in snapshot::rows(chunk) {
            let row = row?;
            let key = if row.family == META {
                meta_of_snapshot(self.region.id(), row.key)?
            } else {
                row.key.to_vec()
            };
            batch.put_cf(engine.family(row.family)?, key, row.value);
        }
        engine.write(batch)
    }

    /// Makes the new state durable and visible, at position `applied`.
    ///
    /// # Errors
    /// When RocksDB fails; the region is then empty at the next start.
    pub fn finish(self, applied: Applied) -> Result<(), EngineError> {
        let engine = self.region.engine();
        let (key, row) = applied_row(self.region.id(), &applied);
        let mut batch = WriteBatch::default();
        batch.put_cf(engine.family(META)?, key, row);
        batch.delete_cf(engine.family(META)?, installing_key(self.region.id()));
        engine.write(batch)?;
        engine.flush()?;
        self.region.reload()
    }
}

/// Empties a region in which an installation did not finish.
pub(crate) fn wipe_unfinished(engine: &Engine, region: RegionId) -> Result<(), EngineError> {
    if engine.db.get_cf(engine.family(META)?, installing_key(region))?.is_none() {
        return Ok(());
    }
    wipe(engine, region)?;
    let mut batch = WriteBatch::default();
    batch.delete_cf(engine.family(META)?, installing_key(region));
    engine.write(batch)?;
    engine.flush()
}

fn wipe(engine: &Engine, region: RegionId) -> Result<(), EngineError> {
    let meta = engine.family(META)?;
    let mut batch = WriteBatch::default();
    for info in Snapshot::take(engine, region)?.namespaces() {
        let (start, end) = (info.id.0.to_be_bytes(), keys::namespace_end(info.id));
        for family in FAMILIES.into_iter().filter(|family| *family != META) {
            batch.delete_range_cf(engine.family(family)?, &start[..], &end[..]);
        }
        batch.delete_cf(meta, namespace_key(region, info.id));
        batch.delete_cf(meta, staged_key(region, info.id));
    }
    batch.delete_cf(meta, counters_key(region));
    batch.delete_cf(meta, applied_key(region));
    engine.write(batch)
}
