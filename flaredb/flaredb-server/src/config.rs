//! FlareDB's own part of the configuration: who the node is, who its first peers are, and its bounds.
//!
//! Refused here, before anything is opened: a node without id, endpoint or data folder, an endpoint that peers
//! could not dial, and a list of first members that is not the same cluster's on every node.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use flaredb_raft::Timing;
use photon_runtime::{AuthConfig, CommonRef, ConfigError, HasCommon, LogConfig, ServerConfig, TlsConfig};
use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

use crate::history::Retention;

/// With less, the database would do nothing but flush and merge its files.
const MEMORY_BYTES_MIN: u64 = 64 << 20;

/// The whole configuration of a `flaredb serve` process.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Where to listen, and the bounds of a request.
    pub server: ServerConfig,
    /// The node's certificate.
    pub tls: TlsConfig,
    /// Whose tokens and certificates count.
    pub auth: AuthConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Who this node is.
    pub node: NodeConfig,
    /// Which cluster it belongs to.
    pub cluster: ClusterConfig,
    /// Bounds of the database.
    pub storage: StorageConfig,
    /// Timing of the consensus.
    pub raft: RaftConfig,
}

/// Who this node is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeConfig {
    /// The node's id in its cluster, from 1. Never given to another node again, not even when this one is gone.
    pub id: u64,
    /// Where clients and peers reach this node: `https://host:port`, or `http://` on loopback without TLS.
    pub endpoint: String,
    /// Where the node's data lives. Belongs to one node of one cluster for ever.
    pub data_dir: PathBuf,
}

/// Which cluster the node belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// The cluster's name; a peer of another cluster is refused.
    pub id: String,
    /// The members that form the cluster at its first start: the same list on each of them. Empty on a node that
    /// joins later by `flaredb member add`.
    pub initial_members: Vec<InitialMember>,
}

/// One of the first members.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialMember {
    /// Its `node.id`.
    pub id: u64,
    /// Its `node.endpoint`.
    pub endpoint: String,
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
    /// How long they wait at most, before they are refused with RESOURCE_EXHAUSTED.
    pub proposal_wait_ms: u64,
    /// Bytes of the writes that are under way or wait; more are refused with RESOURCE_EXHAUSTED at once.
    pub proposals_bytes_max: u64,
    /// Watches that may be open at once; more are refused with RESOURCE_EXHAUSTED.
    pub watches_max: u32,
    /// Revisions of a namespace that history keeps.
    pub history_revisions_max: u64,
    /// History younger than this is kept whatever its number.
    pub history_age_min_ms: u64,
    /// History older than this goes whatever its number.
    pub history_age_max_ms: u64,
    /// How often the leader looks for history to forget.
    pub history_check_ms: u64,
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
    /// How long a deleted record of an Eventual namespace is remembered, so that a late older write stays dead.
    pub tombstone_retention_ms: u64,
}

/// Timing of the consensus.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RaftConfig {
    /// How often a leader says that it is there.
    pub heartbeat_ms: u64,
    /// Shortest random wait before an election, once the leader has been silent for the longest one.
    pub election_timeout_min_ms: u64,
    /// Longest such wait, and the length of a leader's lease.
    pub election_timeout_max_ms: u64,
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
            cluster: ClusterConfig::default(),
            storage: StorageConfig::default(),
            raft: RaftConfig::default(),
        }
    }
}

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { id: "photon".to_owned(), initial_members: Vec::new() }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            memory_bytes: 320 << 20,
            proposals_max: 4_096,
            proposal_wait_ms: 100,
            proposals_bytes_max: 64 << 20,
            watches_max: 4_096,
            history_revisions_max: 100_000,
            history_age_min_ms: 60_000,
            history_age_max_ms: 24 * 3_600_000,
            history_check_ms: 10_000,
            space_low_bytes: 64 << 20,
            audit_interval_ms: 180_000,
            audit_bytes_max: 256 << 20,
            checkpoint_interval_ms: 60_000,
            log_entries_kept: 10_000,
            tombstone_retention_ms: 24 * 3_600_000,
        }
    }
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_timeout_min_ms: 200, election_timeout_max_ms: 400 }
    }
}

impl HasCommon for Config {
    fn common(&self) -> CommonRef<'_> {
        CommonRef { server: &self.server, tls: &self.tls, auth: &self.auth, log: &self.log }
    }
}

impl Config {
    /// The timing for the Raft host.
    pub(crate) fn timing(&self) -> Timing {
        // Before the call's own time is up, so that the answer can say that the outcome is unknown.
        let within_a_call = self.server.request_timeout() * 3 / 4;
        Timing {
            heartbeat: Duration::from_millis(self.raft.heartbeat_ms),
            election_min: Duration::from_millis(self.raft.election_timeout_min_ms),
            election_max: Duration::from_millis(self.raft.election_timeout_max_ms),
            propose_timeout: within_a_call,
            read_timeout: Timing::default().read_timeout.min(within_a_call),
            ..Timing::default()
        }
    }
}

