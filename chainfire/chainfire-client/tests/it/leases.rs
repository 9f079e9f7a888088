//! Leases: kept by whoever awaits it, at whichever node is there.

use std::time::Duration;

use chainfire_client::Error;

use crate::{
    calls::{client, exists, put_under},
    cloud::{Cloud, wait_for},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_is_kept_alive_has_its_whole_time_again_and_again() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let client = client(&cloud, &nodes);
    let (id, ttl_s) = client.grant(12).await.unwrap();
    assert_eq!(ttl_s, 12);
    put_under(&client, "kept", id).await.unwrap();
    let left = async |wanted: fn(i64) -> bool| {
        let left = async || client.time_to_live(id).await.unwrap().filter(|left| wanted(*left));
        wait_for("so much of it is left", left).await
    };
    let watched = async {
        for _ in 0..2 {
            left(|seconds| seconds <= 9).await;
            left(|seconds| seconds > 9).await;
        }
    };
    let keep = client.keep_alive(id);
    tokio::select! {
        () = watched => {}
        error = keep.until_lost() => panic!("it was lost: {error}"),
    }
    assert!(exists(&client, "kept").await.unwrap());
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_is_revoked_takes_its_keys_and_is_kept_by_nobody() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let client = client(&cloud, &nodes);
    let (id, _) = client.grant(600).await.unwrap();
    put_under(&client, "leased", id).await.unwrap();
    assert_eq!(client.keep_alive(id).renew().await.unwrap(), Duration::from_secs(600));
    client.revoke(id).await.unwrap();
    client.revoke(id).await.unwrap();
    assert!(!exists(&client, "leased").await.unwrap());
    assert_eq!(client.time_to_live(id).await.unwrap(), None);
    assert!(matches!(client.keep_alive(id).renew().await, Err(Error::NotFound { .. })));
    assert!(matches!(client.keep_alive(id).until_lost().await, Error::NotFound { .. }));
    assert!(matches!(put_under(&client, "leased", id).await, Err(Error::NotFound { .. })));
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_kept_when_the_node_that_leads_ends() {
    let cloud = Cloud::new();
    let mut nodes = cloud.three().await;
    let client = client(&cloud, &nodes);
    let (id, _) = client.grant(600).await.unwrap();
    put_under(&client, "kept", id).await.unwrap();
    nodes.remove(0).stop().await;
    assert_eq!(client.keep_alive(id).renew().await.unwrap(), Duration::from_secs(600));
    assert!(exists(&client, "kept").await.unwrap());
    for node in nodes {
        node.stop().await;
    }
}
