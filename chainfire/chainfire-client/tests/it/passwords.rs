//! Users: a password becomes a token, and a token that is worthless another one, without the caller's doing.

use std::time::{Duration, Instant};

use chainfire_client::Error;
use chainfire_proto::etcdserverpb::{AuthDisableRequest, AuthEnableRequest};

use crate::{
    calls::{client, client_of, exists, put},
    cloud::{Cloud, Running, wait_for},
    users::{auth, enable, token, with},
};

/// Lets everybody do everything, and then asks for passwords again; the key of tokens is another one then.
async fn enable_anew(node: &Running) {
    let root = token(node, "root", "root's").await.unwrap();
    auth(node).auth_disable(with(&root, AuthDisableRequest {})).await.unwrap();
    auth(node).auth_enable(AuthEnableRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_may_do_what_the_roles_allow_and_nobody_else_anything() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    enable(&nodes[0]).await;
    let alice = client_of(&cloud, &nodes, "alice", "alice's");
    put(&alice, "a").await.unwrap();
    assert!(exists(&alice, "a").await.unwrap());
    let refused = [
        put(&alice, "b").await.unwrap_err(),
        exists(&alice, "b").await.unwrap_err(),
        put(&client_of(&cloud, &nodes, "alice", "guessed"), "a").await.unwrap_err(),
        put(&client_of(&cloud, &nodes, "nobody", "nobody's"), "a").await.unwrap_err(),
        put(&client(&cloud, &nodes), "a").await.unwrap_err(),
    ];
    assert!(refused.iter().all(|error| matches!(error, Error::Denied { .. })), "{refused:?}");
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_that_has_become_worthless_is_replaced_unnoticed() {
    let cloud = Cloud::new();
    let nodes = [cloud.single().await];
    enable(&nodes[0]).await;
    let alice = client_of(&cloud, &nodes, "alice", "alice's");
    put(&alice, "a").await.unwrap();
    // The newest key and the one before it are good.
    enable_anew(&nodes[0]).await;
    put(&alice, "a").await.unwrap();
    enable_anew(&nodes[0]).await;
    put(&alice, "a").await.unwrap();
    assert!(exists(&alice, "a").await.unwrap());
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_that_was_not_used_for_its_lifetime_is_replaced_unnoticed() {
    let cloud = Cloud::new();
    let nodes = [cloud.single_with(|config| config.client.token_ttl_s = 3).await];
    enable(&nodes[0]).await;
    let alice = client_of(&cloud, &nodes, "alice", "alice's");
    put(&alice, "a").await.unwrap();
    let used = Instant::now();
    wait_for("its time is over", async || (used.elapsed() > Duration::from_secs(3)).then_some(())).await;
    put(&alice, "a").await.unwrap();
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn user_is_served_before_passwords_are_asked_for_and_after() {
    let cloud = Cloud::new();
    let nodes = [cloud.single().await];
    let alice = client_of(&cloud, &nodes, "alice", "alice's");
    put(&alice, "other").await.unwrap();
    enable(&nodes[0]).await;
    put(&alice, "a").await.unwrap();
    assert!(matches!(put(&alice, "other").await, Err(Error::Denied { .. })));
    let root = token(&nodes[0], "root", "root's").await.unwrap();
    auth(&nodes[0]).auth_disable(with(&root, AuthDisableRequest {})).await.unwrap();
    put(&alice, "other").await.unwrap();
    for node in nodes {
        node.stop().await;
    }
}
