//! ChainFire's own part of the configuration: where etcd's clients find it, and the bounds of its database. Who the node
//! is, its peers and its timing are what every node has, see [`flaredb_node::config`].

use std::{net::SocketAddr, time::Duration};

use flaredb_node::WriteLimits;
pub use flaredb_node::config::{ClusterConfig, InitialMember, NodeConfig, RaftConfig};
use photon_runtime::{
    AuthConfig, CommonRef, ConfigError, HasCommon, LogConfig, OpenTls, ServerConfig, TlsConfig,
};
use serde::{Deserialize, Serialize};

/// With less, the database would do nothing but flush and merge its files.
const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// The whole configuration of a `chainfire serve` process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where peers find this node, and the bounds of a request.
    pub server: ServerConfig,
    /// The node's certificate.
    pub tls: TlsConfig,
    /// Whose tokens and certificates count among the nodes.
    pub auth: AuthConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Who this node is. `node.endpoint` is etcd's peer URL.
    pub node: NodeConfig,
    /// Where etcd's clients find it.
    pub client: ClientConfig,
    /// Which cluster it belongs to.
    pub cluster: ClusterConfig,
    /// Bounds of the database.
    pub storage: StorageConfig,
    /// Timing of the consensus.
    pub raft: RaftConfig,
}

/// Where etcd's clients find this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClientConfig {
    /// Address of the port for etcd's clients.
    pub listen: SocketAddr,
    /// Who may connect: `mutual` whoever has a certificate of the cloud, `server` everybody, over TLS, `off` everybody,
    /// in plaintext. Who may do what is etcd's auth.
    pub tls: OpenTls,
    /// The URLs by which clients reach that port, as the member list names them; empty: `client.listen` itself.
    pub urls: Vec<String>,
}

/// Bounds of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StorageConfig {
    /// Memory for caches and for writes that are not in the database's files yet. The process takes some 100 MiB
    /// more, and what the requests take that are under way.
    pub memory_bytes: u64,
    /// Writes that may be under way at once; more wait.
    pub proposals_max: u32,
    /// How long they wait at most, before they are refused as too many.
    pub proposal_wait_ms: u64,
    /// Bytes of the writes that are under way or wait; more are refused at once.
    pub proposals_bytes_max: u64,
    /// Watches that may be open at once; more are cancelled as they are created.
    pub watches_max: u32,
    /// Bytes of the disk that stay free: below them nothing new is written, so that what is under way and the node's
    /// own votes always have room. As many are held by a file, out of everybody else's reach. 0 keeps no reserve.
    pub space_low_bytes: u64,
    /// How often, at the latest, the state is flushed, so that the log before it can go.
    pub checkpoint_interval_ms: u64,
    /// Log entries that stay after that, for followers that were away; one that was away for longer gets a snapshot.
    pub log_entries_kept: u64,
}

impl Default for Config {
    fn default() -> Self {
        // openraft tells every step of an election and every unanswered heartbeat; the Raft host tells who leads and
        // who is silent.
        let log = LogConfig { filter: "info,openraft=error".to_owned(), ..LogConfig::default() };
        Self {
            server: ServerConfig::default(),
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            log,
            node: NodeConfig::default(),
            client: ClientConfig::default(),
            cluster: ClusterConfig::default(),
            storage: StorageConfig::default(),
            raft: RaftConfig::default(),
        }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self { listen: SocketAddr::from(([127, 0, 0, 1], 2379)), tls: OpenTls::default(), urls: Vec::new() }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 128 << 20,
            proposals_max: 4_096,
            proposal_wait_ms: 100,
            proposals_bytes_max: 64 << 20,
            watches_max: 65_536,
            space_low_bytes: 64 << 20,
            checkpoint_interval_ms: 60_000,
            log_entries_kept: 10_000,
        }
    }
}

impl HasCommon for Config {
    fn common(&self) -> CommonRef<'_> {
        CommonRef { server: &self.server, tls: &self.tls, auth: &self.auth, log: &self.log }
    }
}

impl StorageConfig {
    /// The part of the memory that holds the newest entries of the log, for peers and for `apply`.
    pub(crate) fn log_cache_bytes(&self) -> u64 {
        self.memory_bytes / 10
    }

    /// The bounds of writes.
    pub(crate) fn write_limits(&self) -> WriteLimits {
        WriteLimits {
            proposals_max: self.proposals_max,
            proposal_wait: Duration::from_millis(self.proposal_wait_ms),
            proposals_bytes_max: self.proposals_bytes_max,
        }
    }
}

impl ClientConfig {
    /// The URLs of a port that is bound at `address`.
    pub(crate) fn urls_at(&self, address: SocketAddr) -> Vec<String> {
        let scheme = if self.tls == OpenTls::Off { "http" } else { "https" };
        match self.urls.is_empty() {
            true => vec![format!("{scheme}://{address}")],
            false => self.urls.clone(),
        }
    }
}

impl Config {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first field that is wrong, what was found and what would be accepted.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.node.check(&self.cluster)?;
        self.check_client()?;
        self.check_storage()?;
        self.raft.check()
    }

    fn check_client(&self) -> Result<(), ConfigError> {
        let client = &self.client;
        if client.tls != OpenTls::Off && self.tls.cert.is_none() {
            let accepted = "off, or a certificate under [tls]";
            return Err(ConfigError::invalid("client.tls", format!("{:?}", client.tls), accepted));
        }
        if client.urls.is_empty() && client.listen.ip().is_unspecified() {
            let accepted = "the URLs by which clients reach client.listen, which names no address";
            return Err(ConfigError::invalid("client.urls", "nothing", accepted));
        }
        Ok(())
    }

    fn check_storage(&self) -> Result<(), ConfigError> {
        let storage = &self.storage;
        let counts = [
            ("storage.proposals_max", u64::from(storage.proposals_max)),
            ("storage.proposals_bytes_max", storage.proposals_bytes_max),
            ("storage.watches_max", u64::from(storage.watches_max)),
            ("storage.checkpoint_interval_ms", storage.checkpoint_interval_ms),
        ];
        if let Some((field, _)) = counts.into_iter().find(|&(_, count)| count == 0) {
            return Err(ConfigError::invalid(field, "0", "at least 1"));
        }
        if storage.memory_bytes < MEMORY_BYTES_MIN {
            let accepted = format!("at least {MEMORY_BYTES_MIN}");
            return Err(ConfigError::invalid(
                "storage.memory_bytes",
                storage.memory_bytes.to_string(),
                accepted,
            ));
        }
        Ok(())
    }
}