impl StorageConfig {
    /// The part of the memory that holds the newest entries of the log, for peers and for `apply`.
    pub(crate) fn log_cache_bytes(&self) -> u64 {
        self.memory_bytes / 10
    }

    /// How much history is retained.
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            revisions_max: self.history_revisions_max,
            age_min: Duration::from_millis(self.history_age_min_ms),
            age_max: Duration::from_millis(self.history_age_max_ms),
        }
    }
}

impl Config {
    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first field that is wrong, what was found and what would be accepted.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.check_node()?;
        self.check_members()?;
        self.check_storage()?;
        self.check_raft()
    }

    fn check_node(&self) -> Result<(), ConfigError> {
        if self.node.id == 0 {
            return Err(wrong("node.id", "0", "an id from 1, other than every other node's"));
        }
        if self.node.data_dir.as_os_str().is_empty() {
            return Err(wrong("node.data_dir", "nothing", "the folder for this node's data"));
        }
        if self.cluster.id.is_empty() {
            return Err(wrong("cluster.id", "nothing", "the cluster's name"));
        }
        check_endpoint("node.endpoint", &self.node.endpoint)
    }

    fn check_members(&self) -> Result<(), ConfigError> {
        let members = &self.cluster.initial_members;
        let ids: BTreeSet<u64> = members.iter().map(|member| member.id).collect();
        if ids.len() != members.len() || ids.contains(&0) {
            return Err(wrong("cluster.initial_members", &format!("ids {ids:?}"), "each id once, from 1"));
        }
        members.iter().try_for_each(|member| check_endpoint("cluster.initial_members", &member.endpoint))?;
        let own = members.iter().find(|member| member.id == self.node.id);
        match own {
            _ if members.is_empty() => Ok(()),
            Some(own) if own.endpoint == self.node.endpoint => Ok(()),
            _ => Err(wrong(
                "cluster.initial_members",
                &format!("no member {} at {}", self.node.id, self.node.endpoint),
                "a list with this node in it, or an empty one on a node that joins later",
            )),
        }
    }

    fn check_storage(&self) -> Result<(), ConfigError> {
        let storage = &self.storage;
        let counts = [
            ("storage.proposals_max", u64::from(storage.proposals_max)),
            ("storage.proposals_bytes_max", storage.proposals_bytes_max),
            ("storage.watches_max", u64::from(storage.watches_max)),
            ("storage.history_revisions_max", storage.history_revisions_max),
            ("storage.history_check_ms", storage.history_check_ms),
            ("storage.audit_interval_ms", storage.audit_interval_ms),
            ("storage.audit_bytes_max", storage.audit_bytes_max),
            ("storage.checkpoint_interval_ms", storage.checkpoint_interval_ms),
        ];
        if let Some((field, _)) = counts.into_iter().find(|&(_, count)| count == 0) {
            return Err(wrong(field, "0", "at least 1"));
        }
        if storage.memory_bytes < MEMORY_BYTES_MIN {
            let accepted = format!("at least {MEMORY_BYTES_MIN}");
            return Err(wrong("storage.memory_bytes", &storage.memory_bytes.to_string(), &accepted));
        }
        if storage.history_age_min_ms > storage.history_age_max_ms {
            let accepted = format!("at most storage.history_age_max_ms ({})", storage.history_age_max_ms);
            return Err(wrong(
                "storage.history_age_min_ms",
                &storage.history_age_min_ms.to_string(),
                &accepted,
            ));
        }
        Ok(())
    }

    fn check_raft(&self) -> Result<(), ConfigError> {
        let raft = &self.raft;
        let in_order = 0 < raft.heartbeat_ms
            && raft.heartbeat_ms.saturating_mul(2) <= raft.election_timeout_min_ms
            && raft.election_timeout_min_ms < raft.election_timeout_max_ms;
        let found = format!("{raft:?}");
        let accepted = "0 < 2 * heartbeat_ms <= election_timeout_min_ms < election_timeout_max_ms";
        if in_order { Ok(()) } else { Err(wrong("raft", &found, accepted)) }
    }
}

fn check_endpoint(field: &str, endpoint: &str) -> Result<(), ConfigError> {
    if is_dialable(endpoint) { Ok(()) } else { Err(wrong(field, &format!("{endpoint:?}"), DIALABLE)) }
}

/// What [`is_dialable`] accepts, for messages.
pub(crate) const DIALABLE: &str = "https://host:port, as other machines reach it";

/// Whether an endpoint is one that a peer can dial.
pub(crate) fn is_dialable(endpoint: &str) -> bool {
    let uri: Option<Uri> = endpoint.parse().ok();
    uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.port().is_some()
            && uri.host().is_some_and(|host| !matches!(host, "0.0.0.0" | "[::]"))
            && matches!(uri.path(), "" | "/")
    })
}

fn wrong(field: &str, found: &str, accepted: &str) -> ConfigError {
    ConfigError::invalid(field, found, accepted)
}
