//! The part of a configuration that every such node has: who it is, which cluster it belongs to, its timing.
//!
//! Refused here, before anything is opened: a node without id, endpoint or data folder, an endpoint that peers
//! could not dial, and a list of first members that is not the same cluster's on every node.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use flaredb_raft::Timing;
use photon_runtime::ConfigError;
use serde::{Deserialize, Serialize};
use tonic::transport::Uri;

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

impl Default for ClusterConfig {
    fn default() -> Self {
        Self { id: "photon".to_owned(), initial_members: Vec::new() }
    }
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self { heartbeat_ms: 100, election_timeout_min_ms: 200, election_timeout_max_ms: 400 }
    }
}

impl NodeConfig {
    /// Checks who the node is and who its first peers are.
    ///
    /// # Errors
    /// The first field that is wrong, what was found and what would be accepted.
    pub fn check(&self, cluster: &ClusterConfig) -> Result<(), ConfigError> {
        self.check_self()?;
        if cluster.id.is_empty() {
            return Err(wrong("cluster.id", "nothing", "the cluster's name"));
        }
        self.check_members(&cluster.initial_members)
    }

    fn check_self(&self) -> Result<(), ConfigError> {
        if self.id == 0 {
            return Err(wrong("node.id", "0", "an id from 1, other than every other node's"));
        }
        if self.data_dir.as_os_str().is_empty() {
            return Err(wrong("node.data_dir", "nothing", "the folder for this node's data"));
        }
        check_endpoint("node.endpoint", &self.endpoint)
    }

    fn check_members(&self, members: &[InitialMember]) -> Result<(), ConfigError> {
        let ids: BTreeSet<u64> = members.iter().map(|member| member.id).collect();
        if ids.len() != members.len() || ids.contains(&0) {
            return Err(wrong("cluster.initial_members", &format!("ids {ids:?}"), "each id once, from 1"));
        }
        members.iter().try_for_each(|member| check_endpoint("cluster.initial_members", &member.endpoint))?;
        let own = members.iter().find(|member| member.id == self.id);
        match own {
            _ if members.is_empty() => Ok(()),
            Some(own) if own.endpoint == self.endpoint => Ok(()),
            _ => Err(wrong(
                "cluster.initial_members",
                &format!("no member {} at {}", self.id, self.endpoint),
                "a list with this node in it, or an empty one on a node that joins later",
            )),
        }
    }
}

impl RaftConfig {
    /// The timing for the Raft host of a server whose calls may take `call` at most.
    pub fn timing(&self, call: Duration) -> Timing {
        // Before the call's own time is up, so that the answer can say that the outcome is unknown.
        let within_a_call = call * 3 / 4;
        Timing {
            heartbeat: Duration::from_millis(self.heartbeat_ms),
            election_min: Duration::from_millis(self.election_timeout_min_ms),
            election_max: Duration::from_millis(self.election_timeout_max_ms),
            propose_timeout: within_a_call,
            read_timeout: Timing::default().read_timeout.min(within_a_call),
            ..Timing::default()
        }
    }

    /// Checks that elections can work.
    ///
    /// # Errors
    /// What was found and what would be accepted.
    pub fn check(&self) -> Result<(), ConfigError> {
        let raft = self;
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
pub const DIALABLE: &str = "https://host:port, as other machines reach it";

/// Whether an endpoint is one that a peer can dial.
pub fn is_dialable(endpoint: &str) -> bool {
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
