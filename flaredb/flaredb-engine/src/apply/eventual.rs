//! Commands of Eventual namespaces: the larger `(ts, origin)` wins, whatever the order of arrival.

use bytes::Bytes;
use flaredb_proto::v1::{CollectTombstones, KvDelete, KvPut, NamespaceMode, flare_response::Outcome};

use super::{Effect, Growth, inside_prefix, namespace};
use crate::{batch::Batch, engine::RAW, keys, raw::Row};

/// Tombstones that one command collects at most.
const COLLECTED_MAX: usize = 50_000;
/// Rows that one command looks at in one read.
const LOOKED_AT: usize = 10_000;

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
    let at = keys::record(info.id, &key);
    let before = batch.get(RAW, &at)?.map(Row::decode).transpose()?;
    let ts = row.ts;
    if before.as_ref().is_some_and(|before| before.wins_over(&row)) {
        return Ok(Outcome::Done(ts));
    }
    let size = |row: &Row| row.value.as_ref().map(|value| key.len() + value.len());
    let mut growth = Growth::default();
    growth.add(before.as_ref().and_then(size), size(&row));
    let info = growth.of(&info)?;
    batch.put(RAW, at, row.encode())?;
    batch.update(info);
    Ok(Outcome::Done(ts))
}

/// Removes tombstones that are older than every write that may still arrive.
pub(super) fn collect(batch: &mut Batch<'_>, collect: &CollectTombstones) -> Effect {
    let info = namespace(batch, collect.namespace_id, NamespaceMode::Eventual)?;
    let (mut start, end) = (keys::record(info.id, &[]), keys::namespace_end(info.id));
    let mut collected = 0;
    loop {
        let rows = batch.rows(RAW, &start, &end, LOOKED_AT)?;
        let more = rows.len() == LOOKED_AT;
        for (key, row) in rows {
            start.clone_from(&key);
            start.push(0);
            let row = Row::decode(row)?;
            if row.value.is_none() && row.ts < collect.before_ts {
                batch.delete(RAW, key)?;
                collected += 1;
            }
        }
        if !more || collected >= COLLECTED_MAX {
            return Ok(Outcome::Done(u64::try_from(collected).unwrap_or(u64::MAX)));
        }
    }
}
