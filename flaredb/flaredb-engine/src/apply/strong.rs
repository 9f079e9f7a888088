//! Commands of Strong namespaces: compares, then writes under one new revision, then its history.

use bytes::Bytes;
use flaredb_proto::limits::CONFLICT_BYTES_MAX;
use flaredb_proto::v1::{
    CasCommit, CasDelete, CasPut, CompactHistory, Compare, Conflict, NamespaceMode, Write,
    flare_response::Outcome, refused::Reason, write::Op,
};

use super::{Effect, Stop, inside_prefix, namespace, refused, within_quota};
use crate::{
    EngineError, NamespaceId, NamespaceInfo, batch::Batch, codec::take_u64, engine::IDS, growth::Growth,
    keys, recent::Current, transaction::Transaction,
};

/// One write of a batch with what it meets.
struct Step {
    key: Bytes,
    /// The new value; `None` deletes.
    value: Option<Bytes>,
    before: Option<Current>,
}

pub(super) fn put(transaction: &mut Transaction<'_>, put: CasPut) -> Effect {
    let compare = Compare { key: put.key.clone(), version: put.expected_version };
    let write = Write { key: put.key, op: Some(Op::Put(put.value)) };
    change(transaction, put.namespace_id, &[compare], vec![write], &put.idempotency_id)
}

pub(super) fn delete(transaction: &mut Transaction<'_>, delete: CasDelete) -> Effect {
    if delete.expected_version == 0 {
        return Err(refused(Reason::Invalid, "a delete of an absent record"));
    }
    let compare = Compare { key: delete.key.clone(), version: delete.expected_version };
    let write = Write { key: delete.key, op: Some(Op::Delete(true)) };
    change(transaction, delete.namespace_id, &[compare], vec![write], &delete.idempotency_id)
}

pub(super) fn commit(transaction: &mut Transaction<'_>, commit: CasCommit) -> Effect {
    change(transaction, commit.namespace_id, &commit.compares, commit.writes, &commit.idempotency_id)
}

fn change(
    transaction: &mut Transaction<'_>,
    namespace_id: u32,
    compares: &[Compare],
    writes: Vec<Write>,
    idempotency_id: &Bytes,
) -> Effect {
    let batch = &mut transaction.batch;
    let info = namespace(batch, namespace_id, NamespaceMode::Strong)?;
    if let Some(revision) = done_before(batch, info.id, idempotency_id)? {
        return Ok(Outcome::Done(revision));
    }
    check(batch, &info, compares)?;
    let steps = plan(batch, &info, writes)?;
    if steps.is_empty() {
        return Ok(Outcome::Done(info.revision));
    }
    let mut growth = Growth::default();
    for step in &steps {
        let size = |value_bytes: usize| step.key.len() + value_bytes;
        let before = step.before.map(|before| size(before.value_bytes));
        growth.add(before, step.value.as_ref().map(|value| size(value.len())));
    }
    within_quota(growth, &info)?;
    let mut revision = transaction.begin(&info);
    // The batch changes it in place, unless somebody else holds it.
    drop(info);
    for step in steps {
        transaction.write(&mut revision, &step.key, step.value, step.before);
    }
    transaction.finish(&revision);
    remember(&mut transaction.batch, namespace_id, revision.number(), idempotency_id);
    Ok(Outcome::Done(revision.number()))
}

/// The revision that an earlier command with the same id made.
fn done_before(batch: &Batch<'_>, namespace: NamespaceId, id: &[u8]) -> Result<Option<u64>, EngineError> {
    if id.is_empty() {
        return Ok(None);
    }
    let row = batch.get(IDS, &keys::record(namespace, id))?;
    row.map(|row| Ok(take_u64(&row, "idempotency id")?.0)).transpose()
}

fn remember(batch: &mut Batch<'_>, namespace_id: u32, revision: u64, id: &Bytes) {
    if id.is_empty() {
        return;
    }
    let namespace = NamespaceId(namespace_id);
    batch.put(IDS, keys::record(namespace, id), revision.to_be_bytes().to_vec());
    // The id goes when its revision does.
    batch.add_event(keys::event(namespace, revision, keys::ID_POSITION), id.clone());
}

fn check(batch: &mut Batch<'_>, info: &NamespaceInfo, compares: &[Compare]) -> Result<(), Stop> {
    let (mut conflicts, mut bytes) = (Vec::new(), 0);
    for compare in compares {
        inside_prefix(info, &compare.key)?;
        let found = batch.current(info.id, &compare.key)?;
        let actual = found.map_or(0, |found| found.version);
        if actual != compare.version {
            let value = found.map(|found| batch.value(info.id, &compare.key, found)).transpose()?;
            let value = value.unwrap_or_default();
            bytes += value.len();
            conflicts.push(Conflict {
                key: compare.key.clone(),
                expected: compare.version,
                actual,
                actual_value: if bytes <= CONFLICT_BYTES_MAX { value } else { Bytes::new() },
            });
        }
    }
    if conflicts.is_empty() { Ok(()) } else { Err(Stop::Conflicts(conflicts)) }
}

/// The writes that change something, with what they meet.
fn plan(batch: &mut Batch<'_>, info: &NamespaceInfo, writes: Vec<Write>) -> Result<Vec<Step>, Stop> {
    let mut steps: Vec<Step> = Vec::with_capacity(writes.len());
    for write in writes {
        inside_prefix(info, &write.key)?;
        let value = match write.op {
            Some(Op::Put(value)) => Some(value),
            Some(Op::Delete(_)) => None,
            None => return Err(refused(Reason::Invalid, "a write that neither puts nor deletes")),
        };
        let before = batch.current(info.id, &write.key)?;
        if value.is_some() || before.is_some() {
            steps.push(Step { key: write.key, value, before });
        }
    }
    let mut seen: Vec<&Bytes> = steps.iter().map(|step| &step.key).collect();
    seen.sort_unstable();
    if seen.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(refused(Reason::Invalid, "a batch that writes one key twice"));
    }
    Ok(steps)
}

/// Forgets revisions up to and including the one named.
pub(super) fn compact(transaction: &mut Transaction<'_>, compact: &CompactHistory) -> Effect {
    let info = namespace(&transaction.batch, compact.namespace_id, NamespaceMode::Strong)?;
    Ok(Outcome::Done(transaction.compact(&info, compact.revision)?))
}
