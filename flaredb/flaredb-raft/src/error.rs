//! How the operations of a node and its groups fail, one type for each family.
//!
//! What a caller must tell apart is in the type: it did not happen and another node can do it (`NotLeader`), it
//! did not happen (`Unavailable`), it may have happened (`Indeterminate`), and this replica is at its end
//! (`Stopped`).

use std::io;

/// Why a node could not be opened or a region not be started.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log's folder or files could not be opened, or another process has them open.
    #[error("cannot open the Raft log in {dir}")]
    Log {
        /// The folder.
        dir: String,
        /// What the log said.
        #[source]
        source: io::Error,
    },
    /// A timing or size makes no sense.
    #[error("the Raft configuration is not usable: {0}")]
    Config(String),
    /// The region's log or state machine could not be read.
    #[error("region {region_id} could not be started: {reason}")]
    Region {
        /// The region.
        region_id: u64,
        /// What was wrong.
        reason: String,
    },
    /// The region is already hosted by this node.
    #[error("region {region_id} is already open on this node")]
    AlreadyOpen {
        /// The region.
        region_id: u64,
    },
}

/// Why a proposal has no result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It did not happen; ask the leader, if one is named.
    #[error("this node does not lead the region")]
    NotLeader {
        /// The leader's id, if known.
        id: Option<u64>,
        /// The leader's endpoint, if known.
        endpoint: Option<String>,
    },
    /// It may have happened or may still happen.
    #[error("the outcome of the proposal is not known")]
    Indeterminate,
    /// It did not happen; there is no leader now.
    #[error("the region has no leader")]
    Unavailable,
    /// It did not happen: the command is larger than a log entry may be.
    #[error("the command has {bytes} bytes, at most {bytes_max} are accepted")]
    TooLarge {
        /// Bytes of the command.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// It did not happen: the log waits for room on this node's disk.
    #[error("the disk of the Raft log is full")]
    NoSpace,
    /// This replica has stopped; the outcome is not known.
    #[error("this replica has stopped")]
    Stopped,
}

/// Why a linearizable read cannot be served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader, or no quorum behind it, before the deadline.
    #[error("no leader with a quorum answered in time")]
    Unavailable,
    /// This replica has stopped.
    #[error("this replica has stopped")]
    Stopped,
}

/// Why a membership could not be initialized.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InitializeError {
    /// The region already has a log or a membership; nothing was changed.
    #[error("the region is already initialized")]
    AlreadyInitialized,
    /// The members do not contain this node.
    #[error("this node is not among the members")]
    NotAMember,
    /// This replica has stopped.
    #[error("this replica has stopped")]
    Stopped,
}

/// Why a membership change or a transfer of leadership did not complete.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It did not happen; ask the leader, if one is named.
    #[error("this node does not lead the region")]
    NotLeader {
        /// The leader's id, if known.
        id: Option<u64>,
        /// The leader's endpoint, if known.
        endpoint: Option<String>,
    },
    /// The node is not a member.
    #[error("node {id} is not a member of the region")]
    UnknownMember {
        /// The node.
        id: u64,
    },
    /// The learner must first catch up.
    #[error(
        "node {id} is {behind} entries behind; it can be promoted when it is at most {behind_max} behind"
    )]
    Lagging {
        /// The learner.
        id: u64,
        /// Entries that it lacks.
        behind: u64,
        /// The limit.
        behind_max: u64,
    },
    /// Another change is under way, or this one is not allowed now.
    #[error("the change is not allowed now: {reason}")]
    Refused {
        /// openraft's reason.
        reason: String,
    },
    /// It may have happened or may still happen.
    #[error("the outcome of the change is not known")]
    Indeterminate,
    /// This replica has stopped; the outcome is not known.
    #[error("this replica has stopped")]
    Stopped,
}
