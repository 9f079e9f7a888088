//! Processes that serve etcd's API as what keeps the data.

use std::{path::Path, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;
use metadata_store::{Cause, MetadataStore, Namespace, Version, conformance::Harness};
use tokio::sync::Mutex;

use super::NAMESPACE;
use crate::etcd::{Etcd, free_ports};

/// A cluster in plaintext.
#[derive(Debug)]
pub(super) struct Keys(Mutex<Etcd>);

impl Keys {
    /// Starts etcd's own.
    ///
    /// # Errors
    /// When nobody leads in time.
    pub(super) async fn etcd(folder: &Path, nodes: usize) -> Result<Self> {
        Ok(Self(Mutex::new(Etcd::start(folder, nodes, None).await?)))
    }

    /// Starts ChainFire's.
    ///
    /// # Errors
    /// When nobody leads in time.
    pub(super) async fn chainfire(folder: &Path, nodes: usize) -> Result<Self> {
        Ok(Self(Mutex::new(Etcd::start_chainfire(folder, &free_ports(nodes)?).await?)))
    }
}

#[async_trait]
impl Harness for Keys {
    fn namespace(&self) -> Namespace {
        NAMESPACE
    }

    async fn connect(&self) -> Result<Arc<dyn MetadataStore>, Cause> {
        Ok(self.0.lock().await.store(NAMESPACE).await?)
    }

    async fn crash(&self) -> Result<(), Cause> {
        Ok(self.0.lock().await.crash().await?)
    }

    async fn compact(&self, up_to: Version) -> Result<(), Cause> {
        let client = self.0.lock().await.client().await?;
        Ok(client.compact(i64::try_from(up_to.0)?).await?)
    }
}
