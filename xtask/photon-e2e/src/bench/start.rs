//! From the start of a single node on an empty disk until its first write is committed.
//!
//! Ours counts the namespace that the write needs. Both are asked again as soon as they have refused, by clients that
//! add no pause of their own.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flaredb_proto::v1::{CommitRequest, kv_cas_client::KvCasClient};

use super::{
    Row, Side,
    etcd::Speaker,
    flaredb::{NAMESPACE, put},
    workload::VALUE_BYTES,
};
use crate::{
    cloud::{Cloud, Layout},
    etcd::{Etcd, free_ports},
    process::{self, Process},
};

/// What this is called in the table.
pub(super) const NAME: &str = "start to first write";

const STARTED_AT_MOST: Duration = Duration::from_secs(30);
const CALL_TIMEOUT: Duration = Duration::from_secs(2);
const ASKED_AGAIN_AFTER: Duration = Duration::from_millis(1);

/// Starts either side so many times, in turn, each on a new disk.
///
/// # Errors
/// When one does not commit a write in time.
pub(super) async fn measure(folder: &Path, rounds: u32) -> Result<Row> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        tracing::info!(op = NAME, round, "measuring");
        let folder = folder.join(format!("start-{round}"));
        let layout = Layout { dns: false, ..Layout::default() };
        let mut cloud = Cloud::prepare(&folder, layout)?;
        theirs.push(etcd(&cloud, &folder).await?);
        ours.push(flaredb(&mut cloud).await?);
    }
    Ok(Row::of(NAME, "etcd", 1, &ours, &theirs))
}

async fn etcd(cloud: &Cloud, folder: &Path) -> Result<Side> {
    let started = Instant::now();
    let etcd = Etcd::launch(folder, &free_ports(1)?, Some(&cloud.certificates(1)))?;
    let url = etcd.urls().pop().context("etcd has no node")?;
    until_done(started, async || first_put(cloud, &url).await).await?;
    side(started, etcd.processes())
}

async fn first_put(cloud: &Cloud, url: &str) -> Result<()> {
    let channel = cloud.endpoint(url, CALL_TIMEOUT)?.connect().await?;
    Speaker::writer(channel).put(0).await
}

async fn flaredb(cloud: &mut Cloud) -> Result<Side> {
    let started = Instant::now();
    cloud.start_node(0)?;
    let cloud = &*cloud;
    until_done(started, async || cloud.create_namespace(NAMESPACE).await).await?;
    until_done(started, async || first_commit(cloud).await).await?;
    side(started, cloud.processes())
}

async fn first_commit(cloud: &Cloud) -> Result<()> {
    let channel = cloud.endpoint(&cloud.database_url(0), CALL_TIMEOUT)?.connect().await?;
    let mut client = KvCasClient::with_interceptor(channel, cloud.operator()?.bearer());
    let writes = vec![put(0, Bytes::from(vec![b'v'; VALUE_BYTES]))];
    client.commit(CommitRequest { namespace: NAMESPACE.to_owned(), writes, ..Default::default() }).await?;
    Ok(())
}

/// Asks again and again until it is done.
async fn until_done(started: Instant, mut ask: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    while let Err(error) = ask().await {
        if started.elapsed() > STARTED_AT_MOST {
            return Err(error);
        }
        tokio::time::sleep(ASKED_AGAIN_AFTER).await;
    }
    Ok(())
}

fn side<'a>(started: Instant, processes: impl IntoIterator<Item = &'a Process>) -> Result<Side> {
    let elapsed_s = started.elapsed().as_secs_f64();
    let (took_us, cpu_us) = (elapsed_s * 1e6, process::cpu_s(processes.into_iter().map(Process::pid))? * 1e6);
    Ok(Side { rate: 1.0 / elapsed_s, p50_us: took_us, p99_us: took_us, cpu_us, ..Side::default() })
}
