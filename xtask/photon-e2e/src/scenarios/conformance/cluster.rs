//! FlareDB's nodes as what keeps the data.
//!
//! They retain little history, so that the suite can get behind it by writing on.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use metadata_store::{
    Cause, Commit, MetadataStore, Namespace, StoreError, Version, Write, conformance::Harness,
};
use tokio::{sync::Mutex, task::JoinSet};

use super::NAMESPACE;
use crate::{
    cloud::{Cloud, Layout},
    wait::Patience,
};

/// Revisions that history keeps for certain.
const RETAINED: u64 = 1_000;
const STORAGE: &str =
    "\n[storage]\nhistory_revisions_max = 1000\nhistory_age_min_ms = 5000\nhistory_check_ms = 200\n";
const COMPACTED_AT_MOST: Duration = Duration::from_secs(60);
const WRITERS: usize = 32;

/// A cloud without FlashDNS.
#[derive(Debug)]
pub(super) struct Cluster {
    cloud: Mutex<Cloud>,
    nodes: usize,
}

impl Cluster {
    /// Starts it.
    ///
    /// # Errors
    /// When a node does not become ready.
    pub(super) async fn start(folder: &Path, nodes: usize) -> Result<Self> {
        let layout =
            Layout { nodes, dns: false, services: &[NAMESPACE.name], storage: STORAGE, ..Layout::default() };
        Ok(Self { cloud: Mutex::new(Cloud::start(folder, layout).await?), nodes })
    }

    /// The oldest revision that history retains.
    async fn oldest(&self) -> Result<u64> {
        let client = self.cloud.lock().await.rdb().await?;
        Ok(client.namespaces().describe(NAMESPACE.name).await?.oldest_revision)
    }

    /// As many revisions as history keeps.
    async fn write_on(&self) -> Result<()> {
        let store = self.cloud.lock().await.store(NAMESPACE).await?;
        let mut writes = JoinSet::new();
        for number in 0..=RETAINED {
            if writes.len() == WRITERS {
                writes.join_next().await.context("no write was on its way")???;
            }
            let (store, key) = (Arc::clone(&store), format!("{}filler/{number}", NAMESPACE.prefix));
            writes.spawn(async move { anyhow::Ok(touch(store.as_ref(), &key).await?) });
        }
        writes.join_all().await.into_iter().collect()
    }

    async fn crash(&self) -> Result<()> {
        let mut cloud = self.cloud.lock().await;
        for node in 0..self.nodes {
            cloud.kill_9(node)?;
        }
        for node in 0..self.nodes {
            cloud.start_node(node)?;
        }
        cloud.ready().await
    }
}

/// One revision.
async fn touch(store: &dyn MetadataStore, key: &str) -> Result<(), StoreError> {
    let write = Write::Put { key: key.to_owned(), value: "{}".into() };
    store.commit(Commit { writes: vec![write], ..Commit::default() }).await.map(drop)
}

#[async_trait]
impl Harness for Cluster {
    fn namespace(&self) -> Namespace {
        NAMESPACE
    }

    async fn connect(&self) -> Result<Arc<dyn MetadataStore>, Cause> {
        Ok(self.cloud.lock().await.store(NAMESPACE).await?)
    }

    async fn crash(&self) -> Result<(), Cause> {
        Ok(Self::crash(self).await?)
    }

    async fn compact(&self, up_to: Version) -> Result<(), Cause> {
        self.write_on().await.context("history was not written on")?;
        let patience = Patience::new("history to be forgotten", COMPACTED_AT_MOST);
        while self.oldest().await? <= up_to.0 {
            patience.look_again().await?;
        }
        Ok(())
    }
}
