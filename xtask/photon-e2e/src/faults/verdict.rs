//! The end of a run: the clients stop, the replicas settle, and everything is read back and held against the notes.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flaredb_client::RdbClient;
use futures::TryStreamExt as _;

use super::{
    check::{Revision, Violations, eventual, linear, replay, watch},
    cluster::{Cluster, EVENTUAL, STRONG},
    history::{self, Operation, RawOperation},
    load::{Harvest, register_keys},
    nemesis::Arena,
};
use crate::wait::wait_for;

const READ_TIMEOUT: Duration = Duration::from_secs(10);
const SAME_HASH_AT_MOST: Duration = Duration::from_secs(30);
/// So many violations are told; the rest is counted.
const TOLD: usize = 12;

/// What the checks found.
#[derive(Debug)]
pub(super) struct Verdict {
    /// For people.
    pub(super) lines: Vec<String>,
    /// What does not hold.
    pub(super) violations: Violations,
}

/// Stops the load and checks everything. Notes are written to the folder, for whoever looks into a failure.
///
/// # Errors
/// When the cluster does not let itself be read back.
pub(super) async fn judge(arena: &mut Arena, folder: &Path) -> Result<Verdict> {
    let cluster = &arena.cluster;
    let harvest = arena.load.stop(cluster).await;
    let recorder = arena.load.recorder();
    let (operations, raw) = (recorder.operations(), recorder.raw_operations());
    history::save(&folder.join("strong.jsonl"), &operations)?;
    history::save(&folder.join("eventual.jsonl"), &raw)?;
    let harvest = harvest?;
    history::save(&folder.join("revisions.jsonl"), &harvest.log)?;
    history::save(&folder.join("watches.jsonl"), &harvest.watched)?;
    let mut verdict = Verdict { lines: Vec::new(), violations: Violations::new() };
    let (acknowledged, failed) = recorder.totals();
    verdict.lines.push(format!(
        "{} operations, {acknowledged} writes acknowledged, {failed} requests refused or unanswered",
        operations.len() + raw.len()
    ));
    verdict.strong(&operations, &harvest);
    verdict.eventual(&raw, cluster).await?;
    verdict.durable(&harvest.log, cluster).await?;
    verdict.same_state(cluster).await?;
    Ok(verdict)
}

impl Verdict {
    fn add(&mut self, check: &str, what: &str, found: Violations) {
        let outcome =
            if found.is_empty() { "holds".to_owned() } else { format!("{} VIOLATIONS", found.len()) };
        self.lines.push(format!("{check:16} {outcome}: {what}"));
        let more = found.len().saturating_sub(TOLD);
        self.violations.extend(found.into_iter().take(TOLD).map(|violation| format!("{check}: {violation}")));
        if more > 0 {
            self.violations.push(format!("{check}: and {more} more"));
        }
    }

    fn strong(&mut self, operations: &[Operation], harvest: &Harvest) {
        let found = replay::check(operations, &harvest.log);
        let (all, revisions) = (operations.len(), harvest.log.len());
        self.add("revisions", &format!("{all} notes against {revisions} revisions"), found);
        let registers: Vec<Operation> =
            operations.iter().filter(|&operation| register_keys(operation)).cloned().collect();
        let started = Instant::now();
        let (keys, found) = linear::check(&registers, &harvest.log);
        let took = started.elapsed().as_secs_f64();
        self.add(
            "linearizability",
            &format!("{} requests of {keys} keys, in {took:.1} s", registers.len()),
            found,
        );
        let found = harvest.watched.iter().flat_map(|watched| watch::check(watched, &harvest.log)).collect();
        let resumed: u32 = harvest.watched.iter().map(|watched| watched.resumed).sum();
        let delivered: usize = harvest.watched.iter().map(|watched| watched.delivered.len()).sum();
        self.add("watches", &format!("{delivered} deliveries, resumed {resumed} times"), found);
    }

    async fn eventual(&mut self, operations: &[RawOperation], cluster: &Cluster) -> Result<()> {
        let same = same_hashes(cluster).await;
        let mut replicas = Vec::new();
        for slot in cluster.members() {
            let client = cluster.client(&[slot], READ_TIMEOUT)?;
            replicas.push((format!("slot {slot}"), records(&client).await?));
        }
        if let Err(error) = same {
            self.violations.push(format!("state hashes: {error:#}"));
        }
        // Keys of single faults are not of the load.
        for (_, records) in &mut replicas {
            records.retain(|key, _| !key.starts_with("cut-"));
        }
        let found = eventual::check(operations, &replicas);
        self.add("eventual", &format!("{} notes, {} replicas", operations.len(), replicas.len()), found);
        Ok(())
    }

    /// Reads every record back: each is what the history says, and no other is there.
    async fn durable(&mut self, log: &[Revision], cluster: &Cluster) -> Result<()> {
        let mut expected = BTreeMap::new();
        for (revision, event) in
            log.iter().flat_map(|entry| entry.events.iter().map(|event| (entry.revision, event)))
        {
            match &event.value {
                Some(value) => drop(expected.insert(event.key.clone(), (revision, value.clone()))),
                None => drop(expected.remove(&event.key)),
            }
        }
        let client = cluster.admin()?;
        let records: Vec<_> =
            client.scan_prefix(STRONG, b"").try_collect().await.context("the final scan failed")?;
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let found: BTreeMap<_, _> =
            records.iter().map(|record| (text(&record.key), (record.version, text(&record.value)))).collect();
        let keys: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        let different = keys.iter().filter(|key| expected.get(**key) != found.get(**key));
        let violations = different
            .map(|key| {
                format!(
                    "{key}: the history ends with {:?}, there is {:?}",
                    expected.get(*key),
                    found.get(*key)
                )
            })
            .collect();
        self.add("durability", &format!("{} records read back", found.len()), violations);
        Ok(())
    }

    async fn same_state(&mut self, cluster: &Cluster) -> Result<()> {
        let mut violations = Violations::new();
        for slot in cluster.members() {
            let quarantined = cluster.status(slot).await?.quarantined;
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
        self.add("state hashes", &words, violations);
        Ok(())
    }
}

/// The index and the hash that all replicas have.
async fn same_hashes(cluster: &Cluster) -> Result<(u64, String)> {
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
