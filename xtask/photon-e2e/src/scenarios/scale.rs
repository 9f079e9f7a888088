//! Much data on one node: scans and restarts whose cost does not grow with it. What takes long runs by name only, best
//! of a release build.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use flaredb_client::RdbClient;
use futures::StreamExt as _;
use tokio::task::JoinSet;

use super::{Run, say};
use crate::{
    cloud::{Cloud, Layout},
    filling::{Filling, commit, key, put, value},
    process,
    wait::wait_for,
};

const NAMESPACE: &str = "scale";
const VALUE_BYTES: usize = 64;
/// Writes before the scan: the writer's own memory is not the scan's.
const WRITES_BEFORE: u64 = 500;
/// Keys of consecutive writes are so far apart, and this is prime: every part of the scan is written to.
const STRIDE: u64 = 7_919;
const SCAN_GROWTH_BYTES_MAX: u64 = 64 << 20;
const LARGE_VALUE_BYTES: usize = 4 << 10;
const LARGE_BATCH: u64 = 64;
const RESIDENT_BYTES_MAX: u64 = 2 << 30;
const OPENED_AT_MOST: Duration = Duration::from_secs(10);

/// The short form.
pub(super) async fn scan_beside_a_writer_is_of_one_revision_and_takes_little_memory(run: Run) -> Result<()> {
    scan_beside_a_writer(run, 100_000).await
}

/// With two million keys.
pub(super) async fn scan_of_two_million_keys_is_of_one_revision_and_takes_little_memory(
    run: Run,
) -> Result<()> {
    scan_beside_a_writer(run, 2_000_000).await
}

/// The short form.
pub(super) async fn killed_node_serves_what_it_held_within_ten_seconds(run: Run) -> Result<()> {
    fill_kill_and_open(run, 16 << 10).await
}

/// With 10 GiB of values.
pub(super) async fn ten_gib_are_held_with_2_gib_of_memory_and_served_ten_seconds_after_a_kill(
    run: Run,
) -> Result<()> {
    fill_kill_and_open(run, 2_560 << 10).await
}

/// Nothing has read the keys before, so the scan also pays for whatever it leaves in caches.
async fn scan_beside_a_writer(run: Run, keys: u64) -> Result<()> {
    let (cloud, client) = filled(&run, 0..keys, VALUE_BYTES, 1000).await?;
    let writer = Writer::start(client.clone(), keys);
    writer.has_written(WRITES_BEFORE).await?;
    let node = cloud.processes().next().context("there is no node")?;
    let before = process::resident_bytes(node.pid())?;
    process::forget_resident_bytes_max(node)?;
    let (started, first) = (Instant::now(), writer.count());
    let versions = scan(&client).await?;
    let (took, beside) = (started.elapsed(), writer.count() - first);
    let most = process::resident_bytes_max(node)?;
    let written = writer.stop().await?;
    say(&format!(
        "{} records in {:.1} s beside {beside} writes; {} MiB resident before (VmRSS), at most {} MiB meanwhile (VmHWM)",
        versions.len(),
        took.as_secs_f64(),
        before >> 20,
        most >> 20
    ));
    ensure!(u64::try_from(versions.len())? == keys, "{} records were found of {keys}", versions.len());
    ensure!(beside > 0, "nothing was written beside the scan");
    of_one_revision(&versions, &written)?;
    let growth = most.saturating_sub(before);
    ensure!(growth <= SCAN_GROWTH_BYTES_MAX, "the node grew by {} MiB", growth >> 20);
    Ok(())
}

/// Whatever was written up to the newest version that was found must have been found.
fn of_one_revision(versions: &[u64], written: &[(u64, u64)]) -> Result<()> {
    let newest = versions.iter().max().copied().unwrap_or_default();
    for &(number, revision) in written.iter().filter(|(_, revision)| *revision <= newest) {
        let found = versions.get(usize::try_from(number)?).copied().unwrap_or_default();
        ensure!(
            found >= revision,
            "revision {newest} was found, and of key {number} version {found}, not {revision}"
        );
    }
    Ok(())
}

