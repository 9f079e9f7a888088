//! One node of a FlareDB cluster: its data, its log, its regions. Opened here, served by [`crate::server`].
//!
//! Opening is strictly ordered: the data folder must be this node's before anything in it is read, and the engine
//! and the log must be open before a peer can reach them. The first start of a cluster is no special mode: a region
//! without a membership gets the configured one, the same whoever gives it, and Raft settles the rest.

use std::{sync::Arc, time::Duration};

use flaredb_engine::{Durability, Engine, Options, RegionId};
use flaredb_raft::{CheckpointConfig, Connector, FatalHook, Group, InitializeError, LogConfig, NodeConfig};
use photon_runtime::{Context, Health};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    admission::{Admission, Writes},
    audit::Auditor,
    clock::Clock,
    config::{ClusterConfig, Config},
    hub::Hub,
    identity::{ClaimError, Identity},
    metrics::Metrics,
    quarantine::Quarantine,
    region::{FIRST_REGION, Region, Regions},
    service::examine::Certificate,
    space::{Disk, Room},
    state_machine::Replica,
};

/// How long each first member leaves it to those before it to begin a new cluster.
const PATIENCE_PER_RANK: Duration = Duration::from_millis(300);

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Who it is.
    pub(crate) identity: Identity,
    /// Where it is reached.
    pub(crate) endpoint: String,
    /// Its database.
    pub(crate) engine: Engine,
    /// What it hosts.
    pub(crate) regions: Regions,
    /// Stamps writes.
    pub(crate) clock: Clock,
    /// Bounds the open watches.
    pub(crate) watches: Admission,
    /// Ends the open watches.
    pub(crate) stop: CancellationToken,
    /// The host of the regions' consensus.
    pub(crate) raft: flaredb_raft::Node,
    /// Where its data is.
    pub(crate) disk: Arc<Disk>,
    /// The room that is left there.
    pub(crate) room: Arc<Room>,
    /// Whether its replicas are to be trusted.
    pub(crate) quarantine: Arc<Quarantine>,
    /// What it serves with.
    pub(crate) certificate: Certificate,
    /// What it needs to be ready, and what of it is missing.
    pub(crate) health: Health,
    /// What it counts.
    pub(crate) metrics: Metrics,
    /// What the Raft host counts.
    pub(crate) raft_metrics: flaredb_raft::Metrics,
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
        let identity = Identity { node_id: config.node.id, cluster: config.cluster.id.clone() };
        identity.claim(&config.node.data_dir)?;
        let quarantine = Quarantine::open(&config.node.data_dir).map_err(OpenError::Quarantine)?;
        let quarantine = Arc::new(quarantine);
        let engine = open_engine(config)?;
        let raft_config = raft_config(config, connector);
        let raft_metrics = raft_config.metrics.clone();
        let raft = flaredb_raft::Node::open(raft_config).await?;
        let metrics = Metrics::default();
        let disk = Arc::new(Disk::new(config.node.data_dir.clone(), config.storage.space_low_bytes));
        let room = Arc::new(Room::on(Arc::clone(&disk)));
        let auditor = Arc::new(Auditor::new(Arc::clone(&quarantine), metrics.clone()));
        let replica = |state| Replica { state, room: Arc::clone(&room), auditor: Arc::clone(&auditor) };
        let (state, hub, group) = open_region(&engine, &raft, replica).await?;
        let region = Region {
            id: FIRST_REGION,
            state,
            group,
            hub,
            writes: Writes::new(&config.storage),
            room: Arc::clone(&room),
            auditor,
            quarantine: Arc::clone(&quarantine),
            metrics: metrics.clone(),
        };
        if is_first_member(config) {
            form_cluster(&region.group, &config.cluster).await?;
        }
        Ok(Self {
            identity,
            endpoint: config.node.endpoint.clone(),
            engine,
            regions: Regions::new([Arc::new(region)]),
            clock: Clock::default(),
            watches: Admission::new("watches", config.storage.watches_max),
            stop: context.shutdown.draining().child_token(),
            raft,
            quarantine,
            certificate: context.tls.as_deref().map(Certificate::of).unwrap_or_default(),
            health: context.health.clone(),
            disk,
            room,
            metrics,
            raft_metrics,
        })
    }
}

fn open_engine(config: &Config) -> Result<Engine, OpenError> {
    let memory_bytes = config.storage.memory_bytes - config.storage.log_cache_bytes();
    let options = Options { durability: Durability::Flushed, memory_bytes };
    let opened = Engine::open(&config.node.data_dir.join("state"), options);
    opened.map_err(|error| OpenError::Engine(Box::new(error)))
}

fn raft_config(config: &Config, connector: Connector) -> NodeConfig {
    let folder = config.node.data_dir.join("raft");
    NodeConfig {
        connector,
        timing: config.timing(),
        checkpoint: CheckpointConfig {
            interval: Duration::from_millis(config.storage.checkpoint_interval_ms),
            entries_kept: config.storage.log_entries_kept,
            ..CheckpointConfig::default()
        },
        log: LogConfig {
            cache_bytes_max: usize::try_from(config.storage.log_cache_bytes()).unwrap_or(usize::MAX),
            ..LogConfig::default()
        },
        fatal: FatalHook::new(|_logged| stop_at_once()),
        ..NodeConfig::new(&config.cluster.id, config.node.id, folder)
    }
}

/// After a failed write or sync nobody knows what is on the disk: nothing may run on, not even a drain.
#[expect(clippy::disallowed_methods, reason = "a drain would go on serving from a disk that has failed")]
fn stop_at_once() {
    std::process::exit(1)
}

async fn open_region(
    engine: &Engine,
    raft: &flaredb_raft::Node,
    replica: impl FnOnce(flaredb_engine::Region) -> Replica,
) -> Result<(flaredb_engine::Region, Arc<Hub>, Group), OpenError> {
    let state = engine.region(RegionId(FIRST_REGION)).map_err(|error| OpenError::Engine(Box::new(error)))?;
    let hub = Arc::new(Hub::new());
    let woken = Arc::clone(&hub);
    state.set_listener(Box::new(move |changed| woken.wake(changed)));
    let group = raft.region(FIRST_REGION, Arc::new(replica(state.clone()))).await?;
    Ok((state, hub, group))
}

/// Whether this node is the one that begins the cluster. Were it all of them, each would depose the one before.
fn is_first_member(config: &Config) -> bool {
    config.cluster.initial_members.iter().map(|member| member.id).min() == Some(config.node.id)
}

/// Gives a region without a membership the configured one.
async fn form_cluster(group: &Group, config: &ClusterConfig) -> Result<(), InitializeError> {
    let members = config.initial_members.iter().map(|member| (member.id, member.endpoint.clone()));
    match group.initialize(members).await {
        Ok(()) | Err(InitializeError::AlreadyInitialized) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Begins the cluster after all, where those that should have done so are late; one member after the other.
pub(crate) async fn form_cluster_later(region: Arc<Region>, node: u64, config: ClusterConfig) {
    let rank = config.initial_members.iter().filter(|member| member.id < node).count();
    let Some(patience) = u32::try_from(rank).ok().filter(|rank| *rank > 0) else { return };
    sleep(PATIENCE_PER_RANK * patience).await;
    if region.group.is_initialized() {
        return;
    }
    if let Err(error) = form_cluster(&region.group, &config).await {
        tracing::error!(%error, "the cluster could not be formed from cluster.initial_members");
    }
}
