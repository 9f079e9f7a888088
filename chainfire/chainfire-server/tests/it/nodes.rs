//! Any node takes any request.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use chainfire_proto::etcdserverpb::{HashKvRequest, MoveLeaderRequest, PutRequest};
use tokio::task::JoinSet;

use crate::cloud::{Cloud, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_one_node_has_written_any_other_one_reads() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    for (number, writer) in nodes.iter().enumerate() {
        writer.put("key", &number.to_string()).await.unwrap();
        for reader in &nodes {
            assert_eq!(reader.get("key").await, Some(number.to_string()));
        }
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_of_all_nodes_are_each_one_revision_and_replicas_are_alike() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let before = nodes[0].put("first", "").await.unwrap();
    let mut writers = JoinSet::new();
    for (number, node) in nodes.iter().enumerate() {
        for writer in 0..4 {
            let mut kv = node.kv();
            writers.spawn(async move {
                let mut revisions = Vec::new();
                for put in 0..10 {
                    let key = format!("{number}/{writer}/{put}").into();
                    let put = PutRequest { key, ..PutRequest::default() };
                    revisions.push(kv.put(put).await.unwrap().into_inner().header.unwrap().revision);
                }
                revisions
            });
        }
    }
    let revisions: BTreeSet<i64> = writers.join_all().await.into_iter().flatten().collect();
    assert_eq!(revisions, (before + 1..=before + 120).collect());
    let mut hashes = BTreeSet::new();
    for node in &nodes {
        assert_eq!(node.range("first", "").await.unwrap().header.unwrap().revision, before + 120);
        let request = HashKvRequest { revision: before + 120 };
        hashes.insert(node.maintenance().hash_kv(request).await.unwrap().into_inner().hash);
    }
    assert_eq!(hashes.len(), 1);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writes_go_on_when_the_leader_is_another_one_and_when_it_ends() {
    let cloud = Cloud::new();
    let mut nodes = cloud.three().await;
    let target_id = nodes[1].config.node.id;
    nodes[0].maintenance().move_leader(MoveLeaderRequest { target_id }).await.unwrap();
    nodes[2].put("moved", "1").await.unwrap();
    let wrong = nodes[0].maintenance().move_leader(MoveLeaderRequest { target_id }).await.unwrap_err();
    assert_eq!(wrong.message(), "etcdserver: not leader");
    nodes.remove(1).stop().await;
    nodes[1].put("ended", "1").await.unwrap();
    wait_for("the other one has it", async || nodes[0].get("ended").await).await;
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nobody_notices_that_the_leader_ends_in_order() {
    let cloud = Cloud::new();
    let mut nodes = cloud.three().await;
    let leader = nodes.remove(0);
    let stopped = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for number in 0..8 {
        let (mut kv, stopped) = (nodes[number % 2].kv(), Arc::clone(&stopped));
        writers.spawn(async move {
            let mut written = 0;
            while !stopped.load(Ordering::Relaxed) {
                let put = PutRequest { key: format!("{number}").into(), ..PutRequest::default() };
                kv.put(put).await.unwrap();
                written += 1;
            }
            written
        });
    }
    wait_for("there is load", async || nodes[0].get("7").await).await;
    leader.stop().await;
    let before = nodes[0].put("after", "").await.unwrap();
    wait_for("writes go on", async || (nodes[0].put("after", "").await.ok()? > before + 16).then_some(()))
        .await;
    stopped.store(true, Ordering::Relaxed);
    let written: i64 = writers.join_all().await.into_iter().sum();
    assert!(written > 16);
    for node in nodes {
        node.stop().await;
    }
}
