//! Writers that create one key after the other, as fast as they are answered, and know what was acknowledged.

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
use futures::StreamExt as _;
use tokio::{task::JoinSet, time::timeout};

use super::say;
use crate::{cloud::Cloud, wait::wait_for};

/// Where the writes go.
pub(super) const NAMESPACE: &str = "writers";
const PROGRESS_AT_MOST: Duration = Duration::from_secs(30);
const WATCHED_AT_MOST: Duration = Duration::from_secs(15);

/// The writers.
pub(super) struct Writers {
    shared: Arc<Shared>,
    tasks: JoinSet<Result<()>>,
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

impl Writers {
    /// Creates the namespace, and starts so many writers with a client each.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) async fn start(cloud: &Cloud, writers: u64, seed: u64) -> Result<Self> {
        cloud.create_namespace(NAMESPACE).await?;
        let shared = Arc::new(Shared {
            started: Instant::now(),
            stop: AtomicBool::new(false),
            count: AtomicU64::new(0),
            sent_us: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            acknowledged: Mutex::default(),
        });
        let mut tasks = JoinSet::new();
        for writer in 0..writers {
            let (client, shared) = (cloud.rdb().await?, Arc::clone(&shared));
            tasks.spawn(async move { shared.write(&client, &format!("{seed:x}/{writer}")).await });
        }
        Ok(Self { shared, tasks })
    }

    /// How many writes were acknowledged so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.shared.count.load(Ordering::SeqCst)
    }

    /// Waits until so many more writes were acknowledged.
    ///
    /// # Errors
    /// When they were not in time.
    pub(super) async fn run_on(&self, writes: u64) -> Result<()> {
        let wanted = self.acknowledged() + writes;
        let reached = async || (self.acknowledged() >= wanted).then_some(());
        wait_for("more acknowledged writes", PROGRESS_AT_MOST, reached).await
    }

    /// How long from now until a write is acknowledged that was sent after now.
    ///
    /// # Errors
    /// When there is none in time.
    pub(super) async fn resumed(&self) -> Result<Duration> {
        let since_us = self.shared.now_us();
        let later = async || (self.shared.sent_us.load(Ordering::SeqCst) > since_us).then_some(());
        wait_for("an acknowledged write", PROGRESS_AT_MOST, later).await?;
        Ok(Duration::from_micros(self.shared.now_us() - since_us))
    }

    /// Stops them, and reads everything back: each acknowledged key is at the acknowledged revision, and has one event
    /// in the history.
    ///
    /// # Errors
    /// When a writer was refused, or a write is lost or there twice.
    pub(super) async fn every_write_is_there_once(mut self, cloud: &Cloud) -> Result<()> {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        let acknowledged =
            std::mem::take(&mut *self.shared.acknowledged.lock().unwrap_or_else(PoisonError::into_inner));
        read_back(cloud, &acknowledged).await
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
            match client.create(NAMESPACE, key.as_str(), key.as_str()).await {
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

async fn read_back(cloud: &Cloud, acknowledged: &BTreeMap<String, u64>) -> Result<()> {
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
