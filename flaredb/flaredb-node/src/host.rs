//! A node's folder, opened: its claim, its database, its log, and the region that it hosts.
//!
//! Opening is strictly ordered: the data folder must be this node's before anything in it is read, and the engine
//! and the log must be open before a peer can reach them.

use std::{path::PathBuf, sync::Arc, time::Duration};

use flaredb_engine::{Durability, Engine, Options, Region, RegionId};
use flaredb_raft::{
    CheckpointConfig, Connector, FatalHook, Group, InitializeError, LogConfig, NodeConfig, Timing,
};

use crate::{
    admission::{WriteLimits, Writes},
    audit::Auditor,
    config::ClusterConfig,
    forming,
    hub::Hub,
    identity::{ClaimError, Identity},
    metrics::Metrics,
    proposals::Proposals,
    quarantine::Quarantine,
    replica::{Commands, Replica},
    space::{Disk, Room},
};

/// What a node must be told before its folder is opened.
#[derive(Debug)]
pub struct Settings {
    /// Who it is.
    pub identity: Identity,
    /// Where its data lives.
    pub data_dir: PathBuf,
    /// Memory of the database and of the log's newest entries.
    pub memory_bytes: u64,
    /// The part of it for the log's newest entries.
    pub log_cache_bytes: u64,
    /// Bytes of the disk that stay free.
    pub space_low_bytes: u64,
    /// How often, at the latest, the state is flushed.
    pub checkpoint_interval: Duration,
    /// Log entries that stay after that.
    pub log_entries_kept: u64,
    /// Timing of the consensus.
    pub timing: Timing,
    /// How peers are reached.
    pub connector: Connector,
}

/// A node with its folder open.
#[derive(Debug)]
pub struct Host {
    /// Who it is.
    pub identity: Identity,
    /// Its database.
    pub engine: Engine,
    /// The host of its regions' consensus.
    pub raft: flaredb_raft::Node,
    /// Where its data is.
    pub disk: Arc<Disk>,
    /// The room that is left there.
    pub room: Arc<Room>,
    /// Whether its replicas are to be trusted.
    pub quarantine: Arc<Quarantine>,
    /// What it counts.
    pub metrics: Metrics,
    /// What the Raft host counts.
    pub raft_metrics: flaredb_raft::Metrics,
}

/// One region on a node: its replica of the state, its Raft group, and what guards the two.
#[derive(Debug)]
pub struct Hosted {
    /// Its id, the same on every node.
    pub id: u64,
    /// This node's replica.
    pub state: Region,
    /// Its consensus.
    pub group: Group,
    /// Who waits for changes.
    pub hub: Arc<Hub>,
    /// Where its commands go in.
    pub proposals: Arc<Proposals>,
    /// Compares the replica with the others.
    pub auditor: Arc<Auditor>,
    /// What the node counts.
    pub metrics: Metrics,
}

/// Why a node could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The data folder is not this node's.
    #[error("the data folder cannot be used")]
    Claim(#[from] ClaimError),
    /// Whether the replica is to be trusted cannot be read.
    #[error("quarantine.json in the data folder could not be read")]
    Quarantine(#[source] std::io::Error),
    /// The state could not be opened.
    #[error("the database in the data folder could not be opened")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The log could not be opened.
    #[error("the Raft log in the data folder could not be opened")]
    Raft(#[from] flaredb_raft::OpenError),
    /// The first membership could not be written.
    #[error("the cluster could not be formed from cluster.initial_members")]
    Initialize(#[from] InitializeError),
}

impl OpenError {
    fn engine(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Engine(Box::new(error))
    }
}

impl Host {
    /// Opens the node's folder.
    ///
    /// # Errors
    /// [`OpenError`]; nothing of another node's or cluster's data is touched.
    pub async fn open(settings: Settings) -> Result<Self, OpenError> {
        settings.identity.claim(&settings.data_dir)?;
        let quarantine = Quarantine::open(&settings.data_dir).map_err(OpenError::Quarantine)?;
        let memory_bytes = settings.memory_bytes.saturating_sub(settings.log_cache_bytes);
        let options = Options { durability: Durability::Flushed, memory_bytes };
        let engine = Engine::open(&settings.data_dir.join("state"), options).map_err(OpenError::engine)?;
        let disk = Arc::new(Disk::new(settings.data_dir.clone(), settings.space_low_bytes));
        let identity = settings.identity.clone();
        let raft_config = raft_config(settings);
        let raft_metrics = raft_config.metrics.clone();
        Ok(Self {
            identity,
            engine,
            raft: flaredb_raft::Node::open(raft_config).await?,
            room: Arc::new(Room::on(Arc::clone(&disk))),
            disk,
            quarantine: Arc::new(quarantine),
            metrics: Metrics::default(),
            raft_metrics,
        })
    }

    /// Starts the node's part in a region, and with it the cluster where this is the node that begins it. `commands`
    /// says what is made of commands, `limits` how many may be under way.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn region<C: Commands, E>(
        &self,
        id: u64,
        limits: WriteLimits,
        cluster: &ClusterConfig,
        commands: impl FnOnce(&Engine, RegionId) -> Result<C, E>,
    ) -> Result<Hosted, OpenError>
    where
        E: std::error::Error + Send + Sync + 'static,
    {
        let commands = commands(&self.engine, RegionId(id)).map_err(OpenError::engine)?;
        let state = commands.state().clone();
        let hub = Arc::new(Hub::new());
        let woken = Arc::clone(&hub);
        state.set_listener(Box::new(move |changed| woken.wake(changed)));
        let auditor = Arc::new(Auditor::new(Arc::clone(&self.quarantine), self.metrics.clone()));
        let replica = Replica { commands, room: Arc::clone(&self.room), auditor: Arc::clone(&auditor) };
        let group = self.raft.region(id, Arc::new(replica)).await?;
        forming::form(&group, self.identity.node_id, cluster).await?;
        let proposals = Proposals {
            group: group.clone(),
            writes: Writes::new(limits),
            room: Arc::clone(&self.room),
            quarantine: Arc::clone(&self.quarantine),
            metrics: self.metrics.clone(),
        };
        let (proposals, metrics) = (Arc::new(proposals), self.metrics.clone());
        Ok(Hosted { id, state, group, hub, proposals, auditor, metrics })
    }
}

fn raft_config(settings: Settings) -> NodeConfig {
    let Identity { node_id, cluster } = settings.identity;
    NodeConfig {
        connector: settings.connector,
        timing: settings.timing,
        checkpoint: CheckpointConfig {
            interval: settings.checkpoint_interval,
            entries_kept: settings.log_entries_kept,
            ..CheckpointConfig::default()
        },
        log: LogConfig {
            cache_bytes_max: usize::try_from(settings.log_cache_bytes).unwrap_or(usize::MAX),
            ..LogConfig::default()
        },
        fatal: FatalHook::new(|_logged| stop_at_once()),
        ..NodeConfig::new(cluster, node_id, settings.data_dir.join("raft"))
    }
}

/// After a failed write or sync nobody knows what is on the disk: nothing may run on, not even a drain.
#[expect(clippy::disallowed_methods, reason = "a drain would go on serving from a disk that has failed")]
fn stop_at_once() {
    std::process::exit(1)
}
