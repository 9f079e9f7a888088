//! Users: who they are, and what they may do, at whichever node.

use std::time::{Duration, Instant};

use chainfire_proto::etcdserverpb::{
    AuthDisableRequest, AuthRoleGetRequest, AuthStatusRequest, AuthUserChangePasswordRequest,
    AuthUserGetRequest, AuthUserListRequest, PutRequest, RangeRequest,
};
use tonic::Code;

use crate::{
    cloud::{Cloud, wait_for},
    users::{auth, enable, token, with},
};

fn put(key: &'static str) -> PutRequest {
    PutRequest { key: key.into(), ..PutRequest::default() }
}

fn get(key: &'static str) -> RangeRequest {
    RangeRequest { key: key.into(), ..RangeRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_of_one_node_is_good_at_every_node_and_allows_what_the_user_may() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    enable(&nodes[1]).await;
    let alice = token(&nodes[2], "alice", "alice's").await.unwrap();
    let forged = alice.replace(".alice", ".root");
    for node in &nodes {
        node.kv().put(with(&alice, put("a"))).await.unwrap();
        node.kv().range(with(&alice, get("a"))).await.unwrap();
        let refused = [
            node.kv().put(with(&alice, put("b"))).await.unwrap_err(),
            node.kv().range(with(&alice, get("b"))).await.unwrap_err(),
            auth(node).user_list(with(&alice, AuthUserListRequest {})).await.unwrap_err(),
            node.kv().put(put("a")).await.unwrap_err(),
            node.kv().put(with(&forged, put("a"))).await.unwrap_err(),
            token(node, "alice", "guessed").await.unwrap_err(),
        ];
        let codes = refused.map(|status| (status.code(), status.message().to_owned()));
        let expected = [
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::PermissionDenied, "etcdserver: permission denied"),
            (Code::InvalidArgument, "etcdserver: user name is empty"),
            (Code::Unauthenticated, "etcdserver: invalid auth token"),
            (Code::InvalidArgument, "etcdserver: authentication failed, invalid user ID or password"),
        ];
        assert_eq!(codes, expected.map(|(code, words)| (code, words.to_owned())));
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_knows_what_they_may_do_and_root_what_everybody_may() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    enable(&node).await;
    let (alice, root) =
        (token(&node, "alice", "alice's").await.unwrap(), token(&node, "root", "root's").await.unwrap());
    let of = |name: &str| AuthUserGetRequest { name: name.to_owned() };
    assert_eq!(auth(&node).user_get(with(&alice, of("alice"))).await.unwrap().into_inner().roles, ["a"]);
    let other = auth(&node).user_get(with(&alice, of("root"))).await.unwrap_err();
    assert_eq!(other.code(), Code::PermissionDenied);
    let role = AuthRoleGetRequest { role: "a".to_owned() };
    assert_eq!(auth(&node).role_get(with(&alice, role)).await.unwrap().into_inner().perm.len(), 1);
    let users = auth(&node).user_list(with(&root, AuthUserListRequest {})).await.unwrap().into_inner().users;
    assert_eq!(users, ["alice", "root"]);
    let status = auth(&node).auth_status(with(&root, AuthStatusRequest {})).await.unwrap().into_inner();
    assert!(status.enabled && status.auth_revision > 1);
    auth(&node).auth_disable(with(&root, AuthDisableRequest {})).await.unwrap();
    node.kv().put(put("anything")).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn new_password_makes_old_tokens_worthless_and_nobody_elses() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    enable(&node).await;
    let (alice, root) =
        (token(&node, "alice", "alice's").await.unwrap(), token(&node, "root", "root's").await.unwrap());
    let (name, password) = ("alice".to_owned(), "new".to_owned());
    let change = AuthUserChangePasswordRequest { name, password, ..AuthUserChangePasswordRequest::default() };
    auth(&node).user_change_password(with(&root, change)).await.unwrap();
    let old = node.kv().put(with(&alice, put("a"))).await.unwrap_err();
    assert_eq!(old.message(), "etcdserver: invalid auth token");
    let alice = token(&node, "alice", "new").await.unwrap();
    node.kv().put(with(&alice, put("a"))).await.unwrap();
    node.kv().put(with(&root, put("b"))).await.unwrap();
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_that_is_not_used_for_its_lifetime_is_worthless_and_another_one_is_to_be_had() {
    let cloud = Cloud::new();
    let node = cloud.single_with(|config| config.client.token_ttl_s = 1).await;
    enable(&node).await;
    let (first, given) = (token(&node, "alice", "alice's").await.unwrap(), Instant::now());
    wait_for("its time is over", async || (given.elapsed() > Duration::from_secs(1)).then_some(())).await;
    let ended = node.kv().put(with(&first, put("a"))).await.unwrap_err();
    assert_eq!((ended.code(), ended.message()), (Code::Unauthenticated, "etcdserver: invalid auth token"));
    let used = async || {
        let next = token(&node, "alice", "alice's").await.unwrap();
        // On a slow machine its time may be over already.
        node.kv().put(with(&next, put("a"))).await.ok()
    };
    wait_for("another one is used in time", used).await;
    node.stop().await;
}
