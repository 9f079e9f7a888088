//! What must hold of a store that speaks etcd's API, after everything has healed.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result};
use chainfire_client::PageRequest;
use chainfire_proto::etcdserverpb::{HashKvRequest, maintenance_client::MaintenanceClient};

use super::{Program, V3, channel, client_of_all, feed::number, load::Harvest};
use crate::{
    faults::{
        check::{Violations, lease, mvcc, watch::Watched},
        cluster::Cluster,
        history,
        nemesis::Arena,
        verdict::{Records, Verdict},
    },
    wait::wait_for,
};

const READ_TIMEOUT: Duration = Duration::from_secs(10);
const SAME_HASH_AT_MOST: Duration = Duration::from_secs(30);
const PAGE: u32 = 1_000;

/// Stops the load and checks everything.
pub(super) async fn judge<P: Program>(arena: &mut Arena<V3<P>>) -> Result<Verdict> {
    let cluster = &arena.cluster;
    let notes = |name: &str| cluster.folders().file(name);
    let harvest = arena.load.stop(cluster).await;
    let recorder = arena.recorder();
    let operations = recorder.operations();
    history::save(&notes("operations.jsonl"), &operations)?;
    let harvest = harvest?;
    history::save(&notes("revisions.jsonl"), &harvest.log)?;
    history::save(&notes("watches.jsonl"), &harvest.watched)?;
    history::save(&notes("leases.jsonl"), &harvest.leases)?;
    let mut verdict = Verdict::default();
    let (acknowledged, failed) = recorder.totals();
    verdict.lines.push(format!(
        "{} operations, {acknowledged} writes acknowledged, {failed} requests refused or unanswered",
        operations.len()
    ));
    verdict.strong(&operations, &harvest.log);
    let revisions = format!("{} revisions", harvest.log.len());
    verdict.add("data model", &revisions, mvcc::check(&harvest.log));
    verdict.watches(&harvest.watched, &harvest.log);
    judge_leases(&mut verdict, &harvest, recorder.broken());
    verdict.durable(&records::<P>().await?, &harvest.log);
    let last = harvest.log.last().map_or(1, |entry| entry.revision);
    judge_hashes(&mut verdict, cluster, last).await;
    Ok(verdict)
}

fn judge_leases(verdict: &mut Verdict, harvest: &Harvest, broken_ms: Vec<(u64, u64)>) {
    let leases = &harvest.leases;
    let deleted_ms = deletions(&harvest.watched);
    let seen = lease::Seen { deleted_ms, broken_ms, ended_ms: harvest.ended_ms };
    let renewals: usize = leases.iter().map(|lease| lease.renewals.len()).sum();
    let words = format!("{} leases, {renewals} grants and renewals", leases.len());
    let mut found = lease::check(leases, &seen);
    if leases.is_empty() {
        found.push("no lease was ever granted".to_owned());
    }
    verdict.add("leases", &words, found);
}

/// When a watch first told of each key's end.
fn deletions(watched: &[Watched]) -> BTreeMap<String, u64> {
    let mut first = BTreeMap::new();
    for (at_ms, entry) in watched.iter().flat_map(|watched| watched.arrived_ms.iter().zip(&watched.delivered))
    {
        for event in entry.events.iter().filter(|event| event.value.is_none()) {
            let known = first.entry(event.key.clone()).or_insert(*at_ms);
            *known = (*known).min(*at_ms);
        }
    }
    first
}

/// Everything that is there.
async fn records<P: Program>() -> Result<Records> {
    let client = client_of_all::<P>(READ_TIMEOUT)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut records, mut revision) = (Records::new(), 0);
    let mut from = Some(bytes::Bytes::from_static(b"\0"));
    while let Some(first) = from {
        let range = chainfire_proto::KeyRange::From(first);
        let page = client.page(PageRequest { range, limit: PAGE, revision }).await;
        let page = page.context("the final scan failed")?;
        let found = page.records.iter().map(|kv| (text(&kv.key), (number(kv.mod_revision), text(&kv.value))));
        records.extend(found);
        (from, revision) = (page.next, page.revision);
    }
    Ok(records)
}

async fn judge_hashes<P: Program>(verdict: &mut Verdict, cluster: &Cluster<V3<P>>, revision: u64) {
    let mut last = Vec::new();
    let same = wait_for("all nodes to have the same keys", SAME_HASH_AT_MOST, async || {
        last.clear();
        for slot in cluster.members() {
            last.push(hash_of::<P>(slot, revision).await.ok()?);
        }
        let first = last.first()?;
        last.iter().all(|other| other == first).then_some(*first)
    })
    .await;
    let (words, found) = match same {
        Ok((hash, compacted)) => {
            (format!("all nodes at revision {revision}: {hash:08x} since {compacted}"), Violations::new())
        }
        Err(error) => ("nodes".to_owned(), vec![format!("{error:#}; the last hashes were {last:?}")]),
    };
    verdict.add("key hashes", &words, found);
}

/// The hash of a node's keys up to a revision, and from which on.
async fn hash_of<P: Program>(slot: usize, revision: u64) -> Result<(u32, i64)> {
    let mut asked = MaintenanceClient::new(channel::<P>(slot, READ_TIMEOUT)?);
    let request = HashKvRequest { revision: i64::try_from(revision)? };
    let answer = asked.hash_kv(request).await?.into_inner();
    Ok((answer.hash, answer.compact_revision))
}
