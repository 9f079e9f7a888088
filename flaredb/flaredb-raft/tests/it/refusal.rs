//! What a node refuses.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use flaredb_raft::{COMMAND_BYTES_MAX, Node, NodeConfig, OpenError, ProposeError};

use crate::{
    cluster::{Cluster, REGION},
    journal::Journal,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn node_of_another_cluster_gets_no_entries_and_no_vote() {
    let ours = Cluster::of(1..=1).await;
    let theirs = Cluster::named("other", 2..=2, 10_000).await;
    let endpoint = theirs.machines[&2].address.to_string();
    ours.group(1).add_learner(2, endpoint).await.unwrap();
    ours.propose("secret").await.unwrap();
    let mut terms = theirs.group(2).watch_leadership();
    let reached = terms.wait_for(|leadership| leadership.term > 0 || leadership.leader.is_some());
    assert!(tokio::time::timeout(Duration::from_secs(1), reached).await.is_err(), "it has heard our leader");
    assert!(theirs.commands(2).is_empty());
    assert_eq!(theirs.group(2).status().last_log_index, 0);
    ours.shutdown().await;
    theirs.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn follower_names_the_leader_to_who_proposes() {
    let cluster = Cluster::of(1..=3).await;
    let leader = cluster.leader().await;
    let follower = (1..=3).find(|id| *id != leader).unwrap();
    let endpoint = cluster.machines[&leader].address.to_string();
    let refused = cluster.group(follower).propose("x".into()).await;
    assert_eq!(refused, Err(ProposeError::NotLeader { id: Some(leader), endpoint: Some(endpoint) }));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_of_the_largest_size_is_accepted_and_a_larger_one_is_not() {
    let cluster = Cluster::of(1..=2).await;
    let largest = Bytes::from(vec![7; COMMAND_BYTES_MAX]);
    cluster.propose(largest.clone()).await.unwrap();
    let refused = cluster.propose(Bytes::from(vec![7; COMMAND_BYTES_MAX + 1])).await;
    let bytes_max = COMMAND_BYTES_MAX;
    assert_eq!(refused, Err(ProposeError::TooLarge { bytes: bytes_max + 1, bytes_max }));
    assert_eq!(cluster.converged().await, [largest]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn state_machine_that_was_lost_is_refused_instead_of_served_empty() {
    let mut cluster = Cluster::named("test", 1..=1, 0).await;
    cluster.initialize().await;
    for number in 0..300 {
        cluster.propose(format!("{number}")).await.unwrap();
    }
    cluster.group(1).checkpoint().await.unwrap();
    crate::cluster::wait_for("the log is purged", async || {
        (cluster.group(1).status().purged_index >= 256).then_some(())
    })
    .await;
    let config = cluster.stop_and_config(1).await;
    let node = Node::open(config).await.unwrap();
    let refused = node.region(REGION, Arc::new(Journal::default())).await;
    assert!(matches!(refused, Err(OpenError::Region { .. })), "{refused:?}");
    node.shutdown().await;
}

#[tokio::test]
async fn log_is_opened_by_one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = NodeConfig::new("test", 1, dir.path());
    config.log.prefill_bytes = 0;
    let node = Node::open(config.clone()).await.unwrap();
    assert!(matches!(Node::open(config.clone()).await, Err(OpenError::Log { .. })));
    node.shutdown().await;
    Node::open(config).await.unwrap().shutdown().await;
}

#[tokio::test]
async fn region_is_opened_once() {
    let cluster = Cluster::empty(1..=1).await;
    let again = cluster.running[&1].node.region(REGION, Arc::new(Journal::default())).await;
    assert!(matches!(again, Err(OpenError::AlreadyOpen { region_id: REGION })));
    cluster.shutdown().await;
}
