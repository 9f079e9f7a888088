//! Namespaces: their life, their modes, their bounds.

use flaredb_client::Error;
use flaredb_proto::{
    limits::VALUE_BYTES_MAX,
    v1::{
        CasRequest, CreateNamespaceRequest, GetRequest, NamespaceMode, RawGetRequest, RawPutRequest,
        kv_cas_client::KvCasClient, kv_raw_client::KvRawClient,
    },
};
use tonic::Code;

use crate::cloud::{Cloud, create};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn namespace_is_made_listed_described_and_deleted_with_everything_in_it() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    let namespaces = client.namespaces();
    create(&client, "notes", NamespaceMode::Strong).await;
    let again = CreateNamespaceRequest {
        name: "notes".to_owned(),
        mode: NamespaceMode::Eventual.into(),
        ..CreateNamespaceRequest::default()
    };
    assert!(matches!(namespaces.create(again).await, Err(Error::AlreadyExists { .. })));
    client.cas_put("notes", "key", "value", 0).await.unwrap();
    let described = namespaces.describe("notes").await.unwrap();
    assert_eq!((described.mode(), described.keys, described.bytes), (NamespaceMode::Strong, 1, 8));
    assert_eq!(namespaces.list().await.unwrap(), [described]);
    namespaces.delete("notes").await.unwrap();
    assert!(namespaces.list().await.unwrap().is_empty());
    for gone in [
        namespaces.describe("notes").await.map(drop),
        namespaces.delete("notes").await,
        client.get("notes", "key").await.map(drop),
        client.cas_put("notes", "key", "value", 0).await.map(drop),
    ] {
        assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    }
    create(&client, "notes", NamespaceMode::Strong).await;
    assert_eq!(client.get("notes", "key").await.unwrap().record, None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mode_refuses_the_operations_of_the_other_and_says_which_it_is() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    create(&client, "strong", NamespaceMode::Strong).await;
    create(&client, "eventual", NamespaceMode::Eventual).await;
    let caller = node.caller(&cloud.operator()).await;
    let (mut cas, mut raw) = (KvCasClient::new(caller.clone()), KvRawClient::new(caller));
    let (namespace, key) = ("strong".to_owned(), "k".into());
    let put = RawPutRequest { namespace, key, ..RawPutRequest::default() };
    let get = RawGetRequest { namespace: "strong".to_owned(), key: "k".into(), ..RawGetRequest::default() };
    for refused in [raw.raw_put(put).await.map(drop), raw.raw_get(get).await.map(drop)] {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "namespace \"strong\" is strong: this operation is refused there");
    }
    let (namespace, key) = ("eventual".to_owned(), "k".into());
    let put = CasRequest { namespace, key, ..CasRequest::default() };
    let get = GetRequest { namespace: "eventual".to_owned(), key: "k".into() };
    for refused in [cas.compare_and_swap(put).await.map(drop), cas.get(get).await.map(drop)] {
        let status = refused.unwrap_err();
        assert_eq!(status.code(), Code::FailedPrecondition);
        assert_eq!(status.message(), "namespace \"eventual\" is eventual: this operation is refused there");
    }
    let mixed = client.raw_put("strong", "k", "v").await;
    assert!(
        matches!(mixed, Err(Error::WrongMode { namespace, mode }) if namespace == "strong" && mode == "strong")
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_large_or_outside_the_prefix_or_the_quota_changes_nothing() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    let bounded = CreateNamespaceRequest {
        name: "own".to_owned(),
        mode: NamespaceMode::Strong.into(),
        key_prefix: "/own/".into(),
        keys_max: 1,
        ..CreateNamespaceRequest::default()
    };
    client.namespaces().create(bounded).await.unwrap();
    // Past the client's own check, so that it is the server that refuses.
    let mut cas = KvCasClient::new(node.caller(&cloud.operator()).await);
    let put = |key: &'static str, bytes| CasRequest {
        namespace: "own".to_owned(),
        key: key.into(),
        value: vec![7; bytes].into(),
        ..CasRequest::default()
    };
    for (request, field) in [(put("/own/a", VALUE_BYTES_MAX + 1), "value"), (put("/own2/a", 1), "key")] {
        let status = cas.compare_and_swap(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        assert!(status.message().starts_with(field), "{}", status.message());
    }
    assert_eq!(cas.compare_and_swap(put("/own/a", 17 << 20)).await.unwrap_err().code(), Code::OutOfRange);
    let described = client.namespaces().describe("own").await.unwrap();
    assert_eq!((described.keys, described.revision), (0, 0));
    client.cas_put("own", "/own/a", vec![7; VALUE_BYTES_MAX], 0).await.unwrap();
    let full = client.cas_put("own", "/own/b", "", 0).await;
    assert!(matches!(full, Err(Error::NoSpace { limit: 1, .. })), "{full:?}");
    assert_eq!(client.namespaces().describe("own").await.unwrap().revision, 1);
    node.stop().await;
}
