//! Which node is asked, how often, and for how long.

use std::time::{Duration, Instant};

use flaredb_client::{ClientConfig, Error, RdbClient};
use flaredb_proto::v1::{CasResponse, GetResponse};
use tokio::task::JoinSet;
use tonic::Status;

use crate::node::{Asked, Node, Step, client, client_of, nobody, redirect};

fn done(new_version: u64) -> Step {
    Step::Cas(CasResponse { success: true, new_version, ..CasResponse::default() })
}

fn found(version: u64) -> Step {
    Step::Get(GetResponse { found: true, value: "v".into(), version, revision: version })
}

#[tokio::test]
async fn redirect_is_followed_and_the_leader_is_remembered() {
    let leader = Node::start([done(7), done(8)]).await;
    let follower = Node::start([Step::Fails(redirect(&leader.address))]).await;
    let client = client(&[&follower]);
    assert_eq!(client.create("n", "a", "v").await.unwrap(), 7);
    assert_eq!(client.create("n", "b", "v").await.unwrap(), 8);
    assert_eq!((follower.asked().len(), leader.asked().len()), (1, 2));
}

#[tokio::test]
async fn write_goes_past_nodes_that_are_down_and_past_a_leader_that_died() {
    let dead = nobody().await;
    let leader = Node::start([done(7)]).await;
    let stale = Node::start([Step::Fails(redirect(&dead)), Step::Fails(redirect(&dead))]).await;
    let endpoints = vec![dead, stale.address.clone(), leader.address.clone()];
    let client = client_of(endpoints, Duration::from_secs(5));
    assert_eq!(client.create("n", "k", "v").await.unwrap(), 7);
}

#[tokio::test]
async fn write_waits_for_a_leader_and_for_a_busy_one() {
    let steps =
        [redirect(""), redirect(""), Status::resource_exhausted("busy"), Status::unavailable("draining")];
    let node = Node::start(steps.map(Step::Fails).into_iter().chain([done(7)])).await;
    assert_eq!(client(&[&node]).create("n", "k", "v").await.unwrap(), 7);
}

#[tokio::test]
async fn read_leaves_a_silent_node_for_another_one() {
    let silent = Node::start([Step::Silence]).await;
    let other = Node::start([found(3)]).await;
    let read = client(&[&silent, &other]).get("n", "k").await.unwrap();
    assert_eq!(read.record.unwrap().version, 3);
}

#[tokio::test]
async fn read_behind_the_revision_that_was_seen_is_refused() {
    let node = Node::start([found(3), found(3)]).await;
    let client = client(&[&node]);
    assert_eq!(client.get_at_least("n", "k", 3).await.unwrap().revision, 3);
    assert!(matches!(client.get_at_least("n", "k", 4).await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn deadline_is_honoured_and_told_to_the_server() {
    let node = Node::always(Status::unavailable("no leader")).await;
    let client = client_of(vec![node.address.clone()], Duration::from_millis(300));
    let started = Instant::now();
    let error = client.create("n", "k", "v").await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { source } if source.message == "no leader"), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(node.asked().len() > 2, "asked {} times", node.asked().len());
    assert_eq!(node.timeouts(), node.asked().len());
}

#[tokio::test]
async fn refusal_is_told_at_once_and_typed() {
    let refusals =
        [Status::unauthenticated("who"), Status::permission_denied("no"), Status::not_found("nowhere")];
    let node = Node::start(refusals.map(Step::Fails)).await;
    let client = client(&[&node]);
    assert!(matches!(client.get("n", "k").await, Err(Error::Unauthenticated { .. })));
    assert!(matches!(client.get("n", "k").await, Err(Error::Denied { .. })));
    assert!(matches!(client.get("n", "k").await, Err(Error::NotFound { message }) if message == "nowhere"));
    assert_eq!(node.asked().len(), 3);
}

#[tokio::test]
async fn what_cannot_be_accepted_is_not_sent() {
    let node = Node::start([]).await;
    let client = client(&[&node]);
    assert!(matches!(client.cas_delete("n", "k", 0).await, Err(Error::Invalid { .. })));
    assert!(matches!(client.create("n", "", "v").await, Err(Error::Invalid { .. })));
    assert!(matches!(client.get("No Name", "k").await, Err(Error::Invalid { .. })));
    let large = vec![0_u8; (1 << 20) + 1];
    assert!(matches!(client.create("n", "k", large).await, Err(Error::TooLarge { what: "value", .. })));
    assert_eq!(node.asked(), Vec::<Asked>::new());
}

#[tokio::test]
async fn token_goes_with_every_call() {
    let node = Node::start([found(1)]).await;
    let config = ClientConfig {
        endpoints: vec![node.address.clone()],
        token: Some("pct_1".to_owned()),
        ..ClientConfig::default()
    };
    RdbClient::connect(config).await.unwrap().get("n", "k").await.unwrap();
    assert_eq!(node.authorization().unwrap(), "Bearer pct_1");
}

#[tokio::test]
async fn connecting_where_nobody_is_says_so() {
    let endpoints = vec![nobody().await, nobody().await];
    let config = ClientConfig { endpoints: endpoints.clone(), ..ClientConfig::default() };
    let error = RdbClient::connect(config).await.unwrap_err();
    assert!(matches!(&error, Error::Unavailable { source } if source.endpoint == endpoints[1]), "{error:?}");
}

#[tokio::test]
async fn clones_call_side_by_side_over_one_client() {
    let node = Node::start((1..=16).map(done)).await;
    let client = client(&[&node]);
    let mut calls = JoinSet::new();
    for number in 0..16 {
        let client = client.clone();
        calls.spawn(async move { client.create("n", format!("k{number}"), "v").await.unwrap() });
    }
    let mut versions = calls.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=16).collect::<Vec<u64>>());
}
