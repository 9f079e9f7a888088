//! One client that reads ranges: what it finds must be the keys of one revision, all of them and no other.

use std::{sync::Arc, time::Duration};

use chainfire_client::Client;
use chainfire_proto::etcdserverpb::RangeRequest;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::{MissedTickBehavior, interval};

use super::{
    super::{chain, feed::number},
    range_of,
    requests::revision,
};
use crate::faults::{
    history::{Did, NEVER, Operation, Outcome},
    load::Shared,
};

const PACE: Duration = Duration::from_millis(60);
const NUMBER: u32 = 70;
/// Few keys, many keys, and keys that come and go.
const PREFIXES: [&str; 4] = ["pair/1-1", "pair/", "register/", "lease/"];

/// Reads ranges until it is told to stop.
pub(super) async fn run(shared: Arc<Shared>, nodes: Arc<Vec<Client>>, seed: u64) {
    let mut pace = interval(PACE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut random = StdRng::seed_from_u64(seed ^ (u64::from(NUMBER) << 32));
    while shared.runs() {
        pace.tick().await;
        let prefix = PREFIXES[random.random_range(0..PREFIXES.len())];
        let Some(node) = nodes.get(shared.any_slot(&mut random)) else { continue };
        let (at_ms, called) = (shared.recorder.now_ms(), shared.recorder.tick());
        let outcome = list(node, prefix).await;
        let (key, client) = (prefix.to_owned(), NUMBER);
        let note = Operation { client, key, did: Did::List, outcome, called, returned: NEVER, at_ms };
        shared.recorder.note(note);
    }
}

/// The keys that begin so, without their values.
pub(super) fn of_prefix(prefix: &str) -> RangeRequest {
    let (key, range_end) = range_of(prefix).into_request();
    RangeRequest { key, range_end, keys_only: true, ..RangeRequest::default() }
}

async fn list(node: &Client, prefix: &str) -> Outcome {
    match node.range(of_prefix(prefix)).await {
        Ok(answer) => {
            let keys = answer.kvs.iter();
            let keys =
                keys.map(|kv| (String::from_utf8_lossy(&kv.key).into_owned(), number(kv.mod_revision)));
            Outcome::Listed(keys.collect(), revision(answer.header.as_ref()))
        }
        Err(error) => Outcome::Failed(chain(&error)),
    }
}
