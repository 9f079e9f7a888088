//! The embedded backend keeps every promise, and its folder is one service's and one process's.

use std::sync::Arc;

use bytes::Bytes;
use futures::future::join_all;
use metadata_store::{
    Backend, Credentials, EmbeddedStore, MetadataConfig, MetadataStore, Namespace, OpenError, Version,
    conformance, open,
};
use tempfile::TempDir;

use crate::harness::{Embedded, OURS, TIMEOUT};

#[tokio::test(flavor = "multi_thread")]
async fn embedded_backend_keeps_every_promise() {
    for seed in [1, 2] {
        let report = conformance::run(&Embedded::start().await, seed).await;
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.outcomes.len(), conformance::promises().count());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn store_that_was_dropped_is_opened_again_with_everything() {
    let folder = TempDir::new().unwrap();
    let config = MetadataConfig { data_dir: Some(folder.path().join("a/b")), ..MetadataConfig::default() };
    assert_eq!(config.backend, Backend::Embedded);
    let store = open(&config, OURS, Credentials::default()).await.unwrap();
    let version = store.create("/suite/x", Bytes::from_static(b"{}")).await.unwrap();
    drop(store);
    let store = open(&config, OURS, Credentials::default()).await.unwrap();
    assert_eq!(store.fetch("/suite/x").await.unwrap().version, version);
    assert!(store.compare_and_delete("/suite/x", version).await.unwrap() > version);
}

#[tokio::test(flavor = "multi_thread")]
async fn folder_that_is_in_use_or_another_services_is_refused() {
    let folder = TempDir::new().unwrap();
    let store = EmbeddedStore::open(folder.path(), OURS, TIMEOUT).await.unwrap();
    let second = EmbeddedStore::open(folder.path(), OURS, TIMEOUT).await;
    assert!(matches!(second, Err(OpenError::Folder { .. })), "{second:?}");
    drop(store);
    let foreign = Namespace { name: OURS.name, prefix: "/other/" };
    let refused = EmbeddedStore::open(folder.path(), foreign, TIMEOUT).await.unwrap_err();
    assert!(refused.to_string().contains("\"/suite/\""), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_commits_at_once_are_all_answered_with_revisions_of_their_own() {
    let folder = TempDir::new().unwrap();
    let store = Arc::new(EmbeddedStore::open(folder.path(), OURS, TIMEOUT).await.unwrap());
    let commits = (0..500).map(|number| {
        let store = Arc::clone(&store);
        async move { store.create(&format!("/suite/{number}"), Bytes::from_static(b"1")).await.unwrap() }
    });
    let mut versions: Vec<Version> = join_all(commits).await;
    versions.sort_unstable();
    let wanted: Vec<Version> = (1..=500).map(Version).collect();
    assert_eq!(versions, wanted);
}
