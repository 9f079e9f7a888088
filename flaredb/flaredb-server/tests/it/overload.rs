//! More callers than a node can serve: the rest is refused clearly, and those who are served notice little.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use flaredb_proto::v1::{CasRequest, NamespaceMode, WatchRequest, kv_cas_client::KvCasClient};
use tokio::{sync::Barrier, task::JoinSet};
use tonic::{Code, Status};

use crate::cloud::{Caller, Cloud, Running, create, free_address, wait_for};

/// What the node of these tests serves at once.
const SERVED: u32 = 16;
/// What a caller does who is told to try again in a moment: it waits as our client does, longer each time.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

async fn small(cloud: &Cloud, change: impl FnOnce(&mut flaredb_server::Config)) -> Running {
    let address = free_address();
    let mut config = cloud.config(1, address, &[address]);
    change(&mut config);
    let node = cloud.start(config).await.unwrap();
    wait_for("the node is ready", async || node.process.health().readiness().is_ready().then_some(())).await;
    create(&cloud.client([&node]), "notes", NamespaceMode::Strong).await;
    node
}

fn put(key: String) -> CasRequest {
    CasRequest {
        namespace: "notes".to_owned(),
        key: key.into(),
        value: vec![7; 1 << 10].into(),
        ..CasRequest::default()
    }
}

/// What some callers meet that write without a pause for a while, by code; and a message of each.
async fn load(callers: &[Caller], round: &'static str, period: Duration) -> BTreeMap<i32, (u32, String)> {
    let start = std::sync::Arc::new(Barrier::new(callers.len()));
    let mut writers = JoinSet::new();
    for (writer, caller) in callers.iter().cloned().enumerate() {
        let start = std::sync::Arc::clone(&start);
        writers.spawn(async move {
            let (mut client, mut met, mut pause) = (KvCasClient::new(caller), Vec::new(), FIRST_PAUSE);
            start.wait().await;
            let end = Instant::now() + period;
            for number in 0.. {
                if Instant::now() >= end {
                    break;
                }
                let refused = client.compare_and_swap(put(format!("{round}/{writer}/{number}"))).await.err();
                if refused.is_some() {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                } else {
                    pause = FIRST_PAUSE;
                }
                met.push(refused);
            }
            met
        });
    }
    let mut codes = BTreeMap::new();
    for status in writers.join_all().await.concat() {
        let (code, words) = status
            .map_or((Code::Ok, String::new()), |status: Status| (status.code(), status.message().to_owned()));
        codes.entry(i32::from(code)).or_insert((0, words)).0 += 1;
    }
    codes
}

/// Runs ten times the callers that fit; returns the words of the refusals.
async fn overload(cloud: &Cloud, node: &Running) -> String {
    const PERIOD: Duration = Duration::from_secs(2);
    let mut callers = Vec::new();
    for _ in 0..SERVED * 10 {
        callers.push(node.caller(&cloud.operator()).await);
    }
    let few = SERVED as usize;
    let best = load(&callers[..few], "alone", PERIOD).await;
    assert_eq!(best.keys().collect::<Vec<_>>(), [&i32::from(Code::Ok)], "{best:?}");
    let crowd = load(&callers, "crowd", PERIOD).await;
    let codes: Vec<i32> = crowd.keys().copied().collect();
    assert_eq!(codes, [Code::Ok, Code::ResourceExhausted].map(i32::from), "{crowd:?}");
    let after = load(&callers[..few], "after", PERIOD).await;
    let served = |met: &BTreeMap<i32, (u32, String)>| met[&i32::from(Code::Ok)].0;
    // The callers share the machine with the node and with other tests, so this only tells a collapse; what the rates
    // are is the benchmark's to measure.
    assert!(
        served(&crowd) * 10 > served(&best) && served(&after) * 10 > served(&best),
        "{best:?} {crowd:?} {after:?}"
    );
    crowd[&i32::from(Code::ResourceExhausted)].1.clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_beyond_the_bound_are_refused_and_the_others_served() {
    let cloud = Cloud::new();
    let node = small(&cloud, |config| {
        config.storage.proposals_max = SERVED;
        config.storage.proposal_wait_ms = 0;
    })
    .await;
    assert_eq!(overload(&cloud, &node).await, "16 writes are under way already; try again in a moment");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn calls_beyond_the_bound_are_refused_and_the_others_served() {
    let cloud = Cloud::new();
    let node = small(&cloud, |config| config.server.requests_max = SERVED).await;
    assert_eq!(overload(&cloud, &node).await, "16 calls are in flight, the limit; try again");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_beyond_the_bound_are_refused_until_others_end() {
    let cloud = Cloud::new();
    let node = small(&cloud, |config| config.storage.watches_max = 2).await;
    let mut client = KvCasClient::new(node.caller(&cloud.operator()).await);
    let request = || WatchRequest { namespace: "notes".to_owned(), ..WatchRequest::default() };
    let first = client.watch(request()).await.unwrap();
    let _second = client.watch(request()).await.unwrap();
    let refused = client.watch(request()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().starts_with("2 watches are under way already"), "{}", refused.message());
    drop(first);
    wait_for("there is room for another watch", async || {
        client.clone().watch(request()).await.ok().map(drop)
    })
    .await;
    node.stop().await;
}
