//! A replica that holds something else than the others: found, put aside, and said to be so.

use std::path::Path;

use chainfire_proto::etcdserverpb::StatusRequest;
use flaredb_engine::{Engine, Options, RegionId};
use tonic::Code;

use crate::cloud::{Cloud, Running, free_address, wait_for};

const ORIGINAL: &[u8] = b"what everybody has written";
const ALTERED: &[u8] = b"what nobody has ever wrote";

async fn start(cloud: &Cloud, mut config: chainfire_server::Config) -> Running {
    config.storage.audit_interval_ms = 300;
    wait_for("the folder is free", async || cloud.start(config.clone()).await.ok()).await
}

/// Why a node is quarantined, once it is; before, its condition may have another reason.
fn quarantined(node: &Running) -> Option<String> {
    let reason = node.process.health().readiness().conditions["replica"].reason.clone();
    reason.filter(|reason| reason.starts_with("quarantined: "))
}

/// Replaces a value in the folder of a node that does not run, as a broken disk or program would.
fn alter(folder: &Path) {
    let engine = Engine::open(&folder.join("state"), Options::default()).unwrap();
    let region = engine.region(RegionId(1)).unwrap();
    let snapshot = region.snapshot().unwrap();
    let rows = snapshot.read(&[], usize::MAX).unwrap().data.to_vec();
    let at = rows.windows(ORIGINAL.len()).position(|window| window == ORIGINAL).unwrap();
    let altered = [&rows[..at], ALTERED, &rows[at + ORIGINAL.len()..]].concat();
    let applied = snapshot.applied().clone();
    drop(snapshot);
    let mut install = region.install().unwrap();
    install.write(&altered).unwrap();
    install.finish(applied).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn altered_replica_is_quarantined_and_answers_nothing() {
    let cloud = Cloud::new();
    let members = [free_address(), free_address(), free_address()];
    let mut nodes = Vec::new();
    for (id, address) in (1..).zip(members) {
        nodes.push(start(&cloud, cloud.config(id, address, &members)).await);
    }
    for node in &nodes {
        node.ready().await;
    }
    nodes[0].put("k", std::str::from_utf8(ORIGINAL).unwrap()).await.unwrap();
    assert!(nodes[2].get("k").await.is_some());

    let altered = nodes.remove(2);
    let config = altered.config.clone();
    altered.stop().await;
    let folder = config.node.data_dir.clone();
    wait_for("the folder is free", async || {
        tokio::task::block_in_place(|| std::panic::catch_unwind(|| alter(&folder)).ok())
    })
    .await;
    nodes.push(start(&cloud, config).await);
    let reason = wait_for("the replica is quarantined", async || quarantined(&nodes[2])).await;
    assert!(reason.starts_with("quarantined: at log index "), "{reason}");

    let refused = nodes[2].range("k", "").await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    let status = nodes[2].maintenance().status(StatusRequest {}).await.unwrap().into_inner();
    assert!(status.errors.iter().any(|error| error.starts_with("this node is quarantined: ")), "{status:?}");
    nodes[0].put("more", "1").await.unwrap();
    for node in &nodes[..2] {
        assert_eq!(node.get("k").await.unwrap().as_bytes(), ORIGINAL);
        assert!(quarantined(node).is_none());
    }
    for node in nodes {
        node.stop().await;
    }
}
