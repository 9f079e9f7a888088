//! openraft made into a host for replicated state machines.
//!
//! A [`Node`] is what a process has once: one log on disk, written by one thread for all regions so that they
//! share syncs, and one gRPC service that its peers call. A [`Group`] is this node's replica of one region: a
//! [`StateMachine`] that applies the same commands in the same order as every other replica.
//!
//! ```text
//!  propose ─▶ Raft core ─┬▶ log (memory) ─▶ writer thread ─▶ one write, one sync for all regions
//!                        └▶ append streams to the peers          │ flushed
//!                                     commit ◀───────────────────┘
//!                                       └▶ apply, in batches, beside the next append ─▶ answers
//! ```
//!
//! Invariants: nothing is acknowledged before a quorum has it on disk; the position is stored with the data in
//! one atomic write; the log is purged only up to what the state machine has flushed; after a disk error nothing
//! is acknowledged any more.
//!
//! This is the only crate that names openraft, and it knows nothing of any particular state machine.

#[cfg(test)]
extern crate self as flaredb_raft;

mod codec;
mod config;
#[cfg(test)]
#[path = "../../flaredb-engine/tests/it/disk.rs"]
mod disk;
mod entry;
mod error;
mod fatal;
mod group;
#[cfg(test)]
#[path = "../tests/it/journal.rs"]
mod journal;
mod log;
mod machine;
mod metrics;
mod node;
pub mod planted;
pub mod simulation;
mod space;
mod state_machine;
mod transport;
mod types;

pub use config::{CheckpointConfig, Connector, LogConfig, NodeConfig, Timing};
pub use error::{ChangeError, InitializeError, OpenError, ProposeError, ReadError};
pub use fatal::{FatalError, FatalHook};
pub use group::{EntrySummary, Group, GroupStatus, Leadership, LogSummary, MemberStatus, Role};
pub use metrics::{Metrics, Values as MetricValues};
pub use node::{Node, TransportServer};
pub use space::Space;
pub use state_machine::{Applied, CommandEntry, SnapshotChunk, SnapshotReader, SnapshotWriter, StateMachine};

/// Largest command that may be proposed, in bytes.
pub const COMMAND_BYTES_MAX: usize = entry::COMMAND_BYTES_MAX;

/// The encoded `FileDescriptorSet` of the transport, for tests that list every RPC.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));

mod proto {
    /// Version 1 of the transport.
    #[expect(
        unreachable_pub,
        unused_qualifications,
        clippy::allow_attributes_without_reason,
        clippy::too_many_lines,
        reason = "generated; documented in the protobuf file"
    )]
    pub mod v1 {
        tonic::include_proto!("photon.raft.v1");
    }
}
