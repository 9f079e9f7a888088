//! What regions and clients of a node share.

use std::{collections::BTreeSet, sync::Arc};

use bytes::Bytes;
use flaredb_raft::{Group, Role};
use futures::future::try_join_all;
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;

use crate::{
    cluster::{Cluster, wait_for},
    journal::Journal,
};

/// Writers at once; fewer than may wait.
const WRITERS: u64 = 2_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_writers_share_one_sync_and_one_apply() {
    let cluster = Cluster::of(1..=3).await;
    cluster.propose("first").await.unwrap();
    let leader = cluster.leader().await;
    let group = cluster.group(leader);
    // All at once, so that they wait behind the first of them however slow the machine is.
    let writers = (0..WRITERS).map(|writer| group.propose(Bytes::from(writer.to_string())));
    try_join_all(writers).await.unwrap();
    let metrics = &cluster.running[&leader].metrics;
    // The followers are a quorum without it: the leader's own sync may be the last one.
    wait_for("the leader has written everything", async || {
        (metrics.log_entries.get() > WRITERS).then_some(())
    })
    .await;
    let (entries, syncs) = (metrics.log_entries.get(), metrics.syncs.get());
    assert!(syncs * 4 < entries, "{syncs} syncs for {entries} entries");
    let batches = metrics.apply_batches.get();
    assert!(batches * 4 < entries, "{batches} batches for {entries} entries");
    let unique: BTreeSet<Bytes> = cluster.converged().await.into_iter().collect();
    assert_eq!(unique.len() as u64, WRITERS + 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn waiting_reads_share_a_round() {
    let cluster = Cluster::of(1..=3).await;
    cluster.propose("first").await.unwrap();
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    for id in [leader, follower] {
        let metrics = cluster.running[&id].metrics.clone();
        let before = metrics.read_index_rounds.get();
        let mut readers = JoinSet::new();
        for _reader in 0..200 {
            let group = cluster.group(id).clone();
            readers.spawn(async move { group.read_index().await.unwrap() });
        }
        readers.join_all().await;
        let rounds = metrics.read_index_rounds.get() - before;
        assert!(rounds <= 50, "{rounds} rounds for 200 reads at node {id}");
    }
    cluster.shutdown().await;
}

async fn second_region(cluster: &Cluster) -> Vec<(Group, Journal)> {
    let mut replicas = Vec::new();
    for running in cluster.running.values() {
        let journal = Journal::default();
        replicas.push((running.node.region(2, Arc::new(journal.clone())).await.unwrap(), journal));
    }
    replicas
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn regions_of_a_node_are_independent() {
    let cluster = Cluster::of(1..=3).await;
    let replicas = second_region(&cluster).await;
    replicas[0].0.initialize(cluster.members()).await.unwrap();
    let leader = wait_for("the second region has a leader", async || {
        replicas.iter().map(|(group, _)| group).find(|group| group.status().role == Role::Leader)
    })
    .await;
    cluster.propose("one").await.unwrap();
    wait_for("the second region takes a command", async || leader.propose("two".into()).await.ok()).await;
    for (group, journal) in &replicas {
        group.read_index().await.unwrap();
        assert_eq!(journal.commands(), ["two"]);
    }
    assert_eq!(cluster.converged().await, ["one"]);
    // Stopping one does not stop the other.
    for (group, _) in &replicas {
        group.shutdown().await;
    }
    cluster.propose("three").await.unwrap();
    assert_eq!(cluster.converged().await, ["one", "three"]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_can_be_registered() {
    let cluster = Cluster::of(1..=1).await;
    cluster.propose("one").await.unwrap();
    let mut registry = Registry::default();
    cluster.running[&1].metrics.register(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("raft_proposals_total 1"), "{text}");
    assert!(text.contains("raft_log_sync_seconds_count"), "{text}");
    cluster.shutdown().await;
}
