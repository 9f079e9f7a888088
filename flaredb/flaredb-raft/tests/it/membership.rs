//! How a region's members change, and how a new one gets what the log no longer has.

use bytes::Bytes;
use flaredb_raft::{ChangeError, InitializeError, Role};

use crate::cluster::{Cluster, wait_for};

async fn caught_up(cluster: &Cluster, id: u64) {
    wait_for("the new node has caught up", async || {
        let leader = cluster.leader().await;
        let status = cluster.group(leader).status();
        let member = status.members.iter().find(|member| member.id == id)?;
        (member.matched_index == Some(status.last_log_index)).then_some(())
    })
    .await;
}

/// One node that has applied 300 commands, more than one chunk of a snapshot, and has purged most of them.
async fn with_a_purged_log() -> Cluster {
    let cluster = Cluster::named("test", 1..=1, 0).await;
    cluster.initialize().await;
    let body = vec![b'x'; 10_000];
    for number in 0..300 {
        cluster.propose([format!("{number}/").as_bytes(), &body].concat()).await.unwrap();
    }
    cluster.group(1).checkpoint().await.unwrap();
    wait_for("the log is purged", async || (cluster.group(1).status().purged_index >= 256).then_some(()))
        .await;
    cluster
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn learner_behind_a_purged_log_gets_a_snapshot() {
    let mut cluster = with_a_purged_log().await;
    cluster.add(2).await;
    let endpoint = cluster.machines[&2].address.to_string();
    cluster.group(1).add_learner(2, endpoint).await.unwrap();
    caught_up(&cluster, 2).await;
    cluster.propose("after").await.unwrap();
    let commands = cluster.converged().await;
    assert_eq!(commands.len(), 301);
    assert_eq!(cluster.group(2).status().role, Role::Learner);
    // What a snapshot brought is durable without the leader.
    cluster.kill(2).await;
    assert!(cluster.commands(2).len() >= 256);
    cluster.restart(2).await;
    assert_eq!(cluster.converged().await, commands);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn log_behind_a_snapshot_stays_until_the_learner_has_it_although_others_write() {
    let mut cluster = with_a_purged_log().await;
    cluster.add(2).await;
    let endpoint = cluster.machines[&2].address.to_string();
    cluster.group(1).add_learner(2, endpoint).await.unwrap();
    let behind = async || {
        cluster.propose("meanwhile").await.unwrap();
        cluster.group(1).checkpoint().await.unwrap();
        let status = cluster.group(1).status();
        let member = status.members.iter().find(|member| member.id == 2)?;
        member.matched_index.filter(|&index| index > status.purged_index.max(300)).map(drop)
    };
    wait_for("the learner has the snapshot and some of the log", behind).await;
    caught_up(&cluster, 2).await;
    assert_eq!(cluster.running[&1].metrics.snapshots_sent.get(), 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn purged_log_does_not_lose_what_was_not_flushed() {
    let mut cluster = Cluster::named("test", 1..=1, 0).await;
    cluster.initialize().await;
    for number in 0..600 {
        cluster.propose(format!("{number}")).await.unwrap();
        if number == 400 {
            cluster.group(1).checkpoint().await.unwrap();
        }
    }
    wait_for("the log is purged", async || (cluster.group(1).status().purged_index >= 256).then_some(()))
        .await;
    let status = cluster.group(1).status();
    assert!(status.purged_index <= status.flushed_index, "{status:?}");
    cluster.kill(1).await;
    cluster.restart(1).await;
    let expected: Vec<Bytes> = (0..600).map(|number| Bytes::from(format!("{number}"))).collect();
    assert_eq!(cluster.converged().await, expected);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dead_node_is_replaced_by_a_new_one() {
    let mut cluster = Cluster::of(1..=3).await;
    cluster.propose("before").await.unwrap();
    let leader = cluster.leader().await;
    let dead = if leader == 3 { 2 } else { 3 };
    cluster.kill(dead).await;

    cluster.add(4).await;
    let endpoint = cluster.machines[&4].address.to_string();
    let group = cluster.group(leader).clone();
    group.add_learner(4, endpoint).await.unwrap();
    caught_up(&cluster, 4).await;
    group.promote(4).await.unwrap();
    group.remove(dead).await.unwrap();

    let voters: Vec<u64> = group.status().members.iter().filter(|m| m.voter).map(|m| m.id).collect();
    let expected: Vec<u64> = (1..=4).filter(|id| *id != dead).collect();
    assert_eq!(voters, expected);
    // The new node counts: without another old one there is still a quorum.
    let other = expected.iter().copied().find(|id| *id != leader && *id != 4).unwrap();
    cluster.kill(other).await;
    cluster.propose("after").await.unwrap();
    assert_eq!(cluster.converged().await, ["before", "after"]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leader_hands_over_to_the_node_that_was_named() {
    let cluster = Cluster::of(1..=3).await;
    let old = cluster.leader().await;
    let named = (1..=3).find(|id| *id != old).unwrap();
    assert_eq!(cluster.group(old).transfer_leader(Some(named)).await, Ok(named));
    assert_eq!(cluster.leader().await, named);
    cluster.propose("after").await.unwrap();
    let refused = cluster.group(old).transfer_leader(None).await;
    assert!(
        matches!(refused, Err(ChangeError::NotLeader { id: Some(id), .. }) if id == named),
        "{refused:?}"
    );
    assert_eq!(
        cluster.group(named).transfer_leader(Some(9)).await,
        Err(ChangeError::UnknownMember { id: 9 })
    );
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leader_whose_removal_another_began_hands_over_instead_of_changing_members() {
    let mut cluster = Cluster::of(1..=3).await;
    let old = cluster.leader().await;
    let [leaving, away] = [1, 2, 3].into_iter().filter(|id| *id != old).collect::<Vec<_>>()[..] else {
        panic!("three nodes")
    };
    // Without the other node, the removal is begun and cannot be finished.
    cluster.kill(away).await;
    assert_eq!(cluster.group(old).remove(leaving).await, Err(ChangeError::Indeterminate));
    cluster.restart(away).await;
    wait_for("the leaving node leads", async || {
        let leader = cluster.leader().await;
        cluster.group(leader).transfer_leader(Some(leaving)).await.ok()
    })
    .await;
    wait_for("the first half of the removal is committed", async || {
        let status = cluster.group(leaving).status();
        (status.committed_index == status.last_log_index).then_some(())
    })
    .await;

    let refused = cluster.group(leaving).remove(away).await;
    assert!(matches!(refused, Err(ChangeError::NotLeader { .. })), "{refused:?}");
    let successor = wait_for("another node leads", async || {
        [old, away].into_iter().find(|id| cluster.group(*id).status().role == Role::Leader)
    })
    .await;
    wait_for("it finishes the removal", async || cluster.group(successor).remove(leaving).await.ok()).await;
    let members: Vec<u64> = cluster.group(successor).status().members.iter().map(|m| m.id).collect();
    assert_eq!(members, [1, 2, 3].into_iter().filter(|id| *id != leaving).collect::<Vec<_>>());
    cluster.propose("after").await.unwrap();
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leader_that_is_to_remove_itself_hands_over_and_its_successor_removes_it() {
    let cluster = Cluster::of(1..=3).await;
    cluster.propose("before").await.unwrap();
    let leader = cluster.leader().await;
    let Err(ChangeError::NotLeader { id: Some(successor), .. }) = cluster.group(leader).remove(leader).await
    else {
        panic!("the leader removes itself")
    };
    assert_ne!(successor, leader);
    wait_for("the successor removes it", async || cluster.group(successor).remove(leader).await.ok()).await;
    cluster.group(successor).propose("after".into()).await.unwrap();
    assert_eq!(cluster.group(successor).status().members.len(), 2);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn region_is_initialized_once() {
    let cluster = Cluster::of(1..=1).await;
    let again = cluster.group(1).initialize(cluster.members()).await;
    assert_eq!(again, Err(InitializeError::AlreadyInitialized));
    assert!(cluster.group(1).is_initialized());
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stranger_is_neither_promoted_nor_removed() {
    let cluster = Cluster::of(1..=1).await;
    assert_eq!(cluster.group(1).promote(5).await, Err(ChangeError::UnknownMember { id: 5 }));
    assert_eq!(cluster.group(1).remove(5).await, Err(ChangeError::UnknownMember { id: 5 }));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn member_that_moved_is_reached_where_it_is_now() {
    let mut cluster = Cluster::of(1..=3).await;
    let leader = cluster.leader().await;
    let moved = (1..=3).find(|id| *id != leader).unwrap();
    cluster.kill(moved).await;
    cluster.propose("while it was away").await.unwrap();
    let endpoint = cluster.move_machine(moved).await;
    cluster.group(leader).set_endpoint(moved, endpoint.clone()).await.unwrap();
    assert_eq!(cluster.converged().await, ["while it was away"]);
    wait_for("the member knows where it is", async || {
        let members = cluster.group(moved).status().members;
        members.into_iter().find(|member| member.id == moved && member.endpoint == endpoint)
    })
    .await;
    cluster.shutdown().await;
}
