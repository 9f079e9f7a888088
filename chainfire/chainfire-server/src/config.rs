//! ChainFire's own part of the configuration: where etcd's clients find it, and the bounds of its database. Who the node
//! is, its peers and its timing are what every node has, see [`flaredb_node::config`].

use std::{net::SocketAddr, time::Duration};

use chainfire_store::TXN_OPS_MAX;
pub use flaredb_node::config::{ClusterConfig, InitialMember, NodeConfig, RaftConfig};
use flaredb_node::{WriteLimits, audit::Schedule};
use flaredb_raft::COMMAND_BYTES_MAX;
use photon_runtime::{
    AuthConfig, CommonRef, ConfigError, HasCommon, LogConfig, OpenTls, ServerConfig, TlsConfig,
};
use serde::{Deserialize, Serialize};

use crate::gossip::{self, GossipConfig};

/// With less, the database would do nothing but flush and merge its files.
const MEMORY_BYTES_MIN: u64 = 64 << 20;
/// With less, what a leader has to say of many leases at once would not fit.
const REQUEST_BYTES_MIN: usize = 64 << 10;
/// A request that is too large by no more than this is read, and refused in etcd's words.
const EXCESS_BYTES: usize = 512 << 10;

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
    /// Whether the node gossips; by it the cluster learns which machines are there.
    pub gossip: GossipConfig,
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
    /// Bytes of a request, at most 16 MiB and no more than `storage.proposals_bytes_max`; more are refused. The largest
    /// batch of the metadata store fits into the default, for which etcd's own of 1.5 MiB would have to be raised.
    pub request_bytes_max: usize,
    /// Compares or operations of one list of a transaction, at most 2,048. The same is true of it, and etcd's 128.
    pub txn_ops_max: usize,
    /// How long a user's token is good after its last use at this node, or after it was given out.
    pub token_ttl_s: u32,
}

/// What a client's request may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestLimits {
    /// Bytes of the command that it becomes.
    pub(crate) bytes_max: usize,
    /// Compares or operations of one list of a transaction.
    pub(crate) txn_ops_max: usize,
}

impl RequestLimits {
    /// Largest message that is read.
    pub(crate) fn message_bytes_max(self) -> usize {
        self.bytes_max + EXCESS_BYTES
    }
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
    /// How often the leader has the replicas compare a part of what they hold.
    pub audit_interval_ms: u64,
    /// Bytes of rows in such a part; the next one goes on behind it.
    pub audit_bytes_max: u64,
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
            gossip: GossipConfig::default(),
        }
    }
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 2379)),
            tls: OpenTls::default(),
            urls: Vec::new(),
            request_bytes_max: 12 << 20,
            txn_ops_max: TXN_OPS_MAX,
            token_ttl_s: 300,
        }
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
            audit_interval_ms: 180_000,
            audit_bytes_max: 256 << 20,
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

    /// How often replicas are compared, and how much of them at once.
    pub(crate) fn audits(&self) -> Schedule {
        Schedule { every: Duration::from_millis(self.audit_interval_ms), bytes_max: self.audit_bytes_max }
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

    pub(crate) fn request_limits(&self) -> RequestLimits {
        RequestLimits { bytes_max: self.request_bytes_max, txn_ops_max: self.txn_ops_max }
    }

    pub(crate) fn token_lifetime(&self) -> Duration {
        Duration::from_secs(self.token_ttl_s.into())
    }
}

impl Config {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first field that is wrong, what was found and what would be accepted.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.node.check(&self.cluster)?;
        self.check_storage()?;
        self.check_client()?;
        gossip::check(&self.gossip)?;
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
        self.check_requests()
    }

    fn check_requests(&self) -> Result<(), ConfigError> {
        let client = &self.client;
        let proposals_bytes = usize::try_from(self.storage.proposals_bytes_max).unwrap_or(usize::MAX);
        let request_bytes = proposals_bytes.min(COMMAND_BYTES_MAX);
        let token_ttl_s = usize::try_from(client.token_ttl_s).unwrap_or(usize::MAX);
        let bounded = [
            ("client.request_bytes_max", client.request_bytes_max, REQUEST_BYTES_MIN, request_bytes),
            ("client.txn_ops_max", client.txn_ops_max, 1, TXN_OPS_MAX),
            ("client.token_ttl_s", token_ttl_s, 1, usize::MAX),
        ];
        let wrong = |&(_, found, least, most): &(_, usize, _, _)| !(least..=most).contains(&found);
        match bounded.into_iter().find(wrong) {
            Some((field, found, least, most)) => {
                Err(ConfigError::invalid(field, found.to_string(), format!("{least} to {most}")))
            }
            None => Ok(()),
        }
    }

    fn check_storage(&self) -> Result<(), ConfigError> {
        let storage = &self.storage;
        let counts = [
            ("storage.proposals_max", u64::from(storage.proposals_max)),
            ("storage.proposals_bytes_max", storage.proposals_bytes_max),
            ("storage.watches_max", u64::from(storage.watches_max)),
            ("storage.audit_interval_ms", storage.audit_interval_ms),
            ("storage.audit_bytes_max", storage.audit_bytes_max),
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

#[cfg(test)]
mod tests {
    use super::*;

    type Change = fn(&mut Config);

    #[test]
    fn limits_of_requests_that_the_cluster_could_not_keep_are_refused() {
        assert_eq!(Config::default().check_requests().map_err(|error| error.to_string()), Ok(()));
        let cases: [(&str, Change); 6] = [
            ("client.request_bytes_max", |config| config.client.request_bytes_max = 1_000),
            ("client.request_bytes_max", |config| config.client.request_bytes_max = 17 << 20),
            ("client.request_bytes_max", |config| config.storage.proposals_bytes_max = 1 << 20),
            ("client.txn_ops_max", |config| config.client.txn_ops_max = 0),
            ("client.txn_ops_max", |config| config.client.txn_ops_max = TXN_OPS_MAX + 1),
            ("client.token_ttl_s", |config| config.client.token_ttl_s = 0),
        ];
        for (field, change) in cases {
            let mut config = Config::default();
            change(&mut config);
            let error = config.check_requests().unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }
}
