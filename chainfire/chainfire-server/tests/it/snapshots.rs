//! A copy of everything, out of one cluster and into another one.

use std::fs;

use chainfire_proto::etcdserverpb::{MemberAddRequest, SnapshotRequest};
use chainfire_server::restore::{Args, RestoreError, restore};

use crate::cloud::{Cloud, Running, free_address, wait_for};

async fn save(node: &Running) -> Vec<u8> {
    let mut pieces = node.maintenance().snapshot(SnapshotRequest {}).await.unwrap().into_inner();
    let mut file = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        file.extend(piece.blob);
    }
    file
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn new_cluster_begins_with_what_the_old_one_had_and_so_does_a_node_that_joins_it() {
    let cloud = Cloud::new();
    let old = cloud.single().await;
    for number in 0..200 {
        old.put(&format!("k/{number}"), &"x".repeat(1_000)).await.unwrap();
    }
    let revision = old.put("last", "1").await.unwrap();
    fs::write(cloud.path("saved.db"), save(&old).await).unwrap();
    old.stop().await;
    let address = [free_address(), free_address()];
    let config = |id: u64, at, members: &[_]| {
        let mut config = cloud.config(id, at, members);
        config.node.data_dir = cloud.path(&format!("new{id}"));
        config
    };
    let first = config(1, address[0], &address[..1]);
    let args = Args {
        snapshot: cloud.path("saved.db"),
        data_dir: first.node.data_dir.clone(),
        cluster: first.cluster.id.clone(),
        node_id: 1,
        members: first.cluster.initial_members.clone(),
    };
    restore(&args).unwrap();
    assert!(matches!(restore(&args), Err(RestoreError::Occupied(_))));
    let first = cloud.start(first).await.unwrap();
    first.ready().await;
    assert_eq!(first.get("last").await.as_deref(), Some("1"));
    assert_eq!(first.range("k/", "k0").await.unwrap().count, 200);
    assert!(first.put("new", "1").await.unwrap() > revision);
    let url = format!("https://{}", address[1]);
    let request = MemberAddRequest { peer_ur_ls: vec![url], is_learner: false };
    let id = first.cluster().member_add(request).await.unwrap().into_inner().member.unwrap().id;
    let second = cloud.start(config(id, address[1], &[])).await.unwrap();
    second.ready().await;
    wait_for("the new node has it all", async || {
        (second.range("k/", "k0").await.ok()?.count == 200 && second.get("new").await.is_some()).then_some(())
    })
    .await;
    second.stop().await;
    first.stop().await;
}
