//! One node of a ChainFire cluster: its folder, its store, and what it says of itself.

use std::{ops::Deref, sync::Arc, time::Duration};

use chainfire_store::{
    Store,
    internal::{Caller, MemberAttributes, command::Request},
};
use flaredb_node::{Admission, Host, Hosted, Identity, OpenError, Settings};
use flaredb_raft::{Connector, Leadership};
use photon_runtime::{Context, Tasks};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    commands::{StoreCommands, command},
    config::{Config, RequestLimits},
    keeper::Keeper,
    recent::Recent,
    tokens::Tokens,
};

/// The region of all keys.
pub(crate) const REGION: u64 = 1;
/// Passwords that are hashed or compared at once; each takes a core for a moment.
const PASSWORDS_MAX: u32 = 16;
/// How long a node waits before it says again who it is.
const INTRODUCTION_PAUSE: Duration = Duration::from_millis(500);

/// One node.
#[derive(Debug)]
pub(crate) struct Node {
    /// Its folder, opened.
    pub(crate) host: Host,
    /// Its replica of the region, and its consensus.
    pub(crate) hosted: Arc<Hosted>,
    /// What the replica holds.
    pub(crate) store: Store,
    /// The newest revisions, for watches.
    pub(crate) recent: Recent,
    /// Changes whenever the store does.
    pub(crate) changes: watch::Sender<()>,
    /// Who leads.
    pub(crate) leadership: watch::Receiver<Leadership>,
    /// The name by which the member list calls it.
    pub(crate) name: String,
    /// The cluster's number, made of its name.
    pub(crate) cluster_id: u64,
    /// Where clients reach this node.
    pub(crate) client_urls: Vec<String>,
    /// Reaches peers.
    pub(crate) connector: Peers,
    /// Whether nodes speak TLS to each other.
    pub(crate) is_secure: bool,
    /// Where tasks are started.
    pub(crate) tasks: Tasks,
    /// Keeps leases alive, while this node leads.
    pub(crate) keeper: Keeper,
    /// What a client's request may be.
    pub(crate) requests: RequestLimits,
    /// Which users' tokens are good.
    pub(crate) tokens: Tokens,
    /// Bounds the passwords that are looked at at once.
    pub(crate) passwords: Admission,
    /// Bounds the open watches.
    pub(crate) watches: Admission,
    /// Ends them.
    pub(crate) stop: CancellationToken,
}

/// How the services of other nodes are reached.
pub(crate) struct Peers(Box<Dial>);

type Dial = dyn Fn(&str) -> Result<tonic::transport::Endpoint, tonic::transport::Error> + Send + Sync;

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl Peers {
    /// A connection to a node, made when it is first used.
    pub(crate) fn channel(
        &self,
        endpoint: &str,
    ) -> Result<tonic::transport::Channel, tonic::transport::Error> {
        Ok((self.0)(endpoint)?.connect_timeout(Duration::from_secs(2)).connect_lazy())
    }
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
        name: String,
        client_urls: Vec<String>,
        context: &Context,
    ) -> Result<Self, OpenError> {
        let dial = || flaredb_node::dial(context.tls.as_ref());
        let host = Host::open(settings(config, Connector::new(dial()))).await?;
        let mut opened = None;
        let commands = |engine: &flaredb_engine::Engine, id| {
            let store = Store::open(engine, id)?;
            opened = Some(store.clone());
            Ok::<_, flaredb_engine::EngineError>(StoreCommands(store))
        };
        let hosted = host.region(REGION, config.storage.write_limits(), &config.cluster, commands).await?;
        let store = opened.ok_or_else(|| OpenError::Engine("the store was not opened".into()))?;
        let changes = watch::Sender::new(());
        let woken = changes.clone();
        store.set_listener(Box::new(move || woken.send_replace(())));
        Ok(Self {
            host,
            leadership: hosted.group.watch_leadership(),
            hosted: Arc::new(hosted),
            recent: Recent::of(store.clone()),
            store,
            changes,
            cluster_id: cluster_id(&config.cluster.id),
            name,
            client_urls,
            connector: Peers(Box::new(dial())),
            is_secure: context.tls.is_some(),
            tasks: context.tasks.clone(),
            keeper: Keeper::new(),
            requests: config.client.request_limits(),
            tokens: Tokens::new(config.client.token_lifetime()),
            passwords: Admission::new("passwords", PASSWORDS_MAX),
            watches: Admission::new("watches", config.storage.watches_max),
            stop: context.shutdown.draining().child_token(),
        })
    }

    /// Whether this node leads, as far as it knows.
    pub(crate) fn leads(&self) -> bool {
        self.hosted.group.leads()
    }

    /// Tells the cluster this node's name and where clients reach it, until the store has it.
    pub(crate) async fn introduce(self: Arc<Self>) {
        let own = MemberAttributes {
            id: self.identity.node_id,
            name: self.name.clone(),
            client_urls: self.client_urls.clone(),
        };
        loop {
            match self.store.members() {
                Ok(members) if members.contains(&own) => return,
                Ok(_) => self.propose_introduction(&own).await,
                Err(error) => tracing::debug!(%error, "the members cannot be read yet"),
            }
            tokio::time::sleep(INTRODUCTION_PAUSE).await;
        }
    }

    async fn propose_introduction(&self, own: &MemberAttributes) {
        // A node that was added and is not known here yet has nothing to say.
        if !self.hosted.group.status().members.iter().any(|member| member.id == own.id) {
            return;
        }
        let command = command(Caller::default(), Request::Member(own.clone()));
        let (bytes, encode) = (command.encoded_len(), || command.encode_to_vec().into());
        if let Err(error) = self.hosted.proposals.propose_anywhere(false, bytes, encode).await {
            tracing::debug!(%error, "the cluster was not told where clients find this node; it is told again");
        }
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

/// The same on every node of a cluster, and hardly the same for another one.
fn cluster_id(name: &str) -> u64 {
    let hash = Sha256::digest(name);
    hash.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}
