//! Clients: they write, read, scan and watch, and write down what they asked and what they were told.
//!
//! They are as careful as the real client is: a write that may have happened is sent again only with its idempotency
//! id.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use flaredb_proto::v1::{
    CasCommit, CasDelete, CasPut, Compare, KvDelete, KvPut, Write, flare_request::Command,
    write::Op as WriteOp,
};
use tokio_util::sync::CancellationToken;

use crate::{
    dice::Dice,
    frontend::{Answer, Ask, EVENTUAL, STRONG},
    history::{Change, History, Outcome, What},
    net::Net,
};

/// Keys that clients contend for.
const KEYS: u64 = 8;
const ATTEMPTS_MAX: u32 = 6;
const PATIENCE: Duration = Duration::from_millis(1500);
const RETRY_DELAY: Duration = Duration::from_millis(25);

/// One client.
pub(crate) struct Client {
    pub(crate) id: u64,
    pub(crate) net: Net,
    pub(crate) dice: Dice,
    pub(crate) history: History,
    /// Nodes that it knows.
    pub(crate) nodes: u64,
    pub(crate) leader: u64,
    /// The versions that it last heard of.
    pub(crate) versions: BTreeMap<Bytes, u64>,
    pub(crate) revision: u64,
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("k{number}"))
}

/// A value that no other write has.
fn value(op: usize, position: usize) -> Bytes {
    Bytes::from(format!("v{op}.{position}.{}", "x".repeat(op % 40)))
}

/// The number of the operation that wrote a value.
pub(crate) fn op_of(value: &[u8]) -> Option<usize> {
    let words = std::str::from_utf8(value).ok()?.strip_prefix('v')?;
    words.split_once('.')?.0.parse().ok()
}

