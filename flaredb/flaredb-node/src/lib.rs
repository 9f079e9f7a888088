//! What a process that hosts a replicated state machine needs beside consensus.
//!
//! flaredb-raft replicates a log, flaredb-engine holds what comes of it, photon-runtime runs a process. Between them
//! stands what every such process must get right and none should write twice: whose folder it is, how the first
//! members form a cluster and a later one joins it, room on the disk, replicas that compare themselves, a bound on
//! what is under way, leadership that is handed over at the end. FlareDB's server and ChainFire's are this plus the
//! meaning of their requests.
//!
//! # Invariants
//! - Nothing in a data folder is read before the folder is known to be this node's.
//! - What is refused was not proposed; what was proposed and has no answer is never called a failure.
//! - A replica that was found to differ from the others answers nothing.
//!
//! # What it refuses to do
//! It knows no request of a service's clients and makes no gRPC status for them: it says why, and the service says it to
//! its callers. Only what nodes ask each other about their replicas is its own.

mod admission;
pub mod audit;
mod beside;
pub mod config;
mod contact;
mod forming;
mod host;
mod hub;
mod identity;
mod membership;
mod metrics;
mod peers;
mod proposals;
mod quarantine;
mod replica;
mod space;

pub use admission::{Admission, Busy, WriteLimits};
pub use beside::{Beside, until};
pub use host::{Host, Hosted, OpenError, Settings};
pub use hub::{Hub, Subscription};
pub use identity::{ClaimError, Identity};
pub use membership::{PromoteError, promote};
pub use metrics::{Counted, MemoryUse, Metrics};
pub use peers::{
    FINISHING as PEER_FINISHING, STREAMS as PEER_STREAMS, VITAL as PEER_VITAL, dial, peers_only,
};
pub use proposals::{NotProposed, Proposals};
pub use quarantine::{Quarantine, Quarantined};
pub use replica::{Commands, Replica};
pub use space::{Closed, Disk, Free, Mib, Room};

mod proto {
    /// What nodes ask each other, version 1.
    #[expect(
        unreachable_pub,
        unused_qualifications,
        clippy::allow_attributes_without_reason,
        reason = "generated; documented in the protobuf file"
    )]
    pub mod v1 {
        tonic::include_proto!("photon.node.v1");
    }
}

/// The encoded `FileDescriptorSet` of what nodes ask each other, for gRPC reflection and for tests that list every RPC.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
