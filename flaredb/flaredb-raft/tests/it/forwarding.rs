//! What must hold of proposals that are made where nobody leads.

use std::collections::BTreeSet;

use bytes::Bytes;
use flaredb_raft::ProposeError;
use tokio::task::JoinSet;

use crate::cluster::{Cluster, wait_for};

type Outcomes = Vec<(Bytes, Result<Bytes, ProposeError>)>;

/// Proposes one command after the other at a node, until one has no answer or there are `commands_max`.
async fn write(group: flaredb_raft::Group, writer: u64, commands_max: usize) -> Outcomes {
    let mut outcomes = Vec::new();
    for number in 0..commands_max {
        let command = Bytes::from(format!("{writer}/{number}"));
        let outcome = group.propose_anywhere(command.clone()).await;
        let ended = outcome.is_err();
        outcomes.push((command, outcome));
        if ended {
            break;
        }
    }
    outcomes
}

/// Checks that acknowledged commands are there, refused ones are not, and none is there twice.
fn check(outcomes: &Outcomes, applied: &[Bytes]) {
    let unique: BTreeSet<&Bytes> = applied.iter().collect();
    assert_eq!(unique.len(), applied.len(), "a command was applied twice");
    for (command, outcome) in outcomes {
        match outcome {
            Ok(_) => assert!(unique.contains(command), "{command:?} was acknowledged and is lost"),
            Err(ProposeError::Indeterminate | ProposeError::Stopped) => {}
            Err(error) => assert!(!unique.contains(command), "{command:?} took effect, but: {error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn proposal_at_any_node_is_applied_once_and_answered_as_the_leader_would() {
    let cluster = Cluster::of(1..=3).await;
    let expected = cluster.propose("first").await.unwrap();
    for id in 1..=3 {
        let answer = cluster.group(id).propose_anywhere(format!("at {id}").into()).await.unwrap();
        assert_eq!(answer.len(), expected.len(), "an answer of another kind at node {id}");
    }
    let expected = ["first", "at 1", "at 2", "at 3"].map(Bytes::from);
    assert_eq!(cluster.converged().await, expected);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_proposals_of_all_nodes_are_each_applied_once() {
    let cluster = Cluster::of(1..=3).await;
    let mut writers = JoinSet::new();
    for writer in 0..24 {
        writers.spawn(write(cluster.group(writer % 3 + 1).clone(), writer, 20));
    }
    let outcomes = writers.join_all().await.concat();
    assert!(outcomes.iter().all(|(_, outcome)| outcome.is_ok()), "nobody had a reason to fail");
    let applied = cluster.converged().await;
    assert_eq!(applied.len(), 24 * 20);
    check(&outcomes, &applied);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_forwarded_proposal_is_lost_or_applied_twice_when_the_leader_falls() {
    let mut cluster = Cluster::of(1..=3).await;
    let leader = cluster.leader().await;
    let mut writers = JoinSet::new();
    for id in (1..=3).filter(|id| *id != leader) {
        for writer in 0..8 {
            writers.spawn(write(cluster.group(id).clone(), id * 100 + writer, 200));
        }
    }
    wait_for("there is load", async || (cluster.commands(leader).len() > 200).then_some(())).await;
    cluster.kill(leader).await;
    let outcomes = writers.join_all().await.concat();
    cluster.restart(leader).await;
    check(&outcomes, &cluster.converged().await);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn proposal_that_finds_no_leader_is_made_when_there_is_one() {
    let mut cluster = Cluster::of(1..=3).await;
    cluster.propose("before").await.unwrap();
    let leader = cluster.leader().await;
    cluster.kill(leader).await;
    let other = (1..=3).find(|id| *id != leader).unwrap();
    // Nothing is under way to the leader that is gone, so this was never sent there.
    cluster.group(other).propose_anywhere("after".into()).await.unwrap();
    cluster.restart(leader).await;
    assert_eq!(cluster.converged().await, ["before", "after"].map(Bytes::from));
    cluster.shutdown().await;
}
