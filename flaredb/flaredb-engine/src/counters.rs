//! What outlives every namespace of a region, and how a namespace begins.

use crate::{
    EngineError, NamespaceId, NamespaceInfo, RegionId,
    batch::Batch,
    codec::{take_u32, take_u64},
    engine::META,
    region,
};

/// What outlives every namespace: numbers and revisions are never used again.
pub(crate) struct Counters {
    pub(crate) last_id: u32,
    /// No namespace has had a larger revision.
    pub(crate) revision: u64,
}

impl Counters {
    pub(crate) fn read(batch: &Batch<'_>, region: RegionId) -> Result<Self, EngineError> {
        let Some(row) = batch.get(META, &region::counters_key(region))? else {
            return Ok(Self { last_id: 0, revision: 0 });
        };
        Self::decode(&row)
    }

    pub(crate) fn decode(row: &[u8]) -> Result<Self, EngineError> {
        let (last_id, rest) = take_u32(row, "counters")?;
        let (revision, _) = take_u64(rest, "counters")?;
        Ok(Self { last_id, revision })
    }

    pub(crate) fn write(&self, batch: &mut Batch<'_>, region: RegionId) {
        let mut row = self.last_id.to_be_bytes().to_vec();
        row.extend_from_slice(&self.revision.to_be_bytes());
        batch.put(META, region::counters_key(region), row);
    }
}

/// Adds an empty namespace under the next number, at its revision or behind the last one of all.
pub(crate) fn add_namespace(
    batch: &mut Batch<'_>,
    region: RegionId,
    info: NamespaceInfo,
) -> Result<NamespaceInfo, EngineError> {
    let mut counters = Counters::read(batch, region)?;
    counters.last_id += 1;
    counters.write(batch, region);
    // Versions of an earlier namespace of this name stay wrong in this one.
    let revision = info.revision.max(counters.revision);
    let id = NamespaceId(counters.last_id);
    let info = NamespaceInfo { id, revision, oldest_revision: revision + 1, ..info };
    batch.update(info.clone());
    Ok(info)
}
