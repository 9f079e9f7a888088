//! Commands of Eventual namespaces: the larger `(ts, origin)` wins, whatever the order of arrival.

use bytes::Bytes;
use flaredb_proto::v1::{
    CollectTombstones, KvDelete, KvPut, NamespaceMode, flare_response::Outcome, refused::Reason,
};

use super::{Effect, inside_prefix, namespace, refused, within_quota};
use crate::{
    batch::Batch,
    engine::RAW,
    growth::Growth,
    keys,
    planted::{self, Bug},
    raw::Row,
};

pub(super) fn put(batch: &mut Batch<'_>, put: KvPut) -> Effect {
    let row = Row { ts: put.ts, origin: put.origin, value: Some(put.value) };
    write(batch, put.namespace_id, put.key, row)
}

pub(super) fn delete(batch: &mut Batch<'_>, delete: KvDelete) -> Effect {
    let row = Row { ts: delete.ts, origin: delete.origin, value: None };
    write(batch, delete.namespace_id, delete.key, row)
}

fn write(batch: &mut Batch<'_>, namespace_id: u32, key: Bytes, row: Row) -> Effect {
    let info = namespace(batch, namespace_id, NamespaceMode::Eventual)?;
    inside_prefix(&info, &key)?;
    if row.ts < info.oldest_ts {
        return Err(refused(Reason::StaleTs, format!("{} is below {}", row.ts, info.oldest_ts)));
    }
    let at = keys::record(info.id, &key);
    let before = batch.get(RAW, &at)?.map(Row::decode).transpose()?;
    let ts = row.ts;
    if before.as_ref().is_some_and(|before| before.wins_over(&row)) {
        return Ok(Outcome::Done(ts));
    }
    let size = |row: &Row| row.value.as_ref().map(|value| key.len() + value.len());
    let mut growth = Growth::default();
    growth.add(before.as_ref().and_then(size), size(&row));
    let (id, size) = (info.id, within_quota(growth, &info)?);
    // The batch changes it in place, unless somebody else holds it.
    drop(info);
    match row.value.is_none() && planted::has(Bug::NoTombstone) {
        true => batch.delete(RAW, at),
        false => batch.put(RAW, at, row.encode()),
    }
    batch.change(id, |info| size.set(info));
    Ok(Outcome::Done(ts))
}

/// Removes tombstones. An older write that arrives after them would bring its record back, so it is refused from now
/// on.
pub(super) fn collect(batch: &mut Batch<'_>, collect: &CollectTombstones) -> Effect {
    let mut info = namespace(batch, collect.namespace_id, NamespaceMode::Eventual)?.as_ref().clone();
    let mut collected = 0;
    for key in &collect.keys {
        let at = keys::record(info.id, key);
        let row = batch.get(RAW, &at)?.map(Row::decode).transpose()?;
        if row.is_some_and(|row| row.is_tombstone_before(collect.before_ts)) {
            batch.delete(RAW, at);
            collected += 1;
        }
    }
    info.oldest_ts = info.oldest_ts.max(collect.before_ts);
    batch.update(info);
    Ok(Outcome::Done(collected))
}
