//! Collects what must not be, and what every replica is compared with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use flaredb_raft::{EntrySummary, LogSummary};

use crate::{durable::Durable, trace::Trace};

/// Findings that are kept; the first says it all.
const FINDINGS_MAX: usize = 20;

/// The judge of a run. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Judge(Arc<Mutex<Inner>>);

type Id = (u64, u64, u64);

#[derive(Debug, Default)]
struct Inner {
    trace: Trace,
    findings: Vec<String>,
    /// What was applied at each position, by whichever replica came first.
    applied: BTreeMap<u64, u32>,
    /// Where each command was applied.
    positions: BTreeMap<u32, u64>,
    /// For each entry seen in a log, its content and the entry before it.
    entries: BTreeMap<Id, (u32, Option<Id>)>,
    /// The entries known to be committed, with a term in which they were.
    committed: BTreeMap<u64, (Id, u64)>,
    /// The state at each position at which a replica was looked at.
    states: BTreeMap<u64, [u8; 32]>,
    /// Terms that had a leader, and the voters of each membership, as leaders showed them.
    terms: BTreeSet<u64>,
    memberships: BTreeSet<Vec<u64>>,
    installs: u64,
    /// What snapshots brought each node.
    installed: BTreeMap<u64, u64>,
}

fn id_of(entry: &EntrySummary) -> Id {
    (entry.index, entry.term, entry.leader)
}

impl Inner {
    fn find(&mut self, what: fmt::Arguments<'_>) {
        // One line each, also for what a panic says.
        let what = what.to_string().replace('\n', " ");
        self.trace.note(format_args!("FOUND {what}"));
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(what);
        }
    }
}

impl Judge {
    pub(crate) fn new(trace: Trace) -> Self {
        Self(Arc::new(Mutex::new(Inner { trace, ..Inner::default() })))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is as it must not be.
    pub(crate) fn find(&self, what: fmt::Arguments<'_>) {
        self.lock().find(what);
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.lock().findings.clone()
    }

    pub(crate) fn is_content(&self) -> bool {
        self.lock().findings.is_empty()
    }

    /// State machine order: at one position, every replica applies the same command.
    pub(crate) fn applies(&self, node: u64, index: u64, command: u32) {
        let mut inner = self.lock();
        inner.positions.insert(command, index);
        let first = *inner.applied.entry(index).or_insert(command);
        if first != command {
            inner.find(format_args!(
                "node {node} applies another command at {index} than a replica before it"
            ));
        }
    }

    /// Durability: a command whose writer is told survives on at least so many disks.
    pub(crate) fn acknowledges(&self, node: u64, command: &[u8], durable: &Durable, disks_min: usize) {
        let mut inner = self.lock();
        let index = inner.positions.get(&crc32fast::hash(command)).copied();
        let holders = durable.holders(command, index.unwrap_or(u64::MAX));
        if holders < disks_min {
            inner.find(format_args!(
                "node {node} acknowledges the entry at {index:?}, which {holders} disks have synced, not {disks_min}"
            ));
        }
    }

    /// Replicas at one position have one state.
    pub(crate) fn state(&self, node: u64, index: u64, hash: [u8; 32]) {
        let mut inner = self.lock();
        let first = *inner.states.entry(index).or_insert(hash);
        if first != hash {
            inner.find(format_args!("node {node} has another state at {index} than a replica before it"));
        }
    }

    /// Log matching: an entry has one content and one predecessor, in whichever log it is.
    pub(crate) fn log(&self, node: u64, log: &LogSummary) {
        let mut inner = self.lock();
        let mut before: Option<Id> = None;
        for entry in &log.entries {
            let id = id_of(entry);
            let known = inner.entries.get(&id).copied();
            let (checksum, predecessor) = known.unwrap_or((entry.checksum, before));
            if checksum != entry.checksum {
                inner.find(format_args!("entry {id:?} has another content at node {node}"));
            }
            if before.is_some() && predecessor.is_some() && before != predecessor {
                inner.find(format_args!("entry {id:?} of node {node} has another predecessor elsewhere"));
            }
            inner.entries.insert(id, (checksum, predecessor.or(before)));
            before = Some(id);
        }
    }

    /// Notes a leader's term and voters.
    pub(crate) fn notes_leader(&self, term: u64, voters: Vec<u64>) {
        let mut inner = self.lock();
        inner.terms.insert(term);
        inner.memberships.insert(voters);
    }

    /// Snapshots hold what is committed: what some replica has applied.
    pub(crate) fn installs(&self, node: u64, index: u64) {
        let mut inner = self.lock();
        inner.installs += 1;
        let applied = inner.applied.last_key_value().map_or(0, |(index, _)| *index);
        if index > applied {
            inner.find(format_args!(
                "node {node} installs a snapshot at {index}, of {applied} applied anywhere"
            ));
        }
        let before = inner.installed.entry(node).or_default();
        *before = index.max(*before);
    }

    /// The position of the newest snapshot that a node has installed.
    pub(crate) fn installed(&self, node: u64) -> u64 {
        self.lock().installed.get(&node).copied().unwrap_or_default()
    }

    /// Leaders, snapshots installed, memberships.
    pub(crate) fn noted(&self) -> [u64; 3] {
        let inner = self.lock();
        [inner.terms.len() as u64, inner.installs, inner.memberships.len() as u64]
    }

    /// What a replica has applied is committed, for ever.
    pub(crate) fn committed(&self, node: u64, term: u64, log: &LogSummary, applied: u64) {
        let mut inner = self.lock();
        for entry in log.entries.iter().filter(|entry| entry.index <= applied) {
            let id = id_of(entry);
            let (first, _) = *inner.committed.entry(entry.index).or_insert((id, term));
            if first != id {
                inner.find(format_args!("node {node} has committed {id:?}, another replica {first:?}"));
            }
        }
    }

    /// Leader completeness: who leads has every entry that was committed in an earlier term.
    pub(crate) fn leads(&self, node: u64, term: u64, log: &LogSummary) {
        let mut inner = self.lock();
        let last = log.entries.last().map_or(log.purged_index, |entry| entry.index);
        let earlier = |(_, (id, committed)): (&u64, &(Id, u64))| (*committed < term).then_some(*id);
        let lacking = inner.committed.range(last + 1..).find_map(earlier);
        if let Some(id) = lacking {
            inner.find(format_args!("node {node} leads term {term} without the committed entry {id:?}"));
        }
        for entry in &log.entries {
            let known = inner.committed.get_key_value(&entry.index).and_then(earlier);
            if let Some(id) = known.filter(|id| *id != id_of(entry)) {
                inner.find(format_args!("node {node} leads term {term} with another entry than {id:?}"));
            }
        }
    }
}
