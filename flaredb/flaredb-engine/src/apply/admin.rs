//! Commands on whole namespaces, and the rows of a restored snapshot.

use std::collections::BTreeMap;

use bytes::Bytes;
use flaredb_proto::limits::NAMESPACES_MAX;
use flaredb_proto::v1::{
    CreateNamespaceRequest, NamespaceMode, RestoreRecords, flare_response::Outcome, refused::Reason,
};

use super::{Effect, Stop, refused};
use crate::{
    EngineError, NamespaceId, NamespaceInfo, RegionId,
    batch::Batch,
    counters::{Counters, add_namespace},
    engine::META,
    region,
    snapshot::{self, Row},
};

pub(super) fn create(batch: &mut Batch<'_>, region: RegionId, request: CreateNamespaceRequest) -> Effect {
    if request.mode() == NamespaceMode::Unspecified {
        return Err(refused(Reason::Invalid, "a namespace without a mode"));
    }
    if batch.table.named(&request.name).is_some() {
        return Err(refused(Reason::NamespaceExists, request.name));
    }
    if batch.table.len() >= NAMESPACES_MAX {
        let most = format!("there are {NAMESPACES_MAX} namespaces, the most there may be");
        return Err(refused(Reason::QuotaExceeded, most));
    }
    // A restore that has not finished has lost the race, and its rows must not be this namespace's.
    forget_staged(batch, region)?;
    let info = NamespaceInfo {
        mode: request.mode(),
        key_prefix: request.key_prefix,
        keys_max: request.keys_max,
        bytes_max: request.bytes_max,
        ..NamespaceInfo::empty(request.name)
    };
    let info = add_namespace(batch, region, info)?;
    Ok(Outcome::Namespace(info.into()))
}

pub(super) fn delete(batch: &mut Batch<'_>, region: RegionId, name: &str) -> Effect {
    let info = batch.table.named(name).cloned();
    let info = info.ok_or_else(|| refused(Reason::NoSuchNamespace, name))?;
    let mut counters = Counters::read(batch, region)?;
    counters.revision = counters.revision.max(info.revision);
    counters.write(batch, region);
    batch.remove(info.id);
    Ok(Outcome::Done(info.revision))
}

/// Writes rows of a saved snapshot as they are. Its namespaces are staged, and appear with the last rows.
pub(super) fn restore(batch: &mut Batch<'_>, region: RegionId, restore: &RestoreRecords) -> Effect {
    if batch.table.len() > 0 {
        return Err(refused(Reason::NotEmpty, "there are namespaces"));
    }
    // Read before anything is written: a refusal changes nothing.
    let rows: Vec<Row<'_>> = snapshot::rows(&restore.rows).collect::<Result<_, _>>().map_err(no_snapshot)?;
    let before = if restore.first { BTreeMap::new() } else { staged(batch, region)? };
    let named = named(region, &rows)?;
    let known = |id: &NamespaceId| before.contains_key(id) || named.contains_key(id);
    if !rows.iter().filter(|row| row.family != META).all(|row| namespace_of(row).as_ref().is_some_and(known))
    {
        return Err(refused(Reason::Invalid, "rows of a namespace that the snapshot does not name"));
    }
    if restore.first {
        forget_staged(batch, region)?;
    }
    let mut records = 0;
    for row in rows {
        records += restore_row(batch, region, &row)?;
    }
    if restore.last {
        show_staged(batch, region)?;
    }
    Ok(Outcome::Done(records))
}

fn no_snapshot(_damaged: EngineError) -> Stop {
    refused(Reason::Invalid, "rows that no snapshot holds")
}

type Staged = BTreeMap<NamespaceId, NamespaceInfo>;

/// The namespaces of a restore that has not finished.
fn staged(batch: &Batch<'_>, region: RegionId) -> Result<Staged, EngineError> {
    let (start, end) = region::staged_range(region);
    let rows = batch.rows(META, &start, &end, usize::MAX)?;
    let info = |(_, row): (_, Bytes)| NamespaceInfo::decode(&row).map(|info| (info.id, info));
    rows.into_iter().map(info).collect()
}

/// The namespaces that rows of a snapshot name.
fn named(region: RegionId, rows: &[Row<'_>]) -> Result<Staged, Stop> {
    let mut named = Staged::new();
    for row in rows.iter().filter(|row| row.family == META) {
        let own = region::meta_of_snapshot(region, row.key).map_err(no_snapshot)?;
        if own != region::counters_key(region) {
            let info = NamespaceInfo::decode(row.value).map_err(no_snapshot)?;
            named.insert(info.id, info);
        } else if Counters::decode(row.value).is_err() {
            return Err(refused(Reason::Invalid, "rows that no snapshot holds"));
        }
    }
    Ok(named)
}

fn namespace_of(row: &Row<'_>) -> Option<NamespaceId> {
    row.key.first_chunk().map(|id| NamespaceId(u32::from_be_bytes(*id)))
}

fn forget_staged(batch: &mut Batch<'_>, region: RegionId) -> Result<(), EngineError> {
    for id in staged(batch, region)?.into_keys() {
        batch.remove(id);
        batch.delete(META, region::staged_key(region, id));
    }
    Ok(())
}

fn show_staged(batch: &mut Batch<'_>, region: RegionId) -> Result<(), EngineError> {
    for (id, info) in staged(batch, region)? {
        batch.delete(META, region::staged_key(region, id));
        batch.update(info);
    }
    Ok(())
}

/// Returns how many records the row says that there will be.
fn restore_row(batch: &mut Batch<'_>, region: RegionId, row: &Row<'_>) -> Result<u64, EngineError> {
    if row.family != META {
        batch.put(row.family, row.key.to_vec(), Bytes::copy_from_slice(row.value));
        return Ok(0);
    }
    if region::meta_of_snapshot(region, row.key)? != region::counters_key(region) {
        let info = NamespaceInfo::decode(row.value)?;
        batch.put(META, region::staged_key(region, info.id), Bytes::copy_from_slice(row.value));
        return Ok(info.keys);
    }
    let (saved, own) = (Counters::decode(row.value)?, Counters::read(batch, region)?);
    let larger =
        Counters { last_id: saved.last_id.max(own.last_id), revision: saved.revision.max(own.revision) };
    larger.write(batch, region);
    Ok(0)
}
