//! One client of the Strong namespace: reads, swaps, deletes, puts and pairs, each noted before and after.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use flaredb_client::{CommitRequest, Error, RdbClient, Read, Swap, Write, idempotency_id, write};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{MissedTickBehavior, interval};

use super::{PACE, Shared, unknown};
use crate::faults::{
    cluster::STRONG,
    history::{Did, NEVER, Operation, Outcome},
};

/// Register keys in use at the same time.
const KEYS: u64 = 4;
/// Requests to a register key before a fresh one takes its place.
const REQUESTS: u64 = 240;
const REGISTERS: &str = "register/";
/// Readers of single faults have numbers from here.
const EXTRA_READERS: u32 = 100;

/// Whether an operation is one of those that are decided key by key.
pub(in crate::faults) fn register_keys(operation: &Operation) -> bool {
    operation.key.starts_with(REGISTERS)
}

/// The key for a request.
fn key_of(ticket: u64) -> String {
    format!("{REGISTERS}{}-{}", ticket / (KEYS * REQUESTS), ticket % KEYS)
}

/// Asks until it is told to stop.
pub(super) async fn run(shared: Arc<Shared>, router: RdbClient, number: u32, seed: u64) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let random = StdRng::seed_from_u64(seed ^ (u64::from(number) << 32));
    let mut client = Client { shared, router, number, random, sequence: 0, versions: HashMap::new() };
    while client.shared.runs() {
        pace.tick().await;
        client.ask().await;
    }
}

/// Reads one of the keys in use at one node.
pub(super) async fn read_once(shared: &Shared, node: &RdbClient, number: u32) {
    let key = key_of(shared.tickets.load(Ordering::SeqCst) / KEYS * KEYS + u64::from(number) % KEYS);
    let called = shared.recorder.tick();
    let (client, at_ms) = (EXTRA_READERS + number, shared.recorder.now_ms());
    let outcome = found(node.get(STRONG, key.clone()).await);
    shared.recorder.note(Operation { client, key, did: Did::Get, outcome, called, returned: NEVER, at_ms });
}

/// A client and what it remembers.
struct Client {
    shared: Arc<Shared>,
    router: RdbClient,
    number: u32,
    random: StdRng,
    sequence: u64,
    /// The version at which it last saw each key in use.
    versions: HashMap<String, u64>,
}

impl Client {
    async fn ask(&mut self) {
        let key = key_of(self.shared.tickets.fetch_add(1, Ordering::SeqCst));
        let expected = self.versions.get(&key).copied().unwrap_or(0);
        self.sequence += 1;
        let value = format!("{}-{}", self.number, self.sequence);
        match self.random.random_range(0..100) {
            0..45 => self.one(key, Did::Get).await,
            45..75 => self.one(key, Did::Swap(expected, value)).await,
            75..83 if expected > 0 => self.one(key, Did::Delete(expected)).await,
            75..92 => self.one(key, Did::Put(value)).await,
            _ => {
                let name = |half: u8| format!("pair/{}-{}-{half}", self.number, self.sequence % 64);
                self.one(name(0), Did::Pair(name(1), value)).await;
            }
        }
    }

    /// Asks, and notes it.
    async fn one(&mut self, key: String, did: Did) {
        let at_ms = self.shared.recorder.now_ms();
        let called = self.shared.recorder.tick();
        let outcome = self.answer(&key, &did).await;
        self.remember(&key, &did, &outcome);
        let client = self.number;
        self.shared.recorder.note(Operation { client, key, did, outcome, called, returned: NEVER, at_ms });
    }

    async fn answer(&mut self, key: &str, did: &Did) -> Outcome {
        match did {
            Did::Get => {
                // Some go where the client library sends them.
                let routed = self.random.random_bool(0.2);
                let slot = self.shared.any_slot(&mut self.random);
                let node = self.shared.nodes.get(slot).filter(|_| !routed);
                found(node.unwrap_or(&self.router).get(STRONG, key).await)
            }
            Did::Swap(expected, value) => {
                swapped(self.router.cas_put(STRONG, key, value.as_str(), *expected).await)
            }
            Did::Delete(expected) => swapped(self.router.cas_delete(STRONG, key, *expected).await),
            Did::Put(value) => self.commit([(key, value.as_str())].into_iter()).await,
            Did::Pair(other, value) => {
                self.commit([(key, value.as_str()), (other, value.as_str())].into_iter()).await
            }
        }
    }

    /// One write in two carries an id, by which the client library resolves unknown outcomes.
    async fn commit(&mut self, writes: impl Iterator<Item = (&str, &str)>) -> Outcome {
        let put = |(key, value): (&str, &str)| Write {
            key: key.to_owned().into(),
            op: Some(write::Op::Put(value.to_owned().into())),
        };
        let idempotency_id =
            if self.random.random_bool(0.5) { idempotency_id() } else { bytes::Bytes::new() };
        let request = CommitRequest {
            namespace: STRONG.to_owned(),
            writes: writes.map(put).collect(),
            idempotency_id,
            ..CommitRequest::default()
        };
        match self.router.commit(request).await {
            Ok(revision) => Outcome::Done(revision),
            Err(error) => failed(&error),
        }
    }

    fn remember(&mut self, key: &str, did: &Did, outcome: &Outcome) {
        let version = match outcome {
            Outcome::Found(version, ..) | Outcome::Conflict(version) => *version,
            Outcome::Done(_) if matches!(did, Did::Delete(_)) => 0,
            Outcome::Done(revision) => *revision,
            Outcome::Failed(_) | Outcome::Unknown(_) => return,
        };
        if self.versions.len() > 64 {
            self.versions.clear();
        }
        self.versions.insert(key.to_owned(), version);
    }
}

fn found(read: Result<Read, Error>) -> Outcome {
    match read {
        Ok(Read { record: Some(record), revision }) => {
            Outcome::Found(record.version, String::from_utf8_lossy(&record.value).into_owned(), revision)
        }
        Ok(Read { record: None, revision }) => Outcome::Found(0, String::new(), revision),
        // A read that was not answered has no effect, whatever became of it.
        Err(error) => Outcome::Failed(unknown(&error).1),
    }
}

fn swapped(swap: Result<Swap, Error>) -> Outcome {
    match swap {
        Ok(Swap::Done(revision)) => Outcome::Done(revision),
        Ok(Swap::Conflict { version, .. }) => Outcome::Conflict(version),
        Err(error) => failed(&error),
    }
}

fn failed(error: &Error) -> Outcome {
    match unknown(error) {
        (true, words) => Outcome::Unknown(words),
        (false, words) => Outcome::Failed(words),
    }
}
