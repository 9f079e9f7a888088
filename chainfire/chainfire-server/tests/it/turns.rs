//! Locks and elections: one at a time, in order, and never without a living lease.

use chainfire_proto::{
    etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, lease_client::LeaseClient},
    v3electionpb::{
        CampaignRequest, LeaderKey, LeaderRequest, ProclaimRequest, ResignRequest,
        election_client::ElectionClient,
    },
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, lock_client::LockClient},
};
use tokio::task::JoinSet;
use tonic::{Code, Status, transport::Channel};

use crate::cloud::{Cloud, Running, wait_for};

async fn lease(node: &Running) -> i64 {
    let grant = LeaseGrantRequest { ttl: 600, id: 0 };
    LeaseClient::new(node.channel.clone()).lease_grant(grant).await.unwrap().into_inner().id
}

async fn revoke(node: &Running, id: i64) {
    LeaseClient::new(node.channel.clone()).lease_revoke(LeaseRevokeRequest { id }).await.unwrap();
}

fn locks(node: &Running) -> LockClient<Channel> {
    LockClient::new(node.channel.clone())
}

fn elections(node: &Running) -> ElectionClient<Channel> {
    ElectionClient::new(node.channel.clone())
}

/// One who waits for the lock.
fn wait_for_lock(node: &Running, lease: i64) -> JoinSet<Result<LockResponse, Status>> {
    let (mut locks, mut waiting) = (locks(node), JoinSet::new());
    waiting.spawn(async move { Ok(locks.lock(lock(lease)).await?.into_inner()) });
    waiting
}

fn lock(lease: i64) -> LockRequest {
    LockRequest { name: "job".into(), lease }
}

/// Waits until so many stand under a name.
async fn queued(node: &Running, name: &str, many: i64) {
    let (start, end) = (format!("{name}/"), format!("{name}0"));
    wait_for("they wait", async || (node.range(&start, &end).await.ok()?.count == many).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_goes_from_holder_to_holder_with_a_rising_token() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let first = locks(&nodes[1]).lock(lock(lease(&nodes[1]).await)).await.unwrap().into_inner();
    let token =
        nodes[1].range(std::str::from_utf8(&first.key).unwrap(), "").await.unwrap().kvs[0].create_revision;
    let mut waiting = wait_for_lock(&nodes[2], lease(&nodes[2]).await);
    queued(&nodes[1], "job", 2).await;
    assert!(waiting.try_join_next().is_none());
    locks(&nodes[0]).unlock(UnlockRequest { key: first.key }).await.unwrap();
    let second = waiting.join_next().await.unwrap().unwrap().unwrap();
    let next =
        nodes[1].range(std::str::from_utf8(&second.key).unwrap(), "").await.unwrap().kvs[0].create_revision;
    assert!(next > token);
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lock_is_not_had_without_a_living_lease() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let (holder, waiter) = (lease(&node).await, lease(&node).await);
    locks(&node).lock(lock(holder)).await.unwrap();
    let mut waiting = wait_for_lock(&node, waiter);
    queued(&node, "job", 2).await;
    revoke(&node, waiter).await;
    revoke(&node, holder).await;
    let refused = waiting.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::NotFound, "etcdserver: requested lease not found")
    );
    let none = locks(&node).lock(lock(waiter)).await.unwrap_err();
    assert_eq!(none.message(), "etcdserver: requested lease not found");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stops_waiting_for_a_lock_is_in_nobodys_way() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let held = locks(&node).lock(lock(lease(&node).await)).await.unwrap().into_inner();
    let waiting = wait_for_lock(&node, lease(&node).await);
    queued(&node, "job", 2).await;
    drop(waiting);
    queued(&node, "job", 1).await;
    locks(&node).unlock(UnlockRequest { key: held.key }).await.unwrap();
    locks(&node).lock(lock(0)).await.unwrap();
    node.stop().await;
}

async fn campaign(node: &Running, value: &'static str) -> LeaderKey {
    let campaign = CampaignRequest { name: "boss".into(), lease: lease(node).await, value: value.into() };
    elections(node).campaign(campaign).await.unwrap().into_inner().leader.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_observe_an_election_see_each_leader() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let name = || LeaderRequest { name: "boss".into() };
    let none = elections(&nodes[1]).leader(name()).await.unwrap_err();
    assert_eq!(none.message(), "election: no leader");
    let mut observed = elections(&nodes[2]).observe(name()).await.unwrap().into_inner();
    let first = campaign(&nodes[1], "one").await;
    let seen = async |observed: &mut tonic::Streaming<_>| {
        let answer: chainfire_proto::v3electionpb::LeaderResponse =
            observed.message().await.unwrap().unwrap();
        String::from_utf8(answer.kv.unwrap().value.to_vec()).unwrap()
    };
    assert_eq!(seen(&mut observed).await, "one");
    let proclaim = ProclaimRequest { leader: Some(first.clone()), value: "still one".into() };
    elections(&nodes[0]).proclaim(proclaim.clone()).await.unwrap();
    assert_eq!(seen(&mut observed).await, "still one");
    elections(&nodes[0]).resign(ResignRequest { leader: Some(first) }).await.unwrap();
    let late = elections(&nodes[0]).proclaim(proclaim).await.unwrap_err();
    assert_eq!(late.message(), "election: not leader");
    campaign(&nodes[0], "two").await;
    assert_eq!(seen(&mut observed).await, "two");
    let leader = elections(&nodes[1]).leader(name()).await.unwrap().into_inner().kv.unwrap();
    assert_eq!(&leader.value[..], b"two");
    for node in nodes {
        node.stop().await;
    }
}
