//! `kill -9` of the leader, and of everybody, under a load of writers.

use std::{
    collections::BTreeMap,
    ops::Range,
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
use tokio::{task::JoinSet, time::timeout};

use super::{Run, say};
use crate::{
    cloud::{Cloud, Layout},
    dns::{Asker, Query},
    wait::wait_for,
};

const NODES: usize = 3;
const WRITERS: u64 = 8;
/// How many writes are acknowledged between two rounds.
const WRITES_BETWEEN: Range<u64> = 100..400;
const LEADER_ROUNDS: u32 = 5;
const ALL_ROUNDS: u32 = 3;
const WATCHED_AT_MOST: Duration = Duration::from_secs(15);
const RESUMED_AT_MOST: Duration = Duration::from_secs(2);
const NAMESPACE: &str = "kills";
const ZONE: &str = "kills.example.";

/// What was acknowledged: key → the revision that the answer named.
type Acknowledged = Arc<Mutex<BTreeMap<String, u64>>>;

/// Every acknowledged write is there afterwards, once; writes resume in 2 s; DNS never stops answering.
pub(super) async fn acknowledged_writes_survive_kills_of_the_leader_and_of_all_nodes(run: Run) -> Result<()> {
    let mut cloud = Cloud::start(&run.folder, Layout { nodes: NODES, ..Layout::default() }).await?;
    cloud.create_namespace(NAMESPACE).await?;
    cloud.photon(&["dns", "zone", "create", ZONE])?;
    cloud.photon(&["dns", "record", "create", ZONE, "www", "A", "192.0.2.7"])?;
    let load = Load::start(&cloud, run.seed).await?;
    let asking = Asking::start(cloud.dns_port());
    let mut random = StdRng::seed_from_u64(run.seed);
    let slowest = kill_leaders(&mut cloud, &load, &mut random).await?;
    say(&format!("writes resumed after the leader died within {} ms", slowest.as_millis()));
    let slowest = kill_everybody(&mut cloud, &load, &mut random).await?;
    say(&format!("writes resumed after all nodes were started again within {} ms", slowest.as_millis()));
    let acknowledged = load.stop().await?;
    let answers = asking.stop().await?;
    say(&format!("DNS answered {answers} times, always"));
    every_write_is_there_once(&cloud, &acknowledged).await?;
    cloud.photon(&["dns", "record", "update", ZONE, "www", "A", "192.0.2.8"])?;
    Ok(())
}

/// Returns the longest time until writes went on.
async fn kill_leaders(cloud: &mut Cloud, load: &Load, random: &mut StdRng) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for round in 0..LEADER_ROUNDS {
        load.run_on(random.random_range(WRITES_BETWEEN)).await?;
        let leader = cloud.leader().await?;
        cloud.kill_9(leader)?;
        slowest = slowest.max(load.resumed(round).await?);
        cloud.restart(leader).await?;
    }
    Ok(slowest)
}

/// Returns the longest time until writes went on, from when the last process was started again.
async fn kill_everybody(cloud: &mut Cloud, load: &Load, random: &mut StdRng) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for round in 0..ALL_ROUNDS {
        load.run_on(random.random_range(WRITES_BETWEEN)).await?;
        for node in 0..NODES {
            cloud.kill_9(node)?;
        }
        for node in 0..NODES {
            cloud.start_node(node)?;
        }
        slowest = slowest.max(load.resumed(round).await?);
        cloud.ready().await?;
    }
    Ok(slowest)
}

struct Load {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    acknowledged: Acknowledged,
    writers: JoinSet<Result<()>>,
}

impl Load {
    async fn start(cloud: &Cloud, seed: u64) -> Result<Self> {
        let (stop, count, acknowledged) = <(Arc<AtomicBool>, Arc<AtomicU64>, Acknowledged)>::default();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let client = cloud.rdb().await?;
            let (stop, count, acknowledged) =
                (Arc::clone(&stop), Arc::clone(&count), Arc::clone(&acknowledged));
            writers.spawn(async move {
                let mut number = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    number += 1;
                    let key = format!("{seed:x}/{writer}/{number}");
                    if let Some(revision) = write(&client, &key).await? {
                        acknowledged
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner())
                            .insert(key, revision);
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
    ///
    /// # Errors
    /// When it took too long.
    async fn resumed(&self, round: u32) -> Result<Duration> {
        let started = Instant::now();
        self.run_on(WRITERS + 1).await?;
        let waited = started.elapsed();
        ensure!(
            waited <= RESUMED_AT_MOST,
            "in round {round}, writes resumed only after {} ms",
            waited.as_millis()
        );
        Ok(waited)
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
    let client = cloud.rdb().await?;
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
    say(&format!("{} writes were acknowledged, {} are there", acknowledged.len(), found.len()));
    let happened = history(&client, found.values().max().copied().unwrap_or(0)).await?;
    ensure!(happened == found, "the history has other writes than the database");
    Ok(())
}

/// What the history says was written up to a revision; fails if it says so twice of a key.
async fn history(client: &RdbClient, until: u64) -> Result<BTreeMap<String, u64>> {
    let mut happened = BTreeMap::new();
    let mut revisions = client.watch(NAMESPACE, b"", 1).await?;
    let mut seen = 0;
    while seen < until {
        let next = timeout(WATCHED_AT_MOST, revisions.next()).await.context("the watch fell silent")?;
        let revision = next.context("the watch ended")??;
        seen = revision.revision;
        for event in revision.events {
            let key = String::from_utf8(event.key.to_vec())?;
            let earlier = happened.insert(key.clone(), seen);
            ensure!(earlier.is_none(), "{key} was written twice, at {earlier:?} and at {seen}");
        }
    }
    Ok(happened)
}
