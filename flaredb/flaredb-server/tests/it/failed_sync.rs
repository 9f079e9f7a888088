//! A disk that fails to sync: the process ends at once, without a second try, and nothing of it is acknowledged.
//!
//! A library before libc lets the syncs of a real process fail when a file appears.

use std::{fs, path::Path, process::Stdio, time::Duration};

use flaredb_client::{Error, RdbClient};
use flaredb_proto::v1::NamespaceMode;
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use crate::cloud::{Cloud, create, free_address, wait_for};

/// The library that lets syncs fail.
fn compile(to: &Path) {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/failed_sync.c");
    let mut compiler = std::process::Command::new("cc");
    let compiled = compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(to).arg(source).status();
    assert!(compiled.is_ok_and(|status| status.success()), "this test needs a C compiler, cc");
}

struct Node<'a> {
    cloud: &'a Cloud,
    client: RdbClient,
    config: std::path::PathBuf,
}

impl<'a> Node<'a> {
    fn new(cloud: &'a Cloud) -> Self {
        compile(&cloud.path("failed_sync.so"));
        let address = free_address();
        let config = cloud.config(1, address, &[address]);
        let client = cloud.client_of(vec![config.node.endpoint.clone()]);
        let config = cloud.write("node.json", &serde_json::to_string(&config).unwrap());
        Self { cloud, client, config }
    }

    async fn start(&self) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_flaredb"));
        command.arg("serve").arg("--config").arg(&self.config).env_clear().kill_on_drop(true);
        command.env("LD_PRELOAD", self.cloud.path("failed_sync.so"));
        command.env("FAIL_SYNC", self.cloud.path("fail")).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for("the node answers", async || self.client.namespaces().list().await.ok()).await;
        child
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_sync_ends_the_process_is_not_tried_again_and_acknowledges_nothing() {
    let cloud = Cloud::new();
    let node = Node::new(&cloud);
    let child = node.start().await;
    create(&node.client, "notes", NamespaceMode::Strong).await;
    node.client.cas_put("notes", "before", "v", 0).await.unwrap();
    cloud.write("fail", "");
    let written = node.client.cas_put("notes", "meanwhile", "v", 0).await;
    assert!(matches!(written, Err(Error::Indeterminate { .. } | Error::Unavailable { .. })), "{written:?}");
    let ended = timeout(Duration::from_secs(5), child.wait_with_output()).await.unwrap().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let words = String::from_utf8_lossy(&ended.stderr);
    assert!(words.contains("the Raft log could not be written"), "{words}");
    assert_eq!(fs::read(cloud.path("fail")).unwrap(), b"x", "one sync failed and none was tried after it");
    fs::remove_file(cloud.path("fail")).unwrap();
    let _child = node.start().await;
    assert!(node.client.get("notes", "before").await.unwrap().record.is_some());
    node.client.cas_put("notes", "after", "v", 0).await.unwrap();
}
