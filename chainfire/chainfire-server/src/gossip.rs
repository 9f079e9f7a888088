//! This node's part in gossip, as a ChainFire server and as an agent have it: the driver, its keys, and who has been in
//! which state since when.

mod config;
mod keys;
mod lives;
mod service;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard},
    time::{SystemTime, UNIX_EPOCH},
};

use chainfire_gossip::{
    Config, ConfigError as TimingError, Event, Handle, Identity, Metadata, MetadataError, Metrics, Node,
    NodeId, Sockets, Start,
};
use photon_runtime::{Condition, ConfigError, Context};
use sha2::{Digest as _, Sha256};
use tokio::sync::mpsc;

pub use self::config::GossipConfig;
pub(crate) use self::{
    keys::{KEY_BYTES, KeyFileError, decode, encode, random},
    service::Service,
};
use self::{
    keys::{KeyFile, Keys},
    lives::Lives,
};

/// Largest message that is read: a key is the largest that there is.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 << 10;
/// Events that wait for the court.
const EVENTS_MAX: usize = 1_024;

/// What the process knows of a node that it runs.
#[derive(Debug)]
pub(crate) struct Gossip {
    /// Its name.
    pub(crate) name: String,
    /// What else it says about itself.
    metadata: Metadata,
    handle: Handle,
    keys: Keys,
    lives: RwLock<Lives>,
    started_ms: u64,
}

/// Why a node does not gossip.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The machine has no name that can be used.
    #[error("the machine's name cannot be read; set gossip.name")]
    Nameless(#[source] std::io::Error),
    /// The port cannot be had.
    #[error("gossip.listen: {address} cannot be bound")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The keys cannot be read.
    #[error("gossip.key_file")]
    Keys(#[from] KeyFileError),
    /// What it would say about itself fits into no packet.
    #[error("[gossip]")]
    Metadata(#[from] MetadataError),
    /// Nobody could send to it.
    #[error("[gossip]")]
    Timing(#[from] TimingError),
    /// The system has no random numbers.
    #[error("the system gives no random numbers")]
    Entropy(#[source] std::io::Error),
}

impl Gossip {
    /// Binds the port, begins to speak, and goes on until the process ends. Events go to `court` as well.
    ///
    /// # Errors
    /// [`StartError`], and nothing runs.
    pub(crate) async fn start(
        config: &GossipConfig,
        listen: SocketAddr,
        service: &str,
        context: &Context,
    ) -> Result<(Arc<Self>, mpsc::Receiver<Event>), StartError> {
        let failed = |source| StartError::Bind { address: listen, source };
        let sockets = Sockets::bind(listen).await.map_err(failed)?;
        let bound = sockets.addr().map_err(failed)?;
        let address = config.advertised(bound);
        let name = config.name()?;
        let metadata = config.metadata(&name, service, address, context.grpc)?;
        let file = KeyFile::load(&config.key_file)?;
        let started_ms = now_ms();
        let start = Start {
            config: Config::default(),
            identity: Identity::new(id_of(&name), address, started_ms),
            metadata: metadata.clone(),
            seeds: config.join.clone(),
            keyring: file.keyring(),
            entropy: random().map_err(StartError::Entropy)?,
        };
        let metrics = Metrics::default();
        let (node, handle, events) = Node::new(sockets, start, metrics.clone())?;
        context.metrics.register(|registry| metrics.register(registry));
        context.tasks.spawn_critical("gossip", node.run(context.tasks.shutdown()));
        tracing::info!(name, %address, id = %id_of(&name), "gossip is spoken here");
        let keys = Keys::new(file, handle.clone());
        let gossip = Arc::new(Self { name, metadata, handle, keys, lives: RwLock::default(), started_ms });
        let (tell, court) = mpsc::channel(EVENTS_MAX);
        let condition = context.health.condition("gossip");
        condition.ok_with("it knows no other node yet");
        context.tasks.spawn("gossip events", Arc::clone(&gossip).follow(events, tell, condition));
        Ok((gossip, court))
    }

    /// The members now, and whenever they change.
    pub(crate) fn members(&self) -> chainfire_gossip::Members {
        Arc::clone(&self.handle.members().borrow())
    }

    /// Tells what changes: the log, the health, and who listens to `tell`.
    async fn follow(
        self: Arc<Self>,
        mut events: mpsc::Receiver<Event>,
        tell: mpsc::Sender<Event>,
        condition: Condition,
    ) {
        while let Some(event) = events.recv().await {
            let members = self.members();
            self.lives.write().unwrap_or_else(PoisonError::into_inner).observe(&members, now_ms());
            let there = members.iter().filter(|member| member.is_active()).count();
            condition.ok_with(format!("{there} of {} other nodes are there", members.len()));
            self.log(event);
            // Where there is no court, nobody listens.
            let _nobody = tell.send(event).await;
        }
    }

    fn log(&self, event: Event) {
        let members = self.members();
        let member = members.iter().find(|member| member.identity.node == event.node());
        let name = member.and_then(|member| member.metadata.as_ref()).map(Metadata::name).unwrap_or_default();
        let node = event.node();
        match event {
            Event::Joined(identity) => tracing::info!(%node, address = %identity.addr, "a node joined"),
            Event::Returned(_) => tracing::info!(%node, name, "a node returned"),
            Event::FailedHint(_) => tracing::warn!(%node, name, "a node failed, by what is heard"),
            Event::Left(_) => tracing::info!(%node, name, "a node left"),
            Event::Suspected(_) => tracing::debug!(%node, name, "a node is suspected"),
            Event::Refuted(_) => tracing::debug!(%node, name, "a node refuted a suspicion"),
            Event::MetadataChanged(_) => tracing::debug!(%node, name, "a node told about itself"),
        }
    }

    fn lives(&self) -> RwLockReadGuard<'_, Lives> {
        self.lives.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node's number in gossip: a node is who its name says it is, on whichever machine.
pub(crate) fn id_of(name: &str) -> NodeId {
    let hash = Sha256::new().chain_update(b"chainfire gossip node ").chain_update(name).finalize();
    NodeId(hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes)))
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// What the configuration lacks, if it is to gossip.
pub(crate) fn check(config: &GossipConfig) -> Result<(), ConfigError> {
    match config.key_file == PathBuf::new() && config.listen.is_some() {
        true => Err(ConfigError::invalid(
            "gossip.key_file",
            "nothing",
            "a file made by `chainfire gossip keys generate`, the same on all nodes",
        )),
        false => config.check_advertised(),
    }
}
