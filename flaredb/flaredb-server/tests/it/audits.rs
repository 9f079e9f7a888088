//! Replicas that hold something else than the others: found, put aside, and said to be so.

use std::{net::SocketAddr, path::Path};

use flaredb_client::{Error, RdbClient};
use flaredb_engine::{Engine, Options, RegionId};
use flaredb_proto::v1::{GetRequest, NamespaceMode, StateHashRequest, StatusResponse};
use flaredb_proto::v1::{kv_cas_client::KvCasClient, maintenance_client::MaintenanceClient};
use tonic::Code;

use crate::cloud::{Cloud, Running, create, free_address, wait_for};

const ORIGINAL: &[u8] = b"what everybody has written";
const ALTERED: &[u8] = b"what nobody has ever wrote";

async fn start(cloud: &Cloud, id: u64, members: &[SocketAddr]) -> Running {
    let mut config = cloud.config(id, members[usize::try_from(id - 1).unwrap()], members);
    config.storage.audit_interval_ms = 300;
    wait_for("the folder is free", async || cloud.start(config.clone()).await.ok()).await
}

async fn cluster(cloud: &Cloud, members: &[SocketAddr]) -> Vec<Running> {
    let mut nodes = Vec::new();
    for (id, _) in (1..).zip(members) {
        nodes.push(start(cloud, id, members).await);
    }
    for node in &nodes {
        ready(node).await;
    }
    nodes
}

async fn ready(node: &Running) {
    wait_for("the node is ready", async || node.process.health().readiness().is_ready().then_some(())).await;
}

async fn status(cloud: &Cloud, node: &Running) -> StatusResponse {
    cloud.client([node]).cluster().status().await.unwrap()
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

/// The hashes of all replicas once all are at the same place in the log.
async fn hashes(clients: &[RdbClient]) -> Vec<Vec<u8>> {
    wait_for("all replicas are at the same index", async || {
        let mut found = Vec::new();
        for client in clients {
            found.push(client.maintenance().state_hash().await.ok()?);
        }
        let same = found.iter().all(|(index, _)| *index == found[0].0);
        same.then(|| found.into_iter().map(|(_, hash)| hash.to_vec()).collect())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn altered_replica_is_quarantined_and_says_so_even_after_a_restart() {
    let cloud = Cloud::new();
    let members: Vec<SocketAddr> = (0..3).map(|_| free_address()).collect();
    let mut nodes = cluster(&cloud, &members).await;
    let client = cloud.client(&nodes);
    create(&client, "notes", NamespaceMode::Strong).await;
    client.cas_put("notes", "k", ORIGINAL, 0).await.unwrap();
    let clients: Vec<RdbClient> = nodes.iter().map(|node| cloud.client([node])).collect();
    let found = hashes(&clients).await;
    assert!(found.iter().all(|hash| hash == &found[0]));
    wait_for("every replica was audited", async || {
        for client in &clients {
            (client.cluster().status().await.ok()?.regions[0].audited_index > 0).then_some(())?;
        }
        Some(())
    })
    .await;

    nodes.remove(2).stop().await;
    let folder = cloud.path("node3");
    wait_for("the folder is free", async || {
        tokio::task::block_in_place(|| std::panic::catch_unwind(|| alter(&folder)).ok())
    })
    .await;
    nodes.push(start(&cloud, 3, &members).await);
    let reason = wait_for("the replica is quarantined", async || quarantined(&nodes[2])).await;
    assert!(reason.starts_with("quarantined: at log index "), "{reason}");
    let status_of_it = status(&cloud, &nodes[2]).await;
    assert!(status_of_it.quarantined.starts_with("at log index "), "{status_of_it:?}");

    let request = GetRequest { namespace: "notes".to_owned(), key: "k".into() };
    let refused = KvCasClient::new(nodes[2].caller(&cloud.operator()).await).get(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable);
    assert!(refused.message().starts_with("this node is quarantined: "), "{}", refused.message());
    for _attempt in 0..20 {
        let found = client.get("notes", "k").await.unwrap().record.unwrap();
        assert_eq!(found.value, ORIGINAL, "a client of all nodes reads what was written");
    }
    client.cas_put("notes", "k", "more", 1).await.unwrap();
    for node in &nodes[..2] {
        assert!(status(&cloud, node).await.quarantined.is_empty());
    }

    nodes.remove(2).stop().await;
    nodes.push(start(&cloud, 3, &members).await);
    assert!(!status(&cloud, &nodes[2]).await.quarantined.is_empty());
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn altered_leader_is_quarantined_and_another_node_leads() {
    let cloud = Cloud::new();
    let members: Vec<SocketAddr> = (0..3).map(|_| free_address()).collect();
    let mut nodes = cluster(&cloud, &members).await;
    let client = cloud.client(&nodes);
    create(&client, "notes", NamespaceMode::Strong).await;
    client.cas_put("notes", "k", ORIGINAL, 0).await.unwrap();
    client.cluster().transfer_leader(1).await.unwrap();
    for node in nodes.drain(..) {
        node.stop().await;
    }
    let folder = cloud.path("node1");
    wait_for("the folder is free", async || {
        tokio::task::block_in_place(|| std::panic::catch_unwind(|| alter(&folder)).ok())
    })
    .await;
    for id in 1..=3 {
        nodes.push(start(&cloud, id, &members).await);
    }
    wait_for("the replica is quarantined", async || quarantined(&nodes[0])).await;
    wait_for("another node leads", async || {
        let status = cloud.client([&nodes[1]]).cluster().status().await.ok()?;
        matches!(status.regions[0].leader_id, 2 | 3).then_some(())
    })
    .await;
    let found = client.get("notes", "k").await.unwrap().record.unwrap();
    assert_eq!(found.value, ORIGINAL);
    client.cas_put("notes", "k", "more", 1).await.unwrap();
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hash_is_told_to_administrators_and_to_nobody_else() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    for credentials in [cloud.viewer(), cloud.service("flashdns")] {
        let mut maintenance = MaintenanceClient::new(node.caller(&credentials).await);
        let refused = maintenance.state_hash(StateHashRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied);
    }
    let error = cloud.client([&node]).maintenance().state_hash().await.map(drop);
    assert!(!matches!(error, Err(Error::Denied { .. })), "{error:?}");
    node.stop().await;
}