/// The version of each record; the keys are those of all numbers.
async fn scan(client: &RdbClient) -> Result<Vec<u64>> {
    let mut versions = Vec::new();
    let mut found = client.scan_prefix(NAMESPACE, b"");
    while let Some(record) = found.next().await {
        let record = record?;
        let expected = key(u64::try_from(versions.len())?);
        ensure!(record.key == expected.as_bytes(), "{:?} was found where {expected} is", record.key);
        versions.push(record.version);
    }
    Ok(versions)
}

async fn fill_kill_and_open(run: Run, records: u64) -> Result<()> {
    let started = Instant::now();
    let (mut cloud, client) = filled(&run, 0..records, LARGE_VALUE_BYTES, LARGE_BATCH).await?;
    let mib = (records * u64::try_from(LARGE_VALUE_BYTES)?) >> 20;
    say(&format!("{mib} MiB were written in {} s; {}", started.elapsed().as_secs(), memory(&cloud)?));
    cloud.kill_9(0)?;
    let started = Instant::now();
    cloud.restart(0).await?;
    served(&client, records).await?;
    let took = started.elapsed();
    say(&format!(
        "after kill -9, records from everywhere were served {:.1} s after the start; {}",
        took.as_secs_f64(),
        memory(&cloud)?
    ));
    ensure!(took <= OPENED_AT_MOST, "it served only after {:.1} s", took.as_secs_f64());
    Ok(())
}

/// What the node has had in RAM, if that was not too much.
fn memory(cloud: &Cloud) -> Result<String> {
    let node = cloud.processes().next().context("there is no node")?;
    let (now, most) = (process::resident_bytes(node.pid())?, process::resident_bytes_max(node)?);
    let words = format!("{} MiB resident (VmRSS), at most {} MiB (VmHWM)", now >> 20, most >> 20);
    ensure!(most <= RESIDENT_BYTES_MAX, "{words}");
    Ok(words)
}

async fn served(client: &RdbClient, records: u64) -> Result<()> {
    for number in (0..records).step_by(usize::try_from(records / 16)?) {
        let read = client.get(NAMESPACE, key(number)).await?;
        let found = read.record.with_context(|| format!("record {number} is lost"))?;
        ensure!(found.value == value(number, LARGE_VALUE_BYTES), "record {number} is another one");
    }
    Ok(())
}

async fn filled(
    run: &Run,
    numbers: Range<u64>,
    value_bytes: usize,
    batch: u64,
) -> Result<(Cloud, RdbClient)> {
    let layout = Layout { nodes: 1, dns: false, ..Layout::default() };
    let cloud = Cloud::start(&run.folder, layout).await?;
    cloud.create_namespace(NAMESPACE).await?;
    let client = cloud.rdb().await?;
    Filling { namespace: NAMESPACE, numbers, value_bytes, batch }.write(&client).await?;
    Ok((cloud, client))
}

/// A client that goes over the keys again and again.
struct Writer {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    /// Ends with the number of each key that it wrote, and the revision.
    task: JoinSet<Result<Vec<(u64, u64)>>>,
}

impl Writer {
    fn start(client: RdbClient, keys: u64) -> Self {
        let (stop, count) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let (stopped, counted) = (Arc::clone(&stop), Arc::clone(&count));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut written = Vec::new();
            while !stopped.load(Ordering::SeqCst) {
                let number = counted.load(Ordering::SeqCst) * STRIDE % keys;
                let writes = vec![put(key(number), value(number, VALUE_BYTES))];
                written.push((number, commit(&client, NAMESPACE, writes).await?.revision));
                counted.fetch_add(1, Ordering::SeqCst);
            }
            Ok(written)
        });
        Self { stop, count, task }
    }

    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    async fn has_written(&self, writes: u64) -> Result<()> {
        let reached = async || (self.count() >= writes).then_some(());
        wait_for("the writer", Duration::from_secs(60), reached).await
    }

    async fn stop(mut self) -> Result<Vec<(u64, u64)>> {
        self.stop.store(true, Ordering::SeqCst);
        self.task.join_next().await.context("nobody writes")??
    }
}
