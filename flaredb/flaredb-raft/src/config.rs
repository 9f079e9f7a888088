//! What a node must be told: who it is, where its log lives, how it reaches its peers, and its timing.
//!
//! Only what differs between deployments is here; what has one right value is a constant where it is used.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use tonic::transport::Endpoint;

use crate::{
    fatal::FatalHook,
    metrics::Metrics,
    simulation::{Link, SimulatedDisk},
};

/// Everything that one process needs to host regions.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// Names the cluster. Nodes with another one are refused.
    pub cluster_id: String,
    /// This node's id, unique in the cluster for ever (a replaced machine gets a new one).
    pub id: u64,
    /// Where the log and half-received snapshots live; created if missing, locked while open.
    pub dir: PathBuf,
    /// How peers are reached; their addresses come from the membership.
    pub connector: Connector,
    /// Election and request timing.
    pub timing: Timing,
    /// Sizes of the log.
    pub log: LogConfig,
    /// When state machines are made durable and the log before them is purged.
    pub checkpoint: CheckpointConfig,
    /// What to do when the disk has failed. The default ends the process at once.
    pub fatal: FatalHook,
    /// Counters; register them once.
    pub metrics: Metrics,
    /// The disk of a simulated node; `None`: a real one.
    pub simulated: Option<Arc<dyn SimulatedDisk>>,
}

impl NodeConfig {
    /// A node with default timing and sizes, plain HTTP to its peers, and an end to the process on disk errors.
    pub fn new(cluster_id: impl Into<String>, id: u64, dir: impl Into<PathBuf>) -> Self {
        Self {
            cluster_id: cluster_id.into(),
            id,
            dir: dir.into(),
            connector: Connector::plain(),
            timing: Timing::default(),
            log: LogConfig::default(),
            checkpoint: CheckpointConfig::default(),
            fatal: FatalHook::abort(),
            metrics: Metrics::default(),
            simulated: None,
        }
    }
}

/// Timing of elections and requests.
///
/// A follower stands for election between `election_max + election_min` and twice `election_max` after the last
/// word of its leader: openraft lets a leader's lease (`election_max`) run out before it starts the random wait.
/// The defaults therefore fail over in 0.6 to 0.8 seconds, and four heartbeats in a row must be lost before anybody
/// doubts a leader that lives.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Time between two heartbeats.
    pub heartbeat: Duration,
    /// Shortest random wait before an election.
    pub election_min: Duration,
    /// Longest random wait, and the length of a leader's lease.
    pub election_max: Duration,
    /// A proposal without an answer after this long is reported as indeterminate.
    pub propose_timeout: Duration,
    /// A read that found no leader or quorum for this long is reported as unavailable.
    pub read_timeout: Duration,
    /// An append stream whose peer has not answered for this long is broken off.
    pub append_stall_timeout: Duration,
    /// Deadline of one snapshot chunk.
    pub snapshot_chunk_timeout: Duration,
    /// Deadline of the last chunk, whose answer waits for the peer to install the snapshot.
    pub snapshot_install_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(100),
            election_min: Duration::from_millis(200),
            election_max: Duration::from_millis(400),
            propose_timeout: Duration::from_secs(10),
            read_timeout: Duration::from_secs(5),
            append_stall_timeout: Duration::from_secs(2),
            snapshot_chunk_timeout: Duration::from_secs(10),
            snapshot_install_timeout: Duration::from_secs(600),
        }
    }
}

/// Sizes of the node's log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// Bytes of one log file.
    pub segment_bytes: u64,
    /// Log files of this many bytes in total are kept for reuse; beyond it old ones are collected.
    pub retained_bytes: u64,
    /// Bytes of log files written ahead at the first start: a sync of a recycled file costs half of one that
    /// grows. 0 writes nothing ahead.
    pub prefill_bytes: u64,
    /// Bytes of recent entries of one region kept in memory for replication and apply.
    pub cache_bytes_max: usize,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 16 << 20,
            retained_bytes: 256 << 20,
            prefill_bytes: 32 << 20,
            cache_bytes_max: 64 << 20,
        }
    }
}

/// When a region's state is flushed and its log purged.
#[derive(Clone, Debug)]
pub struct CheckpointConfig {
    /// At the latest after this many bytes of log.
    pub log_bytes: u64,
    /// At the latest after this long, if anything was applied.
    pub interval: Duration,
    /// Entries kept after a purge, so that a follower that was away for a moment needs no snapshot.
    pub entries_kept: u64,
}

impl Default for CheckpointConfig {
    fn default() -> Self {
        Self { log_bytes: 64 << 20, interval: Duration::from_secs(60), entries_kept: 10_000 }
    }
}

type MakeEndpoint = dyn Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync;

type MakeLink = dyn Fn(&str) -> Arc<dyn Link> + Send + Sync;

/// Turns a member's endpoint string into a gRPC endpoint; this is where TLS comes in.
#[derive(Clone)]
pub struct Connector(Kind);

#[derive(Clone)]
enum Kind {
    Endpoints(Arc<MakeEndpoint>),
    Links(Arc<MakeLink>),
}

/// What a connector makes of a member's endpoint string.
pub(crate) enum Way {
    Endpoint(Box<Endpoint>),
    Link(Arc<dyn Link>),
}

impl Connector {
    /// A connector of one's own, for example with TLS.
    pub fn new(
        make: impl Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync + 'static,
    ) -> Self {
        Self(Kind::Endpoints(Arc::new(make)))
    }

    /// A connector that reaches peers in a way of its own, as a simulation does.
    pub fn links(make: impl Fn(&str) -> Arc<dyn Link> + Send + Sync + 'static) -> Self {
        Self(Kind::Links(Arc::new(make)))
    }

    /// Plain HTTP; `host:port` and `http://host:port` are both understood.
    pub fn plain() -> Self {
        Self::new(|address| match address.contains("://") {
            true => Endpoint::from_shared(address.to_owned()),
            false => Endpoint::from_shared(format!("http://{address}")),
        })
    }

    pub(crate) fn way(&self, address: &str) -> Result<Way, tonic::transport::Error> {
        match &self.0 {
            Kind::Endpoints(make) => make(address).map(|endpoint| Way::Endpoint(Box::new(endpoint))),
            Kind::Links(make) => Ok(Way::Link(make(address))),
        }
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Connector")
    }
}