impl Client {
    /// Works until it is told to stop.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause_ms = self.dice.within(1, 30);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            match self.dice.below(100) {
                0..30 => self.put().await,
                30..42 => self.delete().await,
                42..54 => self.commit().await,
                54..78 => self.get().await,
                78..86 => self.scan().await,
                _ => self.raw().await,
            }
        }
    }

    async fn ask(&mut self, node: u64, ask: Ask) -> Option<Answer> {
        let answered = self.net.ask(node, ask);
        // Neither a late answer nor a lost one says anything.
        tokio::time::timeout(PATIENCE, answered).await.ok()?.ok()
    }

    fn key(&mut self) -> Bytes {
        key(self.dice.below(KEYS))
    }

    /// The version that it expects; now and then a wrong one.
    fn expected(&mut self, key: &Bytes) -> u64 {
        let known = self.versions.get(key).copied().unwrap_or_default();
        if self.dice.permille(50) { self.dice.below(self.revision + 2) } else { known }
    }

    fn idempotency_id(&mut self, op: usize) -> Bytes {
        match self.dice.permille(600) {
            true => Bytes::from(format!("id-{op}")),
            false => Bytes::new(),
        }
    }

    async fn put(&mut self) {
        let key = self.key();
        let expected_version = self.expected(&key);
        let mut value_of = Bytes::new();
        let op = self.history.begin(self.id, |op| {
            value_of = value(op, 0);
            let writes = vec![(key.clone(), Some(value_of.clone()))];
            What::Write { compares: vec![(key.clone(), expected_version)], writes }
        });
        let idempotency_id = self.idempotency_id(op);
        let again = !idempotency_id.is_empty();
        let put = CasPut {
            namespace_id: STRONG.0,
            key: key.clone(),
            value: value_of.clone(),
            expected_version,
            ts: 0,
            idempotency_id,
        };
        self.write(op, Command::CasPut(put), again, &[(key, Some(value_of))]).await;
    }

    async fn delete(&mut self) {
        let key = self.key();
        let expected_version = self.expected(&key);
        if expected_version == 0 {
            return;
        }
        let writes = vec![(key.clone(), None)];
        let op = self.history.begin(self.id, |_| {
            let compares = vec![(key.clone(), expected_version)];
            What::Write { compares, writes: writes.clone() }
        });
        let idempotency_id = self.idempotency_id(op);
        let again = !idempotency_id.is_empty();
        let delete = CasDelete { namespace_id: STRONG.0, key, expected_version, ts: 0, idempotency_id };
        self.write(op, Command::CasDelete(delete), again, &writes).await;
    }

    /// Several keys at once, under one compare or none.
    async fn commit(&mut self) {
        let first = self.dice.below(KEYS);
        let keys = [key(first), key((first + 1) % KEYS), key((first + 3) % KEYS)];
        let taken = self.dice.index(keys.len()) + 1;
        let compared = self.dice.permille(400);
        let compares: Vec<(Bytes, u64)> = match compared {
            true => vec![(keys[0].clone(), self.expected(&keys[0]))],
            false => Vec::new(),
        };
        let mut writes: Vec<Change> = Vec::new();
        let op = self.history.begin(self.id, |op| {
            let write = |(at, key): (usize, &Bytes)| (key.clone(), Some(value(op, at)));
            writes = keys.iter().take(taken).enumerate().map(write).collect();
            What::Write { compares: compares.clone(), writes: writes.clone() }
        });
        let idempotency_id = self.idempotency_id(op);
        let again = !idempotency_id.is_empty();
        let write = |(key, value): &Change| Write {
            key: key.clone(),
            op: Some(value.clone().map_or(WriteOp::Delete(true), WriteOp::Put)),
        };
        let commit = CasCommit {
            namespace_id: STRONG.0,
            compares: compares.into_iter().map(|(key, version)| Compare { key, version }).collect(),
            writes: writes.iter().map(write).collect(),
            ts: 0,
            idempotency_id,
        };
        self.write(op, Command::CasCommit(commit), again, &writes).await;
    }

    async fn raw(&mut self) {
        let key = self.key();
        let (early, deletes) = (self.dice.below(40), self.dice.permille(350));
        let origin = self.id;
        let (mut value_of, mut ts) = (None, 0);
        let op = self.history.begin(self.id, |op| {
            value_of = (!deletes).then(|| value(op, 0));
            ts = (op as u64 + early) << 20 | op as u64;
            What::Raw { key: key.clone(), value: value_of.clone(), ts, origin }
        });
        let namespace_id = EVENTUAL.0;
        let command = match value_of {
            Some(value) => Command::KvPut(KvPut { namespace_id, key, value, ts, origin }),
            None => Command::KvDelete(KvDelete { namespace_id, key, ts, origin }),
        };
        self.write(op, command, true, &[]).await;
    }

    /// Sends a write until its outcome is known, or nothing more can be done.
    async fn write(&mut self, op: usize, command: Command, again: bool, writes: &[Change]) {
        let mut perhaps = false;
        for _attempt in 0..ATTEMPTS_MAX {
            match self.ask(self.leader, Ask::Write(command.clone())).await {
                Some(Answer::Done(revision)) => {
                    self.learn(writes, revision);
                    return self.history.end(op, Outcome::Done(revision));
                }
                Some(Answer::Conflicts(found)) => {
                    let found: Vec<_> = found.into_iter().map(|found| (found.key, found.actual)).collect();
                    self.versions.extend(found.iter().cloned());
                    // What was sent before may still come.
                    let outcome = if perhaps { Outcome::Unknown } else { Outcome::Conflicts(found) };
                    return self.history.end(op, outcome);
                }
                Some(Answer::NotLeader(leader)) => self.look_for(leader),
                Some(Answer::Unknown) | None => {
                    perhaps = true;
                    self.look_for(None);
                    if !again {
                        break;
                    }
                }
                Some(_) => break,
            }
            tokio::time::sleep(RETRY_DELAY).await;
        }
        self.history.end(op, if perhaps { Outcome::Unknown } else { Outcome::Not });
    }

    fn learn(&mut self, writes: &[Change], revision: u64) {
        for (key, value) in writes {
            self.versions.insert(key.clone(), if value.is_some() { revision } else { 0 });
        }
        if !writes.is_empty() {
            self.revision = self.revision.max(revision);
        }
    }

    fn look_for(&mut self, leader: Option<u64>) {
        self.leader = leader.unwrap_or_else(|| self.dice.within(1, self.nodes));
    }

    async fn get(&mut self) {
        let key = self.key();
        let op = self.history.begin(self.id, |_| What::Get(key.clone()));
        let node = self.dice.within(1, self.nodes);
        let outcome = match self.ask(node, Ask::Get(key.clone())).await {
            Some(Answer::Record(found, revision)) => {
                self.versions.insert(key, found.as_ref().map_or(0, |found| found.version));
                self.revision = self.revision.max(revision);
                Outcome::Record(found, revision)
            }
            _ => Outcome::Not,
        };
        self.history.end(op, outcome);
    }

    async fn scan(&mut self) {
        let revision = match self.dice.permille(600) {
            true => Some(self.dice.within(self.revision.saturating_sub(30), self.revision)),
            false => None,
        };
        let op = self.history.begin(self.id, |_| What::Scan(revision));
        let node = self.dice.within(1, self.nodes);
        let outcome = match self.ask(node, Ask::Scan(revision)).await {
            Some(Answer::Page(page)) => Outcome::Page(page),
            _ => Outcome::Not,
        };
        self.history.end(op, outcome);
    }

    /// Follows all changes, at whichever node answers.
    pub(crate) async fn watch(mut self, stop: CancellationToken) {
        let watcher = self.history.watcher();
        let mut next = 1;
        while !stop.is_cancelled() {
            let pause_ms = self.dice.within(10, 80);
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            match self.ask(self.leader, Ask::Events(next)).await {
                Some(Answer::Events(batch)) => {
                    next = batch.next;
                    self.history.watched(watcher, batch.revisions);
                }
                _ => self.look_for(None),
            }
            if self.dice.permille(30) {
                self.look_for(None);
            }
        }
    }
}
