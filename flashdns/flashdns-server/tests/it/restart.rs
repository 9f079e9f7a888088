//! A restart: what was served is served again at once, with or without the metadata store.

use std::fs;

use flashdns_server::Config;
use metadata_store::{Backend, MetadataConfig};
use tonic::Code;

use crate::{
    dns::{self, Tcp},
    node::{Home, Node, set},
};

/// A configuration whose database is away.
fn without_database(home: &Home) -> Config {
    let config = home.config();
    let metadata = MetadataConfig {
        backend: Backend::Flaredb,
        data_dir: None,
        endpoints: vec!["http://127.0.0.1:1".to_owned()],
        timeout_ms: 500,
        ..MetadataConfig::default()
    };
    Config { metadata, ..config }
}

async fn served_and_stopped() -> Home {
    let node = Node::new().await;
    node.create_zone("example.org").await;
    node.change("example.org", vec![set("www", "A", &["192.0.2.1"])]).await.unwrap();
    node.stop().await
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_answers_from_the_checkpoint_while_the_database_is_away() {
    let home = served_and_stopped().await;
    let config = without_database(&home);
    let node = home.start(config).await;
    assert_eq!(node.dig("www.example.org", "A"), ["192.0.2.1"]);
    assert_eq!(Tcp::connect(node.home.dns).ask("www.example.org", "A").data, ["192.0.2.1"]);
    // It is not ready, says how old its zones are, and answers all the same.
    node.told("zones are as of", false).await;
    let status = node.change("example.org", vec![set("www", "A", &[])]).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert_eq!(node.dig("www.example.org", "A"), ["192.0.2.1"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restart_with_the_database_serves_what_it_says_now() {
    let home = served_and_stopped().await;
    let old = fs::read(home.checkpoint()).unwrap();
    let config = home.config();
    let node = home.start(config).await;
    node.ready().await;
    node.change("example.org", vec![set("www", "A", &["192.0.2.2"])]).await.unwrap();
    let home = node.stop().await;
    // As after a power cut: the checkpoint is older than the database.
    fs::write(home.checkpoint(), old).unwrap();
    let config = home.config();
    let node = home.start(config).await;
    node.ready().await;
    crate::node::wait_for("the newest is served", || node.dig("www.example.org", "A") == ["192.0.2.2"]).await;
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_checkpoint_is_not_served() {
    let home = served_and_stopped().await;
    let mut bytes = fs::read(home.checkpoint()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(home.checkpoint(), bytes).unwrap();
    let config = without_database(&home);
    let node = home.start(config).await;
    assert!(dns::udp(node.home.dns, "www.example.org", "A").data.is_empty());
    node.told("no zones yet", false).await;
    let home = node.stop().await;
    let config = home.config();
    let node = home.start(config).await;
    node.ready().await;
    assert_eq!(node.dig("www.example.org", "A"), ["192.0.2.1"]);
    node.stop().await;
}
