//! FlareDB's own part of the configuration: the bounds of its database. Who the node is, its peers and its timing are
//! what every node has, see [`flaredb_node::config`].

use std::time::Duration;

use flaredb_node::WriteLimits;
pub use flaredb_node::config::{ClusterConfig, InitialMember, NodeConfig, RaftConfig};
use photon_registry::RegistryConfig;
use photon_runtime::{AuthConfig, CommonRef, ConfigError, HasCommon, LogConfig, ServerConfig, TlsConfig};
use serde::{Deserialize, Serialize};

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
    /// Where the node is registered, so that others find it.
    pub registry: RegistryConfig,
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
            registry: RegistryConfig::default(),
        }
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
        self.node.check(&self.cluster)?;
        self.check_storage()?;
        self.registry.check()?;
        self.raft.check()
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
}

fn wrong(field: &str, found: &str, accepted: &str) -> ConfigError {
    ConfigError::invalid(field, found, accepted)
}
