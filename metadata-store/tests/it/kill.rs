//! A process that is killed with `kill -9` while it writes: everything that it acknowledged is there.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Command, Stdio},
};

use bytes::Bytes;
use metadata_store::{EmbeddedStore, MetadataStore, Version};
use tempfile::TempDir;

use crate::harness::{OURS, TIMEOUT};

const FOLDER: &str = "METADATA_STORE_TEST_FOLDER";
const ACKNOWLEDGED: usize = 200;

/// The process to be killed is this test again, told by the environment to be the writer.
#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_kill_9() {
    match std::env::var_os(FOLDER) {
        Some(folder) => write_until_killed(folder.as_ref()).await,
        None => kill_while_it_writes().await,
    }
}

/// Prints what was acknowledged. It ends as well when nobody reads that any more.
async fn write_until_killed(folder: &Path) {
    let store = EmbeddedStore::open(folder, OURS, TIMEOUT).await.unwrap();
    for number in 0.. {
        let key = format!("/suite/{number}");
        let version = store.create(&key, Bytes::from_static(b"{}")).await.unwrap();
        let mut out = std::io::stdout().lock();
        writeln!(out, "acknowledged {number} {version}").unwrap();
        out.flush().unwrap();
    }
}

async fn kill_while_it_writes() {
    let folder = TempDir::new().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::acknowledged_commits_survive_kill_9", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    let mut kill = Some(());
    for line in lines {
        let line = line.unwrap();
        let Some((_, rest)) = line.split_once("acknowledged ") else { continue };
        // The last line may have been cut by the kill.
        let Some((number, version)) = rest.split_once(' ') else { continue };
        acknowledged.push((number.to_owned(), version.to_owned()));
        if acknowledged.len() == ACKNOWLEDGED && kill.take().is_some() {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= ACKNOWLEDGED, "only {} commits", acknowledged.len());
    let store = EmbeddedStore::open(folder.path(), OURS, TIMEOUT).await.unwrap();
    for (number, version) in acknowledged {
        let found = store.get(&format!("/suite/{number}"), Version::ABSENT).await.unwrap();
        assert_eq!(found.map(|record| record.version.to_string()), Some(version), "of {number}");
    }
}
