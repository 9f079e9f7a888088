//! Several nodes: any replica reads what was written, a new node joins, a leader that goes is replaced.

use std::net::SocketAddr;

use flaredb_client::Swap;
use flaredb_proto::v1::NamespaceMode;

use crate::cloud::{Cloud, Running, create, free_address, wait_for};

async fn cluster(cloud: &Cloud, nodes: usize) -> Vec<Running> {
    let members: Vec<SocketAddr> = (0..nodes).map(|_| free_address()).collect();
    let mut running = Vec::new();
    for (id, address) in (1..).zip(&members) {
        running.push(cloud.start(cloud.config(id, *address, &members)).await.unwrap());
    }
    for node in &running {
        wait_for("every node is ready", async || node.process.health().readiness().is_ready().then_some(()))
            .await;
    }
    running
}

async fn leader(cloud: &Cloud, nodes: &[Running]) -> usize {
    let client = cloud.client(nodes);
    wait_for("there is a leader", async || {
        let status = client.cluster().status().await.ok()?;
        usize::try_from(status.regions.first()?.leader_id).ok()?.checked_sub(1)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn any_node_reads_what_was_just_written_and_a_stopped_leader_is_replaced() {
    let cloud = Cloud::new();
    let mut nodes = cluster(&cloud, 3).await;
    let client = cloud.client(&nodes);
    create(&client, "notes", NamespaceMode::Strong).await;
    for version in 0..20 {
        assert_eq!(client.cas_put("notes", "k", "v", version).await.unwrap(), Swap::Done(version + 1));
        for node in &nodes {
            let one = cloud.client([node]);
            assert_eq!(one.get("notes", "k").await.unwrap().record.unwrap().version, version + 1);
        }
    }
    let first = leader(&cloud, &nodes).await;
    nodes.remove(first).stop().await;
    assert_eq!(client.cas_put("notes", "k", "v", 20).await.unwrap(), Swap::Done(21));
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn node_joins_gets_a_vote_and_is_removed_again() {
    let cloud = Cloud::new();
    let mut nodes = cluster(&cloud, 1).await;
    let client = cloud.client(&nodes);
    create(&client, "notes", NamespaceMode::Strong).await;
    client.cas_put("notes", "k", "v", 0).await.unwrap();
    let address = free_address();
    let joiner = cloud.start(cloud.config(2, address, &[])).await.unwrap();
    let members = client.cluster().add(2, &joiner.endpoint, false).await.unwrap();
    assert!(members.iter().all(|member| member.voter) && members.len() == 2);
    let there = cloud.client([&joiner]);
    assert_eq!(there.get("notes", "k").await.unwrap().record.unwrap().value, "v");
    assert_eq!(client.cluster().transfer_leader(2).await.unwrap(), 2);
    assert_eq!(client.cas_put("notes", "k", "w", 1).await.unwrap(), Swap::Done(2));
    let members = client.cluster().remove(1).await.unwrap();
    assert_eq!(members.iter().map(|member| member.node_id).collect::<Vec<_>>(), [2]);
    nodes.remove(0).stop().await;
    assert_eq!(there.cas_put("notes", "k", "x", 2).await.unwrap(), Swap::Done(3));
    joiner.stop().await;
}
