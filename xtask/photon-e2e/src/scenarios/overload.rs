//! Ten times the clients that a cluster can serve: the ones that it serves it serves as fast as ever, the rest are told
//! clearly, and memory does not grow with the crowd. By name only: it measures, and needs a machine of its own.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use flaredb_proto::v1::{CommitRequest, Write, kv_cas_client::KvCasClient, write};
use photon_runtime::client::BearerToken;
use tokio::task::JoinSet;
use tonic::{Code, service::interceptor::InterceptedService, transport::Channel};

use super::{Run, say};
use crate::{
    cloud::{Cloud, Layout},
    process,
};

const NODES: usize = 3;
const NAMESPACE: &str = "overload";
/// Writes that a node takes at the same time.
const SERVED: u64 = 256;
const STORAGE: &str = "\n[storage]\nproposals_max = 256\n";
const CROWD: u64 = 10 * SERVED;
const CONNECTIONS: u64 = 64;
const VALUE: &[u8] = &[b'v'; 256];
const KEYS: u64 = 100_000;
/// A client that was refused asks again after this long.
const REFUSED_PAUSE: Duration = Duration::from_millis(100);
const LOOK_EVERY: Duration = Duration::from_millis(500);
const RECOVERY: Duration = Duration::from_secs(5);
/// Shares of the best rate that must be served.
const UNDER_LOAD_PERCENT: u64 = 80;
const AFTERWARDS_PERCENT: u64 = 90;
/// What the crowd may cost a node: its connections' and requests' buffers.
const GROWTH_BYTES_MAX: u64 = 512 << 20;

type Caller = KvCasClient<InterceptedService<Channel, BearerToken>>;

/// A minute.
pub(super) async fn ten_times_the_clients_are_refused_or_served_for_a_minute(run: Run) -> Result<()> {
    overload(run, Duration::from_secs(10), Duration::from_secs(60)).await
}

async fn overload(run: Run, calm: Duration, crowded: Duration) -> Result<()> {
    let layout = Layout { nodes: NODES, dns: false, storage: STORAGE, ..Layout::default() };
    let cloud = Cloud::start(&run.folder, layout).await?;
    cloud.create_namespace(NAMESPACE).await?;
    let callers = callers(&cloud).await?;
    // What is measured afterwards is not the first growth of buffers and caches.
    let _warm = phase(&cloud, &callers, SERVED, calm).await?;
    let before = phase(&cloud, &callers, SERVED, calm).await?;
    let during = phase(&cloud, &callers, CROWD, crowded).await?;
    tokio::time::sleep(RECOVERY).await;
    let after = phase(&cloud, &callers, SERVED, calm).await?;
    for (words, phase) in [("before", &before), ("during", &during), ("after", &after)] {
        say(&phase.words(words));
    }
    let best = before.rate.max(1);
    ensure!(during.refused > 0, "nobody was refused");
    ensure!(during.other == 0, "{} calls ended otherwise: {:?}", during.other, during.example);
    ensure!(
        during.rate * 100 >= best * UNDER_LOAD_PERCENT,
        "only {} of {best} writes/s were served",
        during.rate
    );
    ensure!(
        after.rate * 100 >= best * AFTERWARDS_PERCENT,
        "only {} of {best} writes/s afterwards",
        after.rate
    );
    let growth = during.resident_bytes_max.saturating_sub(before.resident_bytes_max);
    ensure!(growth <= GROWTH_BYTES_MAX, "a node grew by {} MiB", growth >> 20);
    Ok(())
}

/// Callers of the leader, on connections of their own.
async fn callers(cloud: &Cloud) -> Result<Vec<Caller>> {
    let leader = cloud.leader().await?;
    (0..CONNECTIONS).map(|_| cloud.kv_cas_at(leader, cloud.operator()?.token.clone())).collect()
}

/// What clients and nodes were like for a while.
#[derive(Debug, Default)]
struct Phase {
    clients: u64,
    rate: u64,
    refused: u64,
    other: u64,
    example: Option<String>,
    resident_bytes_max: u64,
}

impl Phase {
    fn words(&self, when: &str) -> String {
        format!(
            "{when}: {} clients, {} writes/s served, {} refused with RESOURCE_EXHAUSTED, at most {} MiB resident",
            self.clients,
            self.rate,
            self.refused,
            self.resident_bytes_max >> 20
        )
    }
}

/// What all clients of a phase share.
#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    served: AtomicU64,
    refused: AtomicU64,
    other: AtomicU64,
    example: std::sync::OnceLock<String>,
}

async fn phase(cloud: &Cloud, callers: &[Caller], clients: u64, length: Duration) -> Result<Phase> {
    let counts = Arc::new(Counts::default());
    let mut tasks = JoinSet::new();
    for (number, caller) in (0..clients).zip(callers.iter().cycle()) {
        tasks.spawn(Arc::clone(&counts).ask(caller.clone(), number));
    }
    let (started, mut resident_bytes_max) = (Instant::now(), 0);
    while started.elapsed() < length {
        tokio::time::sleep(LOOK_EVERY).await;
        for node in cloud.processes() {
            resident_bytes_max = resident_bytes_max.max(process::resident_bytes(node.pid())?);
        }
    }
    let (served, ms) = (counts.served.load(Ordering::Relaxed), started.elapsed().as_millis());
    counts.stop.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended?;
    }
    Ok(Phase {
        clients,
        rate: served * 1000 / u64::try_from(ms).context("it took too long")?.max(1),
        refused: counts.refused.load(Ordering::Relaxed),
        other: counts.other.load(Ordering::Relaxed),
        example: counts.example.get().cloned(),
        resident_bytes_max,
    })
}

impl Counts {
    async fn ask(self: Arc<Self>, mut caller: Caller, client: u64) {
        let mut number = client;
        while !self.stop.load(Ordering::Relaxed) {
            number += CROWD;
            match caller.commit(put(number % KEYS)).await {
                Ok(_) => drop(self.served.fetch_add(1, Ordering::Relaxed)),
                Err(status) if status.code() == Code::ResourceExhausted => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(REFUSED_PAUSE).await;
                }
                Err(status) => {
                    self.other.fetch_add(1, Ordering::Relaxed);
                    self.example.get_or_init(|| status.to_string());
                }
            }
        }
    }
}

fn put(number: u64) -> CommitRequest {
    let op = Some(write::Op::Put(Bytes::from_static(VALUE)));
    CommitRequest {
        namespace: NAMESPACE.to_owned(),
        writes: vec![Write { key: format!("key/{number}").into(), op }],
        ..CommitRequest::default()
    }
}
