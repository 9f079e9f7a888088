//! FlareDB's server: Raft over flaredb-engine, behind gRPC, as one process for each node.
//!
//! What is joined here comes from elsewhere: the state machine from flaredb-engine, consensus and its log from
//! flaredb-raft, what a node needs beside them from flaredb-node, the process (config, TLS, identity, authorization, drain) from photon-runtime. This crate's own part
//! is the meaning of a request: which namespace, which region, which mode, linearizable or local, and what the caller
//! is told when it cannot be done.
//!
//! # Invariants
//! - A Strong read is answered only after a read index, at whichever replica; "I am the leader" is never enough.
//! - A write is answered as failed only if it did not happen. Where that is not known, the answer says so.
//! - A watcher gets every revision whole, once and in order, or an error; never a gap.
//! - Everything that waits is bounded: proposals, watches, batches, pages, chunks.
//!
//! # What it refuses to do
//! It does not forward writes to the leader (the client does, so that nobody retries twice), it does not open a data
//! folder of another node or cluster, and it does not go on after a failed fsync.

pub mod cli;
mod clock;
pub mod config;
mod history;
mod leader;
mod metrics;
mod node;
mod region;
mod server;
mod service;
mod session;
mod status;

pub use config::Config;
pub use flaredb_node::{ClaimError, OpenError};
pub use server::FlareDb;
