//! What the leader forgets, and what callers are told who ask for it.

use flaredb_client::{Error, ScanRequest, Swap};
use flaredb_proto::v1::{NamespaceMode, RawPutRequest, kv_raw_client::KvRawClient};
use flaredb_server::Config;
use futures::TryStreamExt as _;
use tonic::Code;

use crate::cloud::{Cloud, Running, create, free_address, wait_for};

async fn forgetful(cloud: &Cloud, set: impl FnOnce(&mut Config)) -> Running {
    let address = free_address();
    let mut config = cloud.config(1, address, &[address]);
    config.storage.history_check_ms = 20;
    set(&mut config);
    cloud.start(config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgotten_revisions_are_said_to_be_too_old_and_records_stay() {
    let cloud = Cloud::new();
    let node = forgetful(&cloud, |config| {
        config.storage.history_revisions_max = 5;
        config.storage.history_age_min_ms = 0;
    })
    .await;
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    for version in 0..20 {
        assert_eq!(client.cas_put("notes", "k", "v", version).await.unwrap(), Swap::Done(version + 1));
    }
    let oldest = wait_for("history is forgotten", async || {
        let namespace = client.namespaces().describe("notes").await.unwrap();
        (namespace.oldest_revision == 16).then_some(namespace.oldest_revision)
    })
    .await;
    let watched = async { client.watch("notes", "", 1).await?.try_next().await };
    assert!(matches!(watched.await, Err(Error::TooOld { requested: 1, oldest: 16 })));
    let page = |revision| ScanRequest { namespace: "notes".to_owned(), revision, ..ScanRequest::default() };
    assert!(matches!(client.scan_page(page(1)).await, Err(Error::TooOld { .. })));
    assert_eq!(client.scan_page(page(oldest)).await.unwrap().records[0].version, oldest);
    assert_eq!(client.get("notes", "k").await.unwrap().record.unwrap().version, 20);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_record_stays_dead_after_its_tombstone_is_collected() {
    let cloud = Cloud::new();
    let node = forgetful(&cloud, |config| config.storage.tombstone_retention_ms = 100).await;
    let client = cloud.client([&node]);
    create(&client, "sessions", NamespaceMode::Eventual).await;
    let put = client.raw_put("sessions", "k", "v").await.unwrap();
    client.raw_delete("sessions", "k").await.unwrap();
    wait_for("the tombstone is collected", async || {
        (client.namespaces().describe("sessions").await.unwrap().oldest_ts > put.ts).then_some(())
    })
    .await;
    let mut raw = KvRawClient::new(node.caller(&cloud.operator()).await);
    let late = RawPutRequest {
        namespace: "sessions".to_owned(),
        key: "k".into(),
        value: "late".into(),
        ts: put.ts,
        origin: 1,
    };
    let refused = raw.raw_put(late).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().starts_with("ts: "), "{}", refused.message());
    assert_eq!(client.raw_get("sessions", "k").await.unwrap().record, None);
    node.stop().await;
}
