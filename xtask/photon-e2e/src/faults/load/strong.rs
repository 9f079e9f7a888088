//! One client of the registers: reads, swaps, deletes, puts and pairs, each noted before and after.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{MissedTickBehavior, interval};

use super::{PACE, Shared};
use crate::faults::history::{Did, NEVER, Operation, Outcome, REGISTERS};

/// Register keys in use at the same time.
const KEYS: u64 = 4;
/// Requests to a register key before a fresh one takes its place.
const REQUESTS: u64 = 240;
/// Readers of single faults have numbers from here.
const EXTRA_READERS: u32 = 100;

/// How a store is asked.
pub(in crate::faults) trait Requests: Send + 'static {
    /// Asks once, as the store's users do; some reads are for one node and no other.
    fn ask(
        &mut self,
        shared: &Shared,
        key: &str,
        did: &Did,
        random: &mut StdRng,
    ) -> impl Future<Output = Outcome> + Send;
}

/// The key for a request.
fn key_of(ticket: u64) -> String {
    format!("{REGISTERS}{}-{}", ticket / (KEYS * REQUESTS), ticket % KEYS)
}

/// Asks until it is told to stop.
pub(in crate::faults) async fn run(shared: Arc<Shared>, requests: impl Requests, number: u32, seed: u64) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let random = StdRng::seed_from_u64(seed ^ (u64::from(number) << 32));
    let mut client = Client { shared, requests, number, random, sequence: 0, versions: HashMap::new() };
    while client.shared.runs() {
        pace.tick().await;
        client.ask().await;
    }
}

/// Notes a read, by `read`, of one of the keys in use.
pub(in crate::faults) async fn read_once(
    shared: &Shared,
    number: u32,
    read: impl AsyncFnOnce(&str) -> Outcome,
) {
    let key = key_of(shared.tickets.load(Ordering::SeqCst) / KEYS * KEYS + u64::from(number) % KEYS);
    let called = shared.recorder.tick();
    let (client, at_ms) = (EXTRA_READERS + number, shared.recorder.now_ms());
    let outcome = read(&key).await;
    shared.recorder.note(Operation { client, key, did: Did::Get, outcome, called, returned: NEVER, at_ms });
}

/// A client and what it remembers.
struct Client<R> {
    shared: Arc<Shared>,
    requests: R,
    number: u32,
    random: StdRng,
    sequence: u64,
    /// The version at which it last saw each key in use.
    versions: HashMap<String, u64>,
}

impl<R: Requests> Client<R> {
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
        let outcome = self.requests.ask(&self.shared, &key, &did, &mut self.random).await;
        self.remember(&key, &did, &outcome);
        let client = self.number;
        self.shared.recorder.note(Operation { client, key, did, outcome, called, returned: NEVER, at_ms });
    }

    fn remember(&mut self, key: &str, did: &Did, outcome: &Outcome) {
        let version = match outcome {
            Outcome::Found(version, ..) | Outcome::Conflict(version) => *version,
            Outcome::Done(_) if matches!(did, Did::Delete(_)) => 0,
            Outcome::Done(revision) => *revision,
            Outcome::Listed(..) | Outcome::Failed(_) | Outcome::Unknown(_) => return,
        };
        if self.versions.len() > 64 {
            self.versions.clear();
        }
        self.versions.insert(key.to_owned(), version);
    }
}
