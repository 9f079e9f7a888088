//! `kill -9` of the leader, and of everybody, under a load of writers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use flaredb_client::RdbClient;
use futures::StreamExt as _;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinSet;

use super::Run;
use crate::{
    cloud::{Cloud, Layout},
    dns::{Asker, Query},
    wait::wait_for,
};

const WRITERS: u64 = 8;
const LEADER_ROUNDS: u32 = 5;
const ALL_ROUNDS: u32 = 3;
const RESUMED_AT_MOST: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "kills";
const ZONE: &str = "kills.example.";

/// What was acknowledged: key → the revision that the answer named.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

/// Every acknowledged write is there afterwards, once; writes resume in 2 s; DNS never stops answering.
pub(super) async fn acknowledged_writes_survive_kills_of_the_leader_and_of_all_nodes(run: Run) -> Result<()> {
    let mut cloud = Cloud::start(&run.folder, Layout { nodes: 3, ..Layout::default() }).await?;
    cloud.create_namespace(NAMESPACE).await?;
    cloud.photon(&["dns", "zone", "create", ZONE])?;
    cloud.photon(&["dns", "record", "create", ZONE, "www", "A", "192.0.2.7"])?;
    let load = Load::start(&cloud, run.seed)?;
    let asking = Asking::start(cloud.dns_port());
    let mut random = StdRng::seed_from_u64(run.seed);
    for round in 0..LEADER_ROUNDS {
        load.run_on(random.random_range(100..400)).await?;
        let leader = cloud.leader().await?;
        cloud.kill_9(leader)?;
        let resumed = load.next_acknowledgement().await?;
        tracing::info!(round, leader, resumed_ms = resumed.as_millis(), "leader killed");
        ensure!(resumed <= RESUMED_AT_MOST, "writes resumed only {} ms after the leader died", resumed.as_millis());
        cloud.restart(leader).await?;
    }
    for round in 0..ALL_ROUNDS {
        load.run_on(random.random_range(100..400)).await?;
        for node in 0..3 {
            cloud.kill_9(node)?;
        }
        for node in 0..3 {
            cloud.start_node(node)?;
        }
        cloud.ready().await?;
        let resumed = load.next_acknowledgement().await?;
        tracing::info!(round, resumed_ms = resumed.as_millis(), "all nodes killed");
    }
    let acknowledged = load.stop().await?;
    let answers = asking.stop().await?;
    tracing::info!(writes = acknowledged.len(), answers, "checking");
    every_write_is_there_once(&cloud, &acknowledged).await?;
    cloud.photon(&["dns", "record", "update", ZONE, "www", "A", "192.0.2.8"])?;
    Ok(())
}

struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    acknowledged: Acknowledged,
    writers: JoinSet<Result<()>>,
}

impl Load {
    fn start(cloud: &Cloud, seed: u64) -> Result<Self> {
        let (stop, count, acknowledged) = <(Arc<AtomicBool>, Arc<AtomicU64>, Acknowledged)>::default();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let client = cloud.rdb()?;
            let (stop, count, acknowledged) = (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&acknowledged));
            writers.spawn(async move {
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let key = format!("{seed:x}/{writer}/{number}");
                    if let Some(revision) = write(&client, &key).await? {
                        acknowledged.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).insert(key, revision);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(())
            });
        }
        Ok(Self { stop, count, acknowledged, writers })
    }

    /// Waits until so many more writes were acknowledged.
    async fn run_on(&self, writes: u64) -> Result<()> {
        let wanted = self.count.load(Ordering::Relaxed) + writes;
        let reached = async || (self.count.load(Ordering::Relaxed) >= wanted).then_some(());
        wait_for("more acknowledged writes", Duration::from_secs(30), reached).await
    }

    /// How long from now until a write is acknowledged that was not on its way already.
    async fn next_acknowledgement(&self) -> Result<Duration> {
        let started = Instant::now();
        self.run_on(WRITERS + 1).await?;
        Ok(started.elapsed())
    }

    async fn stop(mut self) -> Result<BTreeMap<String, u64>> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.writers.join_next().await {
            ended??;
        }
        Ok(std::mem::take(&mut *self.acknowledged.lock().unwrap_or_else(|poisoned| poisoned.into_inner())))
    }
}

/// Creates a key; `None` when the outcome is unknown or the database was away.
async fn write(client: &RdbClient, key: &str) -> Result<Option<u64>> {
    match client.create(NAMESPACE, key, key).await {
        Ok(revision) => Ok(Some(revision)),
        Err(error) if error.is_definite() => {
            Err(error).with_context(|| format!("the write of {key} was refused"))
        }
        Err(_) => Ok(None),
    }
}

/// Asks FlashDNS all the time; one question without an answer fails the scenario.
struct Asking {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<u64>>,
}

impl Asking {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let task = tokio::task::spawn_blocking(move || {
            let mut asker = Asker::new(port, Duration::from_secs(1))?;
            let question = Query::new(&format!("www.{ZONE}"), 1);
            let mut answers = 0;
            while !seen.load(Ordering::Relaxed) {
                let answer = asker.ask(&question)?;
                ensure!(answer.ends_with(&[192, 0, 2, 7]), "DNS answered something else: {answer:x?}");
                answers += 1;
                // A question each millisecond is plenty, and leaves the cores to the databases.
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(answers)
        });
        Self { stop, task }
    }

    async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}

/// Reads everything back: each acknowledged key at the acknowledged revision, and one event for it in the history.
async fn every_write_is_there_once(cloud: &Cloud, acknowledged: &BTreeMap<String, u64>) -> Result<()> {
    let client = cloud.rdb()?;
    let mut found = BTreeMap::new();
    let mut records = client.scan_prefix(NAMESPACE, b"");
    while let Some(record) = records.next().await {
        let record = record?;
        ensure!(record.key == record.value, "a value belongs to another key: {record:?}");
        found.insert(String::from_utf8(record.key.to_vec())?, record.version);
    }
    for (key, revision) in acknowledged {
        let version = found.get(key).with_context(|| format!("the acknowledged write of {key} is lost"))?;
        ensure!(version == revision, "{key} was acknowledged at {revision} but is at {version}");
    }
    let revisions: std::collections::BTreeSet<_> = found.values().collect();
    ensure!(revisions.len() == found.len(), "two writes share a revision");
    Ok(())
}
