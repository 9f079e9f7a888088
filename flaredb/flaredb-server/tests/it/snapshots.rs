//! A whole cluster out of one and into another.

use flaredb_client::{Error, SnapshotChunk};
use flaredb_proto::v1::NamespaceMode;
use futures::{TryStreamExt as _, stream};

use crate::cloud::{Cloud, create};

async fn saved() -> Vec<SnapshotChunk> {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    create(&client, "sessions", NamespaceMode::Eventual).await;
    client.cas_put("notes", "k", "old", 0).await.unwrap();
    client.cas_put("notes", "k", vec![7; 1 << 20], 1).await.unwrap();
    client.cas_put("notes", "l", vec![8; 1 << 20], 0).await.unwrap();
    client.raw_put("sessions", "s", "v").await.unwrap();
    let chunks = client.maintenance().save_snapshot().await.unwrap().try_collect().await.unwrap();
    node.stop().await;
    chunks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restored_cluster_has_the_same_records_versions_and_history() {
    let chunks = saved().await;
    assert!(chunks.len() > 2);
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    let restored = client.maintenance().restore_snapshot(stream::iter(chunks.clone())).await.unwrap();
    assert_eq!((restored.namespaces, restored.records), (2, 3));
    let read = client.get("notes", "k").await.unwrap();
    assert_eq!((read.record.unwrap().version, read.revision), (2, 3));
    assert_eq!(client.raw_get("sessions", "s").await.unwrap().record.unwrap().value, "v");
    let watched = client.watch("notes", "", 1).await.unwrap().try_next().await.unwrap().unwrap();
    assert_eq!((watched.revision, watched.events[0].value.as_deref()), (1, Some(&b"old"[..])));
    let again = client.maintenance().restore_snapshot(stream::iter(chunks)).await;
    assert!(matches!(again, Err(Error::NotNow { .. })), "{again:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restore_of_damaged_chunks_leaves_nothing_and_can_be_begun_again() {
    let chunks = saved().await;
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    let mut damaged = chunks.clone();
    damaged.last_mut().unwrap().crc32 ^= 1;
    let short = chunks[..chunks.len() - 1].to_vec();
    for broken in [damaged, short, chunks[1..].to_vec()] {
        let failed = client.maintenance().restore_snapshot(stream::iter(broken)).await;
        assert!(failed.is_err());
        assert!(client.namespaces().list().await.unwrap().is_empty());
    }
    client.maintenance().restore_snapshot(stream::iter(chunks)).await.unwrap();
    assert_eq!(client.namespaces().list().await.unwrap().len(), 2);
    node.stop().await;
}
