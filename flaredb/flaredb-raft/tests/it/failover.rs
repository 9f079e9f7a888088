//! What must hold when nodes stop, lose power and come back.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flaredb_raft::ProposeError;
use tokio::{net::TcpListener, task::JoinSet};

use crate::cluster::{Cluster, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn single_node_serves_at_once_and_remembers() {
    let mut cluster = Cluster::of(1..=1).await;
    for number in 0..10 {
        cluster.propose(format!("{number}")).await.unwrap();
    }
    cluster.kill(1).await;
    assert!(cluster.commands(1).is_empty(), "nothing was flushed");
    cluster.restart(1).await;
    let expected: Vec<Bytes> = (0..10).map(|number| Bytes::from(format!("{number}"))).collect();
    assert_eq!(cluster.converged().await, expected);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn acknowledged_commands_survive_the_leader_once_and_in_one_order() {
    let mut cluster = Cluster::of(1..=3).await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        for number in 0..30 {
            let command = Bytes::from(format!("{round}/{number}"));
            cluster.propose(command.clone()).await.unwrap();
            acknowledged.push(command);
        }
        let leader = cluster.leader().await;
        cluster.kill(leader).await;
        let started = Instant::now();
        let command = Bytes::from(format!("{round}/after"));
        cluster.propose(command.clone()).await.unwrap();
        acknowledged.push(command);
        assert!(started.elapsed() < Duration::from_secs(2), "writes resumed after {:?}", started.elapsed());
        cluster.restart(leader).await;
        assert_eq!(cluster.converged().await, acknowledged);
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn power_cut_of_all_nodes_loses_nothing_acknowledged() {
    let mut cluster = Cluster::of(1..=3).await;
    let mut acknowledged = Vec::new();
    for round in 0..2 {
        for number in 0..20 {
            let command = Bytes::from(format!("{round}/{number}"));
            cluster.propose(command.clone()).await.unwrap();
            acknowledged.push(command);
        }
        for id in 1..=3 {
            cluster.kill(id).await;
        }
        for id in 1..=3 {
            cluster.restart(id).await;
        }
        assert_eq!(cluster.converged().await, acknowledged);
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_command_is_applied_twice_when_the_leader_falls_under_load() {
    let mut cluster = Cluster::of(1..=3).await;
    cluster.propose("first").await.unwrap();
    let leader = cluster.leader().await;
    let mut writers = JoinSet::new();
    for writer in 0..16 {
        let group = cluster.group(leader).clone();
        writers.spawn(async move {
            let mut outcomes = Vec::new();
            for number in 0.. {
                let command = Bytes::from(format!("{writer}/{number}"));
                let outcome = group.propose(command.clone()).await;
                let ended = outcome.is_err();
                outcomes.push((command, outcome));
                if ended {
                    return outcomes;
                }
            }
            outcomes
        });
    }
    wait_for("there is load", async || (cluster.commands(leader).len() > 200).then_some(())).await;
    cluster.kill(leader).await;
    let outcomes = writers.join_all().await.concat();
    cluster.restart(leader).await;
    let commands = cluster.converged().await;
    let unique: BTreeSet<&Bytes> = commands.iter().collect();
    assert_eq!(unique.len(), commands.len(), "a command was applied twice");
    for (command, outcome) in &outcomes {
        match outcome {
            Ok(_) => assert!(unique.contains(command), "{command:?} was acknowledged and is lost"),
            Err(ProposeError::NotLeader { .. } | ProposeError::Unavailable) => {
                assert!(!unique.contains(command), "{command:?} was refused and took effect");
            }
            Err(_unknown) => {}
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_replica_reads_what_was_just_acknowledged() {
    let cluster = Cluster::of(1..=3).await;
    for number in 0..50 {
        let command = Bytes::from(format!("{number}"));
        cluster.propose(command.clone()).await.unwrap();
        for id in 1..=3 {
            cluster.group(id).read_index().await.unwrap();
            assert_eq!(cluster.commands(id).last(), Some(&command), "node {id} is behind");
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn minority_serves_neither_writes_nor_linearizable_reads() {
    let mut cluster = Cluster::of(1..=3).await;
    cluster.propose("before").await.unwrap();
    let leader = cluster.leader().await;
    for id in (1..=3).filter(|id| *id != leader) {
        cluster.kill(id).await;
    }
    let group = cluster.group(leader).clone();
    let read = tokio::time::timeout(Duration::from_secs(2), group.read_index()).await;
    assert!(!matches!(read, Ok(Ok(_))), "a leader without a quorum has served a read");
    let write = tokio::time::timeout(Duration::from_secs(1), group.propose("lost".into())).await;
    assert!(!matches!(write, Ok(Ok(_))), "a leader without a quorum has acknowledged a write");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dead_peer_is_not_dialled_in_a_loop_while_others_write() {
    let mut cluster = Cluster::of(1..=3).await;
    let leader = cluster.leader().await;
    let dead = (1..=3).find(|id| *id != leader).unwrap();
    cluster.kill(dead).await;
    let address = cluster.machines[&dead].address;
    let listener = wait_for("the address is free", async || TcpListener::bind(address).await.ok()).await;
    let mut dials = 0;
    let counting = async {
        // Each is closed at once, as by a machine whose process is gone.
        while listener.accept().await.is_ok() {
            dials += 1;
        }
    };
    let writing = async {
        loop {
            cluster.propose("more").await.unwrap();
        }
    };
    let both = futures::future::join(counting, writing);
    assert!(tokio::time::timeout(Duration::from_secs(1), both).await.is_err());
    // Ten heartbeats, and appends after pauses that grow to half a second.
    assert!(dials < 40, "{dials} in a second");
    cluster.shutdown().await;
}
