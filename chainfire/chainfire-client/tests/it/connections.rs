//! Who may connect, and what becomes of a client whose node ends.

use chainfire_client::{Client, ClientConfig, Error, Revision, WatchRequest};
use chainfire_proto::KeyRange;
use futures::StreamExt as _;
use photon_runtime::OpenTls;

use crate::{
    calls::{client, config, exists, put},
    cloud::Cloud,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_no_certificate_of_the_cloud_gets_no_answer_where_one_is_asked_for() {
    let (cloud, other) = (Cloud::new(), Cloud::new());
    let nodes = [cloud.single().await];
    let member = Client::connect(config(&nodes, cloud.member())).await.unwrap();
    put(&member, "a").await.unwrap();
    let stranger = other.member();
    let stranger = photon_runtime::ClientTls { identity_pem: stranger.identity_pem, ..cloud.anonymous() };
    for credentials in [cloud.anonymous(), stranger, other.member()] {
        let soon = std::time::Duration::from_secs(1);
        let config = ClientConfig { request_timeout: soon, ..config(&nodes, credentials) };
        let refused = put(&Client::new(config).unwrap(), "b").await.unwrap_err();
        assert!(!refused.is_definite(), "{refused:?}");
    }
    assert!(!exists(&member, "b").await.unwrap());
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_believes_the_cloud_is_served_where_no_certificate_is_asked_for() {
    let (cloud, other) = (Cloud::new(), Cloud::new());
    let nodes = [cloud.single_with(|config| config.client.tls = OpenTls::Server).await];
    let anybody = Client::connect(config(&nodes, cloud.anonymous())).await.unwrap();
    put(&anybody, "a").await.unwrap();
    let elsewhere = Client::connect(config(&nodes, other.anonymous())).await;
    assert!(matches!(elsewhere, Err(Error::Unavailable { .. })));
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_and_its_watch_go_on_when_any_node_ends() {
    let cloud = Cloud::new();
    let mut nodes = cloud.three().await;
    let client = client(&cloud, &nodes);
    let range = KeyRange::new("a", "z");
    let request = WatchRequest { range, from: 0, prev_kv: false };
    let mut watch = client.watch(request).await.unwrap();
    put(&client, "before").await.unwrap();
    nodes.remove(0).stop().await;
    put(&client, "meanwhile").await.unwrap();
    put(&client, "after").await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let Revision { events, .. } = watch.next().await.unwrap().unwrap();
        seen.extend(events.into_iter().map(|event| event.kv.unwrap().key));
    }
    assert_eq!(seen, [&b"before"[..], b"meanwhile", b"after"]);
    for node in nodes {
        node.stop().await;
    }
}
