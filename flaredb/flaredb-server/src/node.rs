//! One node of a FlareDB cluster: its data, its log, its regions. Opened here, served by [`crate::server`].

use std::{ops::Deref, sync::Arc, time::Duration};

use flaredb_node::{Admission, Host, Identity, OpenError, Settings};
use flaredb_raft::Connector;
use photon_runtime::{Context, Health};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    config::Config,
    region::{FIRST_REGION, FlareCommands, Region, Regions},
    service::examine::Certificate,
};

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its folder, opened.
    pub(crate) host: Host,
    /// Where it is reached.
    pub(crate) endpoint: String,
    /// What it hosts.
    pub(crate) regions: Regions,
    /// Stamps writes.
    pub(crate) clock: Clock,
    /// Bounds the open watches.
    pub(crate) watches: Admission,
    /// Ends the open watches.
    pub(crate) stop: CancellationToken,
    /// What it serves with.
    pub(crate) certificate: Certificate,
    /// What it needs to be ready, and what of it is missing.
    pub(crate) health: Health,
}

impl Deref for Node {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Node {
    /// Opens the node's folder and starts its part in consensus.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of another node's or cluster's data is touched.
    pub(crate) async fn open(
        config: &Config,
        connector: Connector,
        context: &Context,
    ) -> Result<Self, OpenError> {
        let host = Host::open(settings(config, connector)).await?;
        let open = |engine: &flaredb_engine::Engine, id| engine.region(id).map(FlareCommands);
        let hosted = host.region(FIRST_REGION, config.storage.write_limits(), &config.cluster, open).await?;
        Ok(Self {
            host,
            endpoint: config.node.endpoint.clone(),
            regions: Regions::new([Arc::new(Region::new(Arc::new(hosted)))]),
            clock: Clock::default(),
            watches: Admission::new("watches", config.storage.watches_max),
            stop: context.shutdown.draining().child_token(),
            certificate: context.tls.as_deref().map(Certificate::of).unwrap_or_default(),
            health: context.health.clone(),
        })
    }
}

fn settings(config: &Config, connector: Connector) -> Settings {
    Settings {
        identity: Identity { node_id: config.node.id, cluster: config.cluster.id.clone() },
        data_dir: config.node.data_dir.clone(),
        memory_bytes: config.storage.memory_bytes,
        log_cache_bytes: config.storage.log_cache_bytes(),
        space_low_bytes: config.storage.space_low_bytes,
        checkpoint_interval: Duration::from_millis(config.storage.checkpoint_interval_ms),
        log_entries_kept: config.storage.log_entries_kept,
        timing: config.raft.timing(config.server.request_timeout()),
        connector,
    }
}
