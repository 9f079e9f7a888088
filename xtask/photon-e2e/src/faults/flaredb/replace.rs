//! A node that died for good, with much data, is replaced by an empty one while clients read and write: the new one
//! catches up by snapshot and log, and memory does not grow with the data.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use flaredb_client::RdbClient;
use tokio::task::JoinSet;

use super::{Flaredb, STRONG};
use crate::{
    faults::{
        cluster::{Cluster, Disks, url},
        subject::Subject as _,
    },
    filling::{Filling, commit, put},
    wait::wait_for,
};

const VALUE_BYTES: usize = 4 << 10;
const BATCH: u64 = 64;
const WRITERS: u32 = 8;
const PACE: Duration = Duration::from_millis(5);
const TIMEOUT: Duration = Duration::from_secs(10);
const HASH_TIMEOUT: Duration = Duration::from_secs(120);
const CAUGHT_UP_AT_MOST: Duration = Duration::from_secs(300);
const RESIDENT_BYTES_MAX: u64 = 512 << 20;

/// Fills a cluster with so many records of 4 KiB, kills a node, and replaces it.
///
/// # Errors
/// When anything that is promised does not hold.
pub(in crate::faults) async fn play(folder: &Path, records: u64, say: &mut dyn FnMut(&str)) -> Result<()> {
    let mut cluster = Cluster::start(folder, Disks::Large).await?;
    Flaredb::furnish(&cluster).await?;
    let client = cluster.client(&cluster.members(), TIMEOUT)?;
    let started = Instant::now();
    let filling = Filling { namespace: STRONG, numbers: 0..records, value_bytes: VALUE_BYTES, batch: BATCH };
    filling.write(&client).await?;
    let mib = (records * u64::try_from(VALUE_BYTES)?) >> 20;
    say(&format!("{mib} MiB were written in {} s; {}", started.elapsed().as_secs(), memory(&cluster)?));
    let load = Load::start(&cluster)?;
    let words = replace(&mut cluster).await?;
    let load = load.stop().await?;
    say(&words);
    say(&format!("{load}; {}", memory(&cluster)?));
    say(&format!("all replicas hold the same: {}", same_hashes(&cluster).await?));
    Ok(())
}

/// The most that nodes have had in RAM, if that was not too much.
fn memory(cluster: &Cluster<Flaredb>) -> Result<String> {
    let most: Vec<u64> =
        cluster.members().into_iter().map(|slot| cluster.resident_bytes_max(slot)).collect::<Result<_>>()?;
    let each: Vec<_> = most.iter().map(|bytes| (bytes >> 20).to_string()).collect();
    let words = format!("at most {} MiB resident (VmHWM)", each.join(", "));
    ensure!(most.iter().all(|&bytes| bytes <= RESIDENT_BYTES_MAX), "{words}");
    Ok(words)
}

/// Kills a node that does not lead, and puts an empty one in its place.
async fn replace(cluster: &mut Cluster<Flaredb>) -> Result<String> {
    let (leader, _) = cluster.leader().await?;
    let dead = cluster.members().into_iter().find(|&slot| slot != leader).context("there is no follower")?;
    let old_id = cluster.id(dead)?;
    let died = cluster.kill_9(dead)?;
    let started = Instant::now();
    let slot = cluster.spare()?;
    cluster.vacate(dead)?;
    let id = cluster.settle(slot, &[])?;
    let admin = cluster.admin()?;
    let cut = async || {
        cluster.standing(leader).await.is_ok_and(|standing| standing.purged_index > Some(0)).then_some(())
    };
    wait_for("the log to be cut", CAUGHT_UP_AT_MOST, cut).await?;
    let goal = cluster.standing(leader).await?.committed_index;
    let endpoint = url(slot);
    let added = async || admin.cluster().add(id, &endpoint, true).await.ok().map(drop);
    wait_for("the new node to be added", CAUGHT_UP_AT_MOST, added).await?;
    let caught_up = async || {
        cluster.standing(slot).await.is_ok_and(|standing| standing.applied_index >= goal).then_some(())
    };
    wait_for("the new node to catch up", CAUGHT_UP_AT_MOST, caught_up).await?;
    let took = started.elapsed();
    let votes = async || admin.cluster().promote(id).await.ok().map(drop);
    wait_for("the new node to vote", CAUGHT_UP_AT_MOST, votes).await?;
    let voted = started.elapsed();
    let gone = async || admin.cluster().remove(old_id).await.ok().map(drop);
    wait_for("the dead node to be removed", CAUGHT_UP_AT_MOST, gone).await?;
    let purged = cluster.standing(slot).await?.purged_index;
    ensure!(purged > Some(0), "the new node got the whole log and no snapshot");
    Ok(format!(
        "node {old_id}: {died}; node {id} took its place empty, held a snapshot and the log up to entry {goal} after \
         {:.1} s, and voted after {:.1} s",
        took.as_secs_f64(),
        voted.as_secs_f64()
    ))
}

/// Clients that read and write all the while.
struct Load {
    stop: Arc<AtomicBool>,
    failures: Arc<AtomicU64>,
    writers: JoinSet<Result<u64>>,
}

impl Load {
    fn start(cluster: &Cluster<Flaredb>) -> Result<Self> {
        let (stop, failures) = <(Arc<AtomicBool>, Arc<AtomicU64>)>::default();
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let client = cluster.client(&cluster.members(), TIMEOUT)?;
            writers.spawn(read_and_write(client, writer, Arc::clone(&stop), Arc::clone(&failures)));
        }
        Ok(Self { stop, failures, writers })
    }

    async fn stop(mut self) -> Result<String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut written = 0;
        while let Some(ended) = self.writers.join_next().await {
            written += ended??;
        }
        let failures = self.failures.load(Ordering::SeqCst);
        Ok(format!("{written} writes and reads meanwhile, of which {failures} had to be asked for again"))
    }
}

async fn read_and_write(
    client: RdbClient,
    writer: u32,
    stop: Arc<AtomicBool>,
    failures: Arc<AtomicU64>,
) -> Result<u64> {
    let mut written = 0;
    while !stop.load(Ordering::SeqCst) {
        let (key, value) = (format!("load/{writer}/{}", written % 1000), format!("{written}"));
        let committed = commit(&client, STRONG, vec![put(key.clone(), value.clone().into())]).await?;
        failures.fetch_add(committed.failures.into(), Ordering::SeqCst);
        let mut read = client.get(STRONG, key.clone()).await;
        if read.is_err() {
            failures.fetch_add(1, Ordering::SeqCst);
            read = client.get(STRONG, key).await;
        }
        let found = read.context("a retry did not cure it")?.record.context("a record is lost")?;
        ensure!(found.value == value, "{:?} was read where {value} was written", found.value);
        written += 1;
        tokio::time::sleep(PACE).await;
    }
    Ok(written)
}

async fn same_hashes(cluster: &Cluster<Flaredb>) -> Result<String> {
    let mut hashes = Vec::new();
    for slot in cluster.members() {
        hashes.push(cluster.client(&[slot], HASH_TIMEOUT)?.maintenance().state_hash().await?);
    }
    let (index, hash) = hashes.first().context("there are no replicas")?;
    ensure!(hashes.iter().all(|other| other.1 == *hash), "replicas differ: {hashes:?}");
    Ok(format!("{:02x?} at {index}", hash.get(..4).unwrap_or_default()))
}
