//! Commands of Strong namespaces: compares, then writes under one new revision, then its history.

use bytes::Bytes;
use flaredb_proto::limits::CONFLICT_BYTES_MAX;
use flaredb_proto::v1::{
    CasCommit, CasDelete, CasPut, CompactHistory, Compare, Conflict, NamespaceMode, Write,
    flare_response::Outcome, refused::Reason, write::Op,
};

use super::{Effect, Growth, Stop, inside_prefix, namespace, refused};
use crate::{
    EngineError, NamespaceId, NamespaceInfo,
    batch::Batch,
    codec::take_u64,
    engine::{CAS, HIST, IDS},
    events::Event,
    keys,
    planted::{self, Bug},
    recent::Current,
};

/// Rows of history that one command forgets at most, so that it never holds up others for long; a leader that wants
/// more asks again. More than the largest batch makes, so that each command forgets something.
const COMPACTED_ROWS_MAX: usize = 4_096;

/// One write of a batch with what it meets.
struct Step {
    key: Bytes,
    /// The new value; `None` deletes.
    value: Option<Bytes>,
    before: Option<Current>,
}

pub(super) fn put(batch: &mut Batch<'_>, put: CasPut) -> Effect {
    let compare = Compare { key: put.key.clone(), version: put.expected_version };
    let write = Write { key: put.key, op: Some(Op::Put(put.value)) };
    change(batch, put.namespace_id, &[compare], vec![write], &put.idempotency_id)
}

pub(super) fn delete(batch: &mut Batch<'_>, delete: CasDelete) -> Effect {
    if delete.expected_version == 0 {
        return Err(refused(Reason::Invalid, "a delete of an absent record"));
    }
    let compare = Compare { key: delete.key.clone(), version: delete.expected_version };
    let write = Write { key: delete.key, op: Some(Op::Delete(true)) };
    change(batch, delete.namespace_id, &[compare], vec![write], &delete.idempotency_id)
}

pub(super) fn commit(batch: &mut Batch<'_>, commit: CasCommit) -> Effect {
    change(batch, commit.namespace_id, &commit.compares, commit.writes, &commit.idempotency_id)
}

fn change(
    batch: &mut Batch<'_>,
    namespace_id: u32,
    compares: &[Compare],
    writes: Vec<Write>,
    idempotency_id: &Bytes,
) -> Effect {
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
    let size = growth.of(&info)?;
    let (namespace, revision) = (info.id, info.revision + 1);
    // The batch changes it in place, unless somebody else holds it.
    drop(info);
    for (position, step) in (0..).zip(steps) {
        write(batch, namespace, revision, position, step);
    }
    remember(batch, namespace, revision, idempotency_id);
    batch.change(namespace, |info| {
        size.set(info);
        info.revision = revision;
    });
    Ok(Outcome::Done(revision))
}

/// The revision that an earlier command with the same id made.
fn done_before(batch: &Batch<'_>, namespace: NamespaceId, id: &[u8]) -> Result<Option<u64>, EngineError> {
    if id.is_empty() {
        return Ok(None);
    }
    let row = batch.get(IDS, &keys::record(namespace, id))?;
    row.map(|row| Ok(take_u64(&row, "idempotency id")?.0)).transpose()
}

fn remember(batch: &mut Batch<'_>, namespace: NamespaceId, revision: u64, id: &Bytes) {
    if id.is_empty() {
        return;
    }
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

fn write(batch: &mut Batch<'_>, namespace: NamespaceId, revision: u64, position: u32, step: Step) {
    let previous_version = step.before.map_or(0, |before| before.version);
    let event = Event { put: step.value.is_some(), previous_version, key: step.key.clone() };
    batch.add_event(keys::event(namespace, revision, position), event.encode());
    if step.value.is_none() && planted::has(Bug::NoTombstone) {
        return;
    }
    let resets = planted::has(Bug::VersionReset) && previous_version == 0;
    batch.add_version(namespace, &step.key, if resets { 1 } else { revision }, step.value);
}

/// Forgets revisions up to and including the one named, and what only they needed: an event names the record that
/// it superseded, which nothing behind that revision can see.
pub(super) fn compact(batch: &mut Batch<'_>, compact: &CompactHistory) -> Effect {
    let mut info = namespace(batch, compact.namespace_id, NamespaceMode::Strong)?.as_ref().clone();
    let last = compact.revision.min(info.revision);
    if last < info.oldest_revision {
        return Ok(Outcome::Done(info.oldest_revision));
    }
    batch.settle();
    let (start, end) = (keys::revision(info.id, info.oldest_revision), keys::revision(info.id, last + 1));
    let rows = batch.rows(HIST, &start, &end, COMPACTED_ROWS_MAX)?;
    let all = rows.len() < COMPACTED_ROWS_MAX;
    let reached = if all { last } else { rows.last().map_or(Ok(last), |(key, _)| revision_of(key))? - 1 };
    for (key, row) in rows {
        let (revision, position) =
            (revision_of(&key)?, key.last_chunk().map(|chunk| u32::from_be_bytes(*chunk)));
        if revision > reached {
            break;
        }
        if position == Some(keys::ID_POSITION) {
            batch.delete(IDS, keys::record(info.id, &row));
        } else {
            forget(batch, info.id, revision, &Event::decode(&row)?);
        }
        batch.delete(HIST, key);
    }
    info.oldest_revision = info.oldest_revision.max(reached + 1);
    let oldest = info.oldest_revision;
    batch.update(info);
    Ok(Outcome::Done(oldest))
}

fn revision_of(key: &[u8]) -> Result<u64, EngineError> {
    Ok(take_u64(key.get(4..).unwrap_or_default(), "history key")?.0)
}

fn forget(batch: &mut Batch<'_>, namespace: NamespaceId, revision: u64, event: &Event) {
    if event.previous_version > 0 {
        batch.delete(CAS, keys::version(namespace, &event.key, event.previous_version, true));
    }
    if !event.put {
        batch.delete(CAS, keys::version(namespace, &event.key, revision, false));
    }
}
