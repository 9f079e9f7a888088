//! Whether what clients were told can be true, given what the replicas hold in the end.
//!
//! The database numbers its writes, so there is nothing to search for: the revisions are the order, and each answer is
//! compared with what the state was at the revisions that it may have seen.

use std::collections::BTreeMap;

use bytes::Bytes;
use flaredb_engine::{RawRecord, RevisionEvents, ScanPage};

use crate::{
    client::op_of,
    history::{Change, Op, Outcome, What},
    judge::Judge,
};

/// What a key was from a revision on.
type Timeline = Vec<(u64, Option<Bytes>)>;

/// What the replicas hold in the end.
pub(crate) struct Held {
    pub(crate) revisions: Vec<RevisionEvents>,
    pub(crate) raw: BTreeMap<Bytes, Option<RawRecord>>,
}

/// Checks a run.
pub(crate) struct Oracle<'a> {
    judge: &'a Judge,
    ops: &'a [Op],
    held: &'a Held,
    keys: BTreeMap<Bytes, Timeline>,
    /// Ends of operations with the newest revision that was known then.
    known: Vec<(u64, u64)>,
    /// The operation that made each revision.
    made_by: BTreeMap<u64, usize>,
}

impl<'a> Oracle<'a> {
    pub(crate) fn new(judge: &'a Judge, ops: &'a [Op], held: &'a Held) -> Self {
        let mut keys: BTreeMap<Bytes, Timeline> = BTreeMap::new();
        for revision in &held.revisions {
            for event in &revision.events {
                let timeline = keys.entry(event.key.clone()).or_default();
                timeline.push((revision.revision, event.value.clone()));
            }
        }
        Self { judge, ops, held, keys, known: known(ops), made_by: BTreeMap::new() }
    }

    pub(crate) fn check(mut self, watched: &[Vec<RevisionEvents>]) {
        for (at, revision) in self.held.revisions.iter().enumerate() {
            self.check_revision(at, revision);
        }
        for (number, op) in self.ops.iter().enumerate() {
            self.check_op(number, op);
        }
        for (watcher, got) in watched.iter().enumerate() {
            if self.held.revisions.get(..got.len()) != Some(got) {
                let at = got.iter().zip(&self.held.revisions).position(|(got, held)| got != held);
                self.judge
                    .find(format_args!("watcher {watcher} got other revisions than there are, from {at:?}"));
            }
        }
        for (key, record) in &self.held.raw {
            self.check_raw(key, record.as_ref());
        }
    }

    /// The newest revision that a client knew of before an operation began.
    fn floor(&self, began: u64) -> u64 {
        let ended = self.known.partition_point(|(ended, _)| *ended < began);
        ended.checked_sub(1).and_then(|last| self.known.get(last)).map_or(0, |(_, revision)| *revision)
    }

    /// A key's version and value at a revision; version 0 if it is absent.
    fn at(&self, key: &[u8], revision: u64) -> (u64, Option<&Bytes>) {
        let Some(timeline) = self.keys.get(key) else { return (0, None) };
        let end = timeline.partition_point(|(at, _)| *at <= revision);
        match end.checked_sub(1).and_then(|last| timeline.get(last)) {
            Some((version, Some(value))) => (*version, Some(value)),
            _ => (0, None),
        }
    }

    /// Whether a key had a version at some revision from `floor` on.
    fn had(&self, key: &[u8], version: u64, floor: u64) -> bool {
        if self.at(key, floor).0 == version {
            return true;
        }
        let later = self.keys.get(key).into_iter().flatten().filter(|(at, _)| *at > floor);
        later.map(|(at, value)| if value.is_some() { *at } else { 0 }).any(|at| at == version)
    }

    /// Revisions are without a gap, and each is what one operation asked for, which was not told otherwise.
    fn check_revision(&mut self, at: usize, revision: &RevisionEvents) {
        let number = revision.revision;
        if number != at as u64 + 1 {
            self.judge.find(format_args!("revision {number} stands where {} should", at + 1));
        }
        for event in &revision.events {
            let before = self.at(&event.key, number - 1).0;
            if event.previous_version != before {
                let (key, said) = (&event.key, event.previous_version);
                self.judge.find(format_args!("revision {number} says {key:?} was {said}, it was {before}"));
            }
        }
        let Some(op) = self.maker(revision) else {
            return self
                .judge
                .find(format_args!("nobody asked for revision {number}: {:?}", revision.events));
        };
        self.made_by.insert(number, op);
        let Op { what: What::Write { compares, .. }, outcome, .. } = &self.ops[op] else { return };
        match outcome {
            Outcome::Done(told) if *told != number => {
                self.judge.find(format_args!("operation {op} made revision {number}, it was told {told}"));
            }
            Outcome::Not | Outcome::Conflicts(_) => {
                self.judge
                    .find(format_args!("operation {op} was told that it failed; it made revision {number}"));
            }
            _ => {}
        }
        for (key, version) in compares {
            let before = self.at(key, number - 1).0;
            if before != *version {
                self.judge.find(format_args!("operation {op} wrote over {key:?} of {before}, not {version}"));
            }
        }
    }

