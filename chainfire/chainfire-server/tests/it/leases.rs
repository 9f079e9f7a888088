//! Leases: kept alive through any node, ended by nobody but time and their owners.

use std::time::Duration;

use chainfire_proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseLeasesRequest, LeaseRevokeRequest, LeaseTimeToLiveRequest,
    LeaseTimeToLiveResponse, MoveLeaderRequest, PutRequest, lease_client::LeaseClient,
};
use futures::{StreamExt as _, stream};
use tonic::{Code, Status, transport::Channel};

use crate::cloud::{Cloud, Running, wait_for};

fn leases(node: &Running) -> LeaseClient<Channel> {
    LeaseClient::new(node.channel.clone())
}

async fn grant(node: &Running, ttl: i64) -> i64 {
    leases(node).lease_grant(LeaseGrantRequest { ttl, id: 0 }).await.unwrap().into_inner().id
}

async fn put(node: &Running, key: &'static str, lease: i64) {
    let put = PutRequest { key: key.into(), lease, ..PutRequest::default() };
    node.kv().put(put).await.unwrap();
}

/// A key with a lease that is over soon.
async fn put_short_lived(node: &Running, key: &'static str) -> i64 {
    let id = async || {
        let id = grant(node, 2).await;
        let put = PutRequest { key: key.into(), lease: id, ..PutRequest::default() };
        // On a slow machine it may be over already.
        node.kv().put(put).await.ok().map(|_| id)
    };
    wait_for("a key is put in time", id).await
}

/// Keeps a lease alive, as soon as there is a leader; its time, or 0.
async fn keep_alive(node: &Running, id: i64) -> i64 {
    wait_for("it is kept alive", async || try_to_keep_alive(node, id).await.ok()).await
}

async fn try_to_keep_alive(node: &Running, id: i64) -> Result<i64, Status> {
    let answers = leases(node).lease_keep_alive(stream::iter([LeaseKeepAliveRequest { id }])).await?;
    Ok(answers.into_inner().message().await?.unwrap().ttl)
}

async fn time_to_live(node: &Running, id: i64) -> LeaseTimeToLiveResponse {
    let request = LeaseTimeToLiveRequest { id, keys: true };
    let answer = async || leases(node).lease_time_to_live(request).await.ok();
    wait_for("it is known what is left", answer).await.into_inner()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_is_the_same_at_every_node() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let id = grant(&nodes[1], 600).await;
    put(&nodes[2], "leased", id).await;
    for node in &nodes {
        let kept = keep_alive(node, id).await;
        assert_eq!(kept, 600);
        let left = time_to_live(node, id).await;
        assert!(left.granted_ttl == 600 && (500..=600).contains(&left.ttl), "{left:?}");
        assert_eq!(left.keys, ["leased"]);
        let all = leases(node).lease_leases(LeaseLeasesRequest {}).await.unwrap().into_inner().leases;
        assert!(all.iter().map(|lease| lease.id).eq([id]));
        assert_eq!(keep_alive(node, id + 1).await, 0);
        assert_eq!(time_to_live(node, id + 1).await.ttl, -1);
    }
    leases(&nodes[2]).lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
    assert_eq!(nodes[1].get("leased").await, None);
    let again = leases(&nodes[0]).lease_revoke(LeaseRevokeRequest { id }).await.unwrap_err();
    assert_eq!((again.code(), again.message()), (Code::NotFound, "etcdserver: requested lease not found"));
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_nobody_keeps_alive_ends_with_its_keys_and_the_others_stay() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let long = grant(&nodes[1], 600).await;
    put(&nodes[1], "long", long).await;
    let short = put_short_lived(&nodes[1], "short").await;
    wait_for("the lease ends", async || nodes[2].get("short").await.is_none().then_some(())).await;
    assert_eq!(keep_alive(&nodes[1], short).await, 0);
    assert!(nodes[2].get("long").await.is_some());
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_outlives_the_leader_and_ends_under_the_next_one() {
    let cloud = Cloud::new();
    let mut nodes = cloud.three().await;
    let kept = grant(&nodes[1], 600).await;
    put(&nodes[1], "kept", kept).await;
    put_short_lived(&nodes[1], "short").await;
    nodes.remove(0).stop().await;
    let node = &nodes[0];
    let alive = keep_alive(node, kept).await;
    assert_eq!(alive, 600);
    let gone = async || {
        let range = node.range("short", "").await.ok()?;
        range.kvs.is_empty().then_some(())
    };
    wait_for("the lease ends", gone).await;
    assert!(node.get("kept").await.is_some());
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_keeps_many_leases_alive() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let ids = [grant(&node, 60).await, grant(&node, 70).await];
    let requests = stream::iter([ids[0], ids[1], ids[0]]).map(|id| LeaseKeepAliveRequest { id });
    let answers = leases(&node).lease_keep_alive(requests).await.unwrap().into_inner();
    let answers: Vec<_> =
        answers.map(|answer| answer.map(|answer| (answer.id, answer.ttl)).unwrap()).collect().await;
    assert_eq!(answers, [(ids[0], 60), (ids[1], 70), (ids[0], 60)]);
    let grant = LeaseGrantRequest { ttl: 5, id: ids[0] };
    let taken = leases(&node).lease_grant(grant).await.unwrap_err();
    assert_eq!(taken.message(), "etcdserver: lease already exists");
    tokio::time::timeout(Duration::from_secs(30), node.stop()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lease_that_nobody_keeps_alive_does_not_begin_anew_under_the_next_leader() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let left_alone = grant(&nodes[0], 12).await;
    let nearly_over = async || (time_to_live(&nodes[0], left_alone).await.ttl <= 2).then_some(());
    wait_for("most of its time is gone", nearly_over).await;
    let kept = grant(&nodes[0], 12).await;
    let target_id = nodes[1].config.node.id;
    nodes[0].maintenance().move_leader(MoveLeaderRequest { target_id }).await.unwrap();
    let left = time_to_live(&nodes[1], left_alone).await;
    assert!(left.ttl <= 6, "{left:?}");
    assert_eq!(keep_alive(&nodes[2], kept).await, 12);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn holder_that_comes_late_has_the_whole_time_again() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let id = grant(&node, 12).await;
    let half_is_gone = async || (time_to_live(&node, id).await.ttl <= 4).then_some(());
    wait_for("half of its time is gone", half_is_gone).await;
    if keep_alive(&node, id).await > 0 {
        let left = time_to_live(&node, id).await;
        assert!(left.ttl > 4, "{left:?}");
    }
    node.stop().await;
}
