//! One client of the Eventual namespace: it writes some keys alone and some with others, and reads at any node what
//! its session has seen.

use std::sync::Arc;

use flaredb_client::{Error, RdbClient};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{MissedTickBehavior, interval};

use super::{super::EVENTUAL, PACE, Shared, unknown};
use crate::faults::history::{RawDid, RawOperation, RawOutcome};

const OWN_KEYS: u64 = 8;
const SHARED_KEYS: u64 = 8;
/// Numbers of these clients follow those of the others.
const FIRST: u32 = 50;

/// Asks until it is told to stop. `readers` ask one node each.
pub(super) async fn run(
    shared: Arc<Shared>,
    router: RdbClient,
    readers: Vec<RdbClient>,
    number: u32,
    seed: u64,
) {
    let number = FIRST + number;
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut random = StdRng::seed_from_u64(seed ^ (u64::from(number) << 32));
    let mut sequence = 0_u64;
    while shared.runs() {
        pace.tick().await;
        sequence += 1;
        let at_ms = shared.recorder.now_ms();
        let key = match random.random_bool(0.5) {
            true => format!("own-{number}-{}", random.random_range(0..OWN_KEYS)),
            false => format!("shared-{}", random.random_range(0..SHARED_KEYS)),
        };
        let did = match random.random_range(0..100) {
            0..40 => RawDid::Put(format!("{number}-{sequence}")),
            40..50 => RawDid::Delete,
            _ => RawDid::Get(shared.any_slot(&mut random)),
        };
        let outcome = answer(&router, &readers, &key, &did).await;
        shared.recorder.note_raw(RawOperation { client: number, key, did, outcome, at_ms });
    }
}

async fn answer(router: &RdbClient, readers: &[RdbClient], key: &str, did: &RawDid) -> RawOutcome {
    let written = match did {
        RawDid::Put(value) => router.raw_put(EVENTUAL, key, value.as_str()).await,
        RawDid::Delete => router.raw_delete(EVENTUAL, key).await,
        RawDid::Get(slot) => return read(router, &readers[*slot], key).await,
    };
    match written {
        Ok(stamped) => RawOutcome::Done(stamped.ts),
        Err(error) => failed(&error),
    }
}

/// The session goes with the client to the node, and back with what was seen there.
async fn read(router: &RdbClient, reader: &RdbClient, key: &str) -> RawOutcome {
    reader.join_session(EVENTUAL, &router.session(EVENTUAL));
    match reader.raw_get(EVENTUAL, key).await {
        Ok(read) => {
            router.join_session(EVENTUAL, &reader.session(EVENTUAL));
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            RawOutcome::Found(read.record.map(|record| (record.ts, text(&record.value))))
        }
        Err(error) => RawOutcome::Failed(unknown(&error).1),
    }
}

fn failed(error: &Error) -> RawOutcome {
    match unknown(error) {
        (true, words) => RawOutcome::Unknown(words),
        (false, words) => RawOutcome::Failed(words),
    }
}
