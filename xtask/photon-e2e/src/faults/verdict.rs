//! What the checks found, and those of them that are the same for each store.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use super::{
    check::{Revision, Violations, linear, replay, watch},
    history::{Operation, REGISTERS},
};

/// So many violations are told; the rest is counted.
const TOLD: usize = 12;

/// The records of a store: key → version and value.
pub(super) type Records = BTreeMap<String, (u64, String)>;

/// What the checks found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// For people.
    pub(super) lines: Vec<String>,
    /// What does not hold.
    pub(super) violations: Violations,
}

impl Verdict {
    /// Adds what one check found; `what` says what it looked at.
    pub(super) fn add(&mut self, check: &str, what: &str, found: Violations) {
        let outcome =
            if found.is_empty() { "holds".to_owned() } else { format!("{} VIOLATIONS", found.len()) };
        self.lines.push(format!("{check:16} {outcome}: {what}"));
        let more = found.len().saturating_sub(TOLD);
        self.violations.extend(found.into_iter().take(TOLD).map(|violation| format!("{check}: {violation}")));
        if more > 0 {
            self.violations.push(format!("{check}: and {more} more"));
        }
    }

    /// Holds the notes against the whole history.
    pub(super) fn strong(&mut self, operations: &[Operation], log: &[Revision]) {
        let found = replay::check(operations, log);
        let (all, revisions) = (operations.len(), log.len());
        self.add("revisions", &format!("{all} notes against {revisions} revisions"), found);
        let is_register = |operation: &&Operation| operation.key.starts_with(REGISTERS);
        let registers: Vec<Operation> = operations.iter().filter(is_register).cloned().collect();
        let started = Instant::now();
        let (keys, found) = linear::check(&registers, log);
        let took = started.elapsed().as_secs_f64();
        self.add(
            "linearizability",
            &format!("{} requests of {keys} keys, in {took:.1} s", registers.len()),
            found,
        );
    }

    /// Holds what watches delivered against the whole history.
    pub(super) fn watches(&mut self, watched: &[watch::Watched], log: &[Revision]) {
        let found = watched.iter().flat_map(|watched| watch::check(watched, log)).collect();
        let resumed: u32 = watched.iter().map(|watched| watched.resumed).sum();
        let delivered: usize = watched.iter().map(|watched| watched.delivered.len()).sum();
        self.add("watches", &format!("{delivered} deliveries, resumed {resumed} times"), found);
    }

    /// Holds the records that are there in the end against the history: each is what that says, and no other is there.
    pub(super) fn durable(&mut self, found: &Records, log: &[Revision]) {
        let expected = &ending(log);
        let keys: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        let different = keys.iter().filter(|key| expected.get(**key) != found.get(**key));
        let violations = different.map(|key| {
            format!("{key}: the history ends with {:?}, there is {:?}", expected.get(*key), found.get(*key))
        });
        self.add("durability", &format!("{} records read back", found.len()), violations.collect());
    }
}

/// What the history comes to.
fn ending(log: &[Revision]) -> Records {
    let mut records = Records::new();
    for (revision, event) in
        log.iter().flat_map(|entry| entry.events.iter().map(|event| (entry.revision, event)))
    {
        match &event.value {
            Some(value) => drop(records.insert(event.key.clone(), (revision, value.clone()))),
            None => drop(records.remove(&event.key)),
        }
    }
    records
}
