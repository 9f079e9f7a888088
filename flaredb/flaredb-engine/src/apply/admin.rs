//! Commands on whole namespaces, and the rows of a restored snapshot.

use bytes::Bytes;
use flaredb_proto::v1::{
    CreateNamespaceRequest, NamespaceMode, RestoreRecords, flare_response::Outcome, refused::Reason,
};

use super::{Effect, refused};
use crate::{
    EngineError, NamespaceId, NamespaceInfo, RegionId,
    batch::Batch,
    codec::{take_u32, take_u64},
    engine::META,
    region,
    snapshot::{self, Row},
};

/// What outlives every namespace: numbers and revisions are never used again.
struct Counters {
    last_id: u32,
    /// No namespace has had a larger revision.
    revision: u64,
}

impl Counters {
    fn read(batch: &Batch<'_>, region: RegionId) -> Result<Self, EngineError> {
        let Some(row) = batch.get(META, &region::counters_key(region))? else {
            return Ok(Self { last_id: 0, revision: 0 });
        };
        let (last_id, rest) = take_u32(&row, "counters")?;
        let (revision, _) = take_u64(rest, "counters")?;
        Ok(Self { last_id, revision })
    }

    fn write(&self, batch: &mut Batch<'_>, region: RegionId) -> Result<(), EngineError> {
        let mut row = self.last_id.to_be_bytes().to_vec();
        row.extend_from_slice(&self.revision.to_be_bytes());
        batch.put(META, region::counters_key(region), row)
    }
}

pub(super) fn create(batch: &mut Batch<'_>, region: RegionId, request: CreateNamespaceRequest) -> Effect {
    if request.mode() == NamespaceMode::Unspecified {
        return Err(refused(Reason::Invalid, "a namespace without a mode"));
    }
    if batch.table.named(&request.name).is_some() {
        return Err(refused(Reason::NamespaceExists, request.name));
    }
    let mut counters = Counters::read(batch, region)?;
    counters.last_id += 1;
    counters.write(batch, region)?;
    let info = NamespaceInfo {
        id: NamespaceId(counters.last_id),
        mode: request.mode(),
        name: request.name,
        key_prefix: request.key_prefix,
        keys: 0,
        bytes: 0,
        keys_max: request.keys_max,
        bytes_max: request.bytes_max,
        // Versions of an earlier namespace of this name stay wrong in this one.
        revision: counters.revision,
        oldest_revision: counters.revision + 1,
    };
    batch.update(info.clone());
    Ok(Outcome::Namespace(info.into()))
}

pub(super) fn delete(batch: &mut Batch<'_>, region: RegionId, name: &str) -> Effect {
    let info = batch.table.named(name).cloned();
    let info = info.ok_or_else(|| refused(Reason::NoSuchNamespace, name))?;
    let mut counters = Counters::read(batch, region)?;
    counters.revision = counters.revision.max(info.revision);
    counters.write(batch, region)?;
    batch.remove(info.id)?;
    Ok(Outcome::Done(info.revision))
}

/// Writes rows of a saved snapshot as they are. Namespaces among them appear with their numbers and revisions.
pub(super) fn restore(batch: &mut Batch<'_>, region: RegionId, restore: &RestoreRecords) -> Effect {
    let mut records = 0;
    for row in snapshot::rows(&restore.rows) {
        let Ok(row) = row else { return Err(refused(Reason::Invalid, "rows that no snapshot holds")) };
        records += u64::from(restore_row(batch, region, &row)?);
    }
    Ok(Outcome::Done(records))
}

/// Whether the row was a live record.
fn restore_row(batch: &mut Batch<'_>, region: RegionId, row: &Row<'_>) -> Result<bool, EngineError> {
    if row.family != META {
        batch.put(row.family, row.key.to_vec(), Bytes::copy_from_slice(row.value))?;
        return Ok(matches!(row.family, crate::engine::CAS | crate::engine::RAW));
    }
    let own = region::meta_of_snapshot(region, row.key)?;
    if own == region::counters_key(region) {
        batch.put(META, own, Bytes::copy_from_slice(row.value))?;
    } else {
        batch.update(NamespaceInfo::decode(row.value)?);
    }
    Ok(false)
}
