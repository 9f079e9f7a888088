//! What a node finds in its folder, and which folders it refuses.

use flaredb_proto::v1::NamespaceMode;

use crate::cloud::{Cloud, create, free_address, wait_for};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarted_node_has_its_data() {
    let cloud = Cloud::new();
    let address = free_address();
    let config = cloud.config(1, address, &[address]);
    let node = cloud.start(config.clone()).await.unwrap();
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    client.cas_put("notes", "k", "v", 0).await.unwrap();
    node.stop().await;
    // The file locks go with the last handle, which blocking work may hold a little longer.
    let node = wait_for("the folder is free", async || cloud.start(config.clone()).await.ok()).await;
    let client = cloud.client([&node]);
    assert_eq!(client.get("notes", "k").await.unwrap().record.unwrap().value, "v");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folder_of_another_node_or_cluster_is_refused() {
    let cloud = Cloud::new();
    let address = free_address();
    let config = cloud.config(1, address, &[address]);
    cloud.start(config.clone()).await.unwrap().stop().await;
    let mut other_node = cloud.config(2, address, &[free_address(), address]);
    other_node.node.data_dir = config.node.data_dir.clone();
    let mut other_cluster = config;
    other_cluster.cluster.id = "proton".to_owned();
    for config in [other_node, other_cluster] {
        let refused = cloud.start(config).await.err().unwrap().to_string();
        assert!(refused.contains("belongs to node 1 of cluster \"photon\""), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn second_process_on_the_same_folder_is_refused() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let address = free_address();
    let refused = cloud.start(cloud.config(1, address, &[address])).await.err().unwrap().to_string();
    assert!(refused.contains("could not be opened"), "{refused}");
    node.stop().await;
}
