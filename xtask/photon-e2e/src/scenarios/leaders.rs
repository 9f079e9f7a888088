//! The leader killed again and again under many writers: how long until writes go on, and whether any is lost.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use flaredb_client::RdbClient;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::task::JoinSet;

use super::{Run, kills, say};
use crate::{
    cloud::{Cloud, Layout},
    wait::wait_for,
};

const NODES: usize = 3;
const WRITERS: u64 = 64;
const KILLS: usize = 20;
/// Acknowledged writes between two kills.
const WRITES_BETWEEN: std::ops::Range<u64> = 300..900;
const PROGRESS_AT_MOST: Duration = Duration::from_secs(30);
/// What a build without optimization on a busy machine may take; the aim is told beside the figure.
const RESUMED_AT_MOST: Duration = Duration::from_secs(3);
const AIM: Duration = Duration::from_secs(1);
/// History reaches back to the first write.
const STORAGE: &str = "\n[storage]\nhistory_revisions_max = 10000000\n";

/// Every acknowledged write is there afterwards, once, and revisions never went back.
pub(super) async fn no_write_is_lost_when_the_leader_is_killed_twenty_times_under_64_writers(
    run: Run,
) -> Result<()> {
    let layout = Layout { nodes: NODES, dns: false, storage: STORAGE, ..Layout::default() };
    let mut cloud = Cloud::start(&run.folder, layout).await?;
    cloud.create_namespace(kills::NAMESPACE).await?;
    let writers = Writers::start(&cloud, run.seed).await?;
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut waits = Vec::new();
    for _ in 0..KILLS {
        writers.run_on(random.random_range(WRITES_BETWEEN)).await?;
        let leader = cloud.leader().await?;
        let since = writers.now_us();
        cloud.kill_9(leader)?;
        waits.push(writers.resumed(since).await?);
        cloud.restart(leader).await?;
    }
    let acknowledged = writers.stop().await?;
    waits.sort();
    say(&figures(&waits));
    kills::every_write_is_there_once(&cloud, &acknowledged).await?;
    let slowest = waits.last().copied().unwrap_or_default();
    ensure!(slowest <= RESUMED_AT_MOST, "writes resumed only after {} ms", slowest.as_millis());
    Ok(())
}

/// Of so few kills, the slowest is the 99th percentile.
fn figures(sorted: &[Duration]) -> String {
    let at = |part: usize| sorted.get((sorted.len() * part / 100).min(sorted.len().saturating_sub(1)));
    let ms = |part| at(part).copied().unwrap_or_default().as_millis();
    format!(
        "{} leaders killed under {WRITERS} writers; first new write acknowledged after: p50 {} ms, p99 {} ms (aim: {} ms)",
        sorted.len(),
        ms(50),
        ms(99),
        AIM.as_millis()
    )
}

/// What all writers share.
struct Shared {
    started: Instant,
    stop: AtomicBool,
    count: AtomicU64,
    /// When the latest acknowledged write was sent.
    sent_us: AtomicU64,
    /// The largest revision that was acknowledged.
    revision: AtomicU64,
    acknowledged: Mutex<BTreeMap<String, u64>>,
}

/// The writers; each creates one key after the other.
struct Writers {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<()>>,
}

impl Writers {
    async fn start(cloud: &Cloud, seed: u64) -> Result<Self> {
        let shared = Arc::new(Shared {
            started: Instant::now(),
            stop: AtomicBool::new(false),
            count: AtomicU64::new(0),
            sent_us: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            let (client, shared) = (cloud.rdb().await?, Arc::clone(&shared));
            tasks.spawn(async move { shared.write(&client, &format!("{seed:x}/{writer}")).await });
        }
        Ok(Self { shared, tasks })
    }

    fn now_us(&self) -> u64 {
        self.shared.now_us()
    }

    async fn run_on(&self, writes: u64) -> Result<()> {
        let wanted = self.shared.count.load(Ordering::SeqCst) + writes;
        let reached = async || (self.shared.count.load(Ordering::SeqCst) >= wanted).then_some(());
        wait_for("more acknowledged writes", PROGRESS_AT_MOST, reached).await
    }

    /// How long after `since_us` a write was acknowledged that was sent after that.
    async fn resumed(&self, since_us: u64) -> Result<Duration> {
        let later = async || (self.shared.sent_us.load(Ordering::SeqCst) > since_us).then_some(());
        wait_for("an acknowledged write", PROGRESS_AT_MOST, later).await?;
        Ok(Duration::from_micros(self.now_us() - since_us))
    }

    async fn stop(mut self) -> Result<BTreeMap<String, u64>> {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(std::mem::take(&mut *self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

impl Shared {
    fn now_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    async fn write(&self, client: &RdbClient, prefix: &str) -> Result<()> {
        let mut number = 0_u64;
        while !self.stop.load(Ordering::SeqCst) {
            number += 1;
            let key = format!("{prefix}/{number}");
            let (sent_us, seen) = (self.now_us(), self.revision.load(Ordering::SeqCst));
            match client.create(kills::NAMESPACE, key.as_str(), key.as_str()).await {
                Ok(revision) => {
                    ensure!(revision > seen, "{key} got revision {revision}, after {seen} was acknowledged");
                    self.note(key, revision, sent_us);
                }
                Err(error) if error.is_definite() => {
                    return Err(error).with_context(|| format!("the write of {key} was refused"));
                }
                Err(_unavailable_or_unknown) => {}
            }
        }
        Ok(())
    }

    fn note(&self, key: String, revision: u64, sent_us: u64) {
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).insert(key, revision);
        self.revision.fetch_max(revision, Ordering::SeqCst);
        self.sent_us.fetch_max(sent_us, Ordering::SeqCst);
        self.count.fetch_add(1, Ordering::SeqCst);
    }
}
