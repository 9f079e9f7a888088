//! The end of a run: the clients stop, the replicas settle, and everything is read back and held against the notes.

use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flaredb_client::RdbClient;
use futures::TryStreamExt as _;

use super::{EVENTUAL, Flaredb, STRONG};
use crate::{
    faults::{
        check::{Revision, Violations, eventual},
        cluster::Cluster,
        history::{self, RawOperation},
        nemesis::Arena,
        subject::Load as _,
        verdict::Verdict,
    },
    wait::wait_for,
};

const READ_TIMEOUT: Duration = Duration::from_secs(10);
const SAME_HASH_AT_MOST: Duration = Duration::from_secs(30);
/// Stops the load and checks everything. Notes are written to the folder, for whoever looks into a failure.
///
/// # Errors
/// When the cluster does not let itself be read back.
pub(super) async fn judge(arena: &mut Arena<Flaredb>) -> Result<Verdict> {
    let cluster = &arena.cluster;
    let notes = |name: &str| cluster.folders().file(name);
    let harvest = arena.load.stop(cluster).await;
    let recorder = arena.load.recorder();
    let (operations, raw) = (recorder.operations(), recorder.raw_operations());
    history::save(&notes("strong.jsonl"), &operations)?;
    history::save(&notes("eventual.jsonl"), &raw)?;
    let harvest = harvest?;
    history::save(&notes("revisions.jsonl"), &harvest.log)?;
    history::save(&notes("watches.jsonl"), &harvest.watched)?;
    let mut verdict = Verdict::default();
    let (acknowledged, failed) = recorder.totals();
    verdict.lines.push(format!(
        "{} operations, {acknowledged} writes acknowledged, {failed} requests refused or unanswered",
        operations.len() + raw.len()
    ));
    verdict.strong(&operations, &harvest.log);
    verdict.watches(&harvest.watched, &harvest.log);
    judge_eventual(&mut verdict, &raw, cluster).await?;
    judge_durability(&mut verdict, &harvest.log, cluster).await?;
    judge_state(&mut verdict, cluster).await?;
    Ok(verdict)
}

async fn judge_eventual(
    verdict: &mut Verdict,
    operations: &[RawOperation],
    cluster: &Cluster<Flaredb>,
) -> Result<()> {
    let same = same_hashes(cluster).await;
    let mut replicas = Vec::new();
    for slot in cluster.members() {
        let client = cluster.client(&[slot], READ_TIMEOUT)?;
        replicas.push((format!("slot {slot}"), records(&client).await?));
    }
    if let Err(error) = same {
        verdict.violations.push(format!("state hashes: {error:#}"));
    }
    // Keys of single faults are not of the load.
    for (_, records) in &mut replicas {
        records.retain(|key, _| !key.starts_with("cut-"));
    }
    let found = eventual::check(operations, &replicas);
    verdict.add("eventual", &format!("{} notes, {} replicas", operations.len(), replicas.len()), found);
    Ok(())
}

/// Reads every record back.
async fn judge_durability(verdict: &mut Verdict, log: &[Revision], cluster: &Cluster<Flaredb>) -> Result<()> {
    let client = cluster.admin()?;
    let records: Vec<_> =
        client.scan_prefix(STRONG, b"").try_collect().await.context("the final scan failed")?;
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let found =
        records.iter().map(|record| (text(&record.key), (record.version, text(&record.value)))).collect();
    verdict.durable(&found, log);
    Ok(())
}

async fn judge_state(verdict: &mut Verdict, cluster: &Cluster<Flaredb>) -> Result<()> {
    let mut violations = Violations::new();
    for slot in cluster.members() {
        let quarantined = cluster.subject().status(slot).await?.quarantined;
        if !quarantined.is_empty() {
            violations.push(format!("slot {slot} is quarantined: {quarantined}"));
        }
    }
    let words = match same_hashes(cluster).await {
        Ok((index, hash)) => format!("all replicas at {index}: {hash}"),
        Err(error) => {
            violations.push(format!("{error:#}"));
            "replicas".to_owned()
        }
    };
    verdict.add("state hashes", &words, violations);
    Ok(())
}

/// The index and the hash that all replicas have.
async fn same_hashes(cluster: &Cluster<Flaredb>) -> Result<(u64, String)> {
    let clients: Vec<RdbClient> =
        cluster.members().iter().map(|&slot| cluster.client(&[slot], READ_TIMEOUT)).collect::<Result<_>>()?;
    let mut last = Vec::new();
    let same = wait_for("all replicas to have the same state", SAME_HASH_AT_MOST, async || {
        last.clear();
        for client in &clients {
            last.push(client.maintenance().state_hash().await.ok()?);
        }
        let first = last.first()?;
        last.iter().all(|other| other == first).then(|| first.clone())
    })
    .await;
    let (index, hash) = same.with_context(|| format!("the last hashes were {last:?}"))?;
    Ok((index, hash.iter().take(8).map(|byte| format!("{byte:02x}")).collect()))
}

async fn records(client: &RdbClient) -> Result<eventual::Records> {
    let records: Vec<_> = client.raw_scan_prefix(EVENTUAL, b"").try_collect().await?;
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    Ok(records.iter().map(|record| (text(&record.key), (record.ts, text(&record.value)))).collect())
}