    /// The operation that a revision is of, which made no revision before.
    fn maker(&self, revision: &RevisionEvents) -> Option<usize> {
        let unused = |op: &usize| !self.made_by.values().any(|made| made == op);
        let value = revision.events.iter().find_map(|event| event.value.as_deref());
        if let Some(value) = value {
            return op_of(value).filter(unused).filter(|op| self.is_effect(*op, revision));
        }
        let told =
            |op: &usize| matches!(self.ops[*op].outcome, Outcome::Done(told) if told == revision.revision);
        let perhaps = |op: &usize| matches!(self.ops[*op].outcome, Outcome::Unknown);
        let fitting: Vec<usize> = (0..self.ops.len()).filter(|op| self.is_effect(*op, revision)).collect();
        let found = fitting.iter().copied().find(told);
        found.or_else(|| fitting.into_iter().filter(unused).find(perhaps))
    }

    fn is_effect(&self, op: usize, revision: &RevisionEvents) -> bool {
        let Some(Op { what: What::Write { writes, compares }, .. }) = self.ops.get(op) else { return false };
        let there = |(key, value): &&Change| value.is_some() || self.at(key, revision.revision - 1).0 > 0;
        let effects = writes.iter().filter(there).map(|(key, value)| (key, value));
        let events = revision.events.iter().map(|event| (&event.key, &event.value));
        // A delete says no more than what it deletes.
        let deletes = writes.iter().all(|(_, value)| value.is_none());
        let held = compares.iter().all(|(key, version)| self.at(key, revision.revision - 1).0 == *version);
        effects.eq(events) && (!deletes || held)
    }

    fn check_op(&self, number: usize, op: &Op) {
        let floor = self.floor(op.began);
        match (&op.what, &op.outcome) {
            (What::Write { .. }, Outcome::Done(revision)) => {
                if self.made_by.get(revision) != Some(&number) {
                    let (client, what) = (op.client, &op.what);
                    self.judge.find(format_args!(
                        "client {client}'s operation {number} is lost; it was told revision {revision}: {what:?}"
                    ));
                }
                if *revision <= floor {
                    self.judge.find(format_args!("operation {number} got {revision} when {floor} was known"));
                }
            }
            (What::Write { .. }, Outcome::Conflicts(found)) => {
                for (key, version) in found.iter().filter(|(key, version)| !self.had(key, *version, floor)) {
                    self.judge.find(format_args!(
                        "operation {number} met {key:?} at version {version}, which it was not since {floor}"
                    ));
                }
            }
            (What::Get(key), Outcome::Record(found, revision)) => {
                let version = found.as_ref().map_or(0, |found| found.version);
                let value = found.as_ref().map(|found| &found.value);
                let true_value = version == 0 || self.at(key, version) == (version, value);
                if *revision < floor || !self.had(key, version, floor) || !true_value {
                    self.judge.find(format_args!(
                        "operation {number} read {key:?} at version {version}, revision {revision}, when {floor} \
                         was known and it was {}",
                        self.at(key, floor).0
                    ));
                }
            }
            (What::Scan(wanted), Outcome::Page(page)) => self.check_page(number, page, *wanted, floor),
            _ => {}
        }
    }

    fn check_page(&self, number: usize, page: &ScanPage, wanted: Option<u64>, floor: u64) {
        let fresh = wanted.map_or(page.revision >= floor, |wanted| page.revision == wanted);
        let there = |key: &Bytes| match self.at(key, page.revision) {
            (version, Some(value)) => Some((key.clone(), version, value.clone())),
            _ => None,
        };
        let held = self.keys.keys().filter_map(there);
        let read =
            page.records.iter().map(|record| (record.key.clone(), record.version, record.value.clone()));
        if !fresh || !held.eq(read) {
            let (revision, records) = (page.revision, &page.records);
            self.judge.find(format_args!(
                "operation {number} scanned revision {revision} ({wanted:?}, {floor} was known): {records:?}"
            ));
        }
    }

    /// The largest timestamp wins: of those writes that were acknowledged, and perhaps of the others.
    fn check_raw(&self, key: &Bytes, record: Option<&RawRecord>) {
        let mut newest = (0, 0);
        let mut perhaps = Vec::new();
        for op in self.ops {
            let What::Raw { key: of, value, ts, origin } = &op.what else { continue };
            match &op.outcome {
                Outcome::Done(_) if of == key => newest = newest.max((*ts, *origin)),
                Outcome::Unknown if of == key => {}
                _ => continue,
            }
            perhaps.push(((*ts, *origin), value));
        }
        let same = |value: &Option<Bytes>, ts: u64| match record {
            Some(record) => Some(&record.value) == value.as_ref() && record.ts == ts,
            None => value.is_none(),
        };
        let can_be = perhaps.iter().any(|(stamp, value)| *stamp >= newest && same(value, stamp.0));
        let untouched = newest == (0, 0) && record.is_none();
        if !can_be && !untouched {
            self.judge.find(format_args!("{key:?} is {record:?} although {newest:?} was acknowledged"));
        }
    }
}

fn known(ops: &[Op]) -> Vec<(u64, u64)> {
    let revision = |op: &Op| match (&op.what, &op.outcome) {
        (What::Write { .. }, Outcome::Done(revision)) | (_, Outcome::Record(_, revision)) => Some(*revision),
        (What::Scan(None), Outcome::Page(page)) => Some(page.revision),
        _ => None,
    };
    let mut known: Vec<(u64, u64)> = ops.iter().filter_map(|op| Some((op.ended, revision(op)?))).collect();
    known.sort_unstable();
    let mut newest = 0;
    for (_, revision) in &mut known {
        newest = newest.max(*revision);
        *revision = newest;
    }
    known
}
