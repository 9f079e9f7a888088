//! ChainFire's server: etcd's v3 API over a replicated store, as one process for each node.
//!
//! What is joined here comes from elsewhere: the state machine from chainfire-store, consensus from flaredb-raft, what a
//! node needs beside them from flaredb-node, who is there from chainfire-gossip, the process from photon-runtime. This
//! crate's own part is what etcd's clients see (which node may answer, on whose behalf, and in whose words), and what is
//! made of gossip's hearsay.
//!
//! # Invariants
//! - Any node takes any request: a write goes to the leader by itself, a linearizable read is answered after a read
//!   index, at whichever node.
//! - A write is answered as failed only if it did not happen. Where that is not known, it is `request timed out`, which
//!   etcd's clients do not repeat by themselves.
//! - A watcher gets every revision whole, once and in order, or is told why not; never a gap.
//! - Verdicts on machines are committed by the node that leads and nobody else, after it has asked over a second way.
//! - Everything that waits is bounded: writes under way, watches, events of one message.
//!
//! # What it refuses to do
//! It does not authenticate on etcd's port by anything but etcd's own rules, does not open a data folder of another node
//! or cluster, and does not make a node a voter that has not caught up.

pub mod agent;
mod api;
pub mod cli;
mod commands;
pub mod config;
mod court;
mod deadlines;
mod gossip;
mod keeper;
mod node;
mod recent;
pub mod restore;
mod server;
mod service;
mod snapshot_file;
mod status;
mod tokens;
mod turns;
mod verbs;

pub use agent::Agent;
pub use config::Config;
pub use gossip::GossipConfig;
pub use server::ChainFire;
