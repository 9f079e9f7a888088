//! FlareDB's client: it finds the leader, follows redirects, gives every call a deadline, and retries only what cannot
//! take effect twice.
//!
//! Start from [`RdbClient`]. What it promises:
//!
//! - **A write that may have happened is never reported as one that failed**: that is [`Error::Indeterminate`], and it
//!   alone. [`Error::Unavailable`] means that nothing was written.
//! - **Retries are safe.** Reads are repeated until the deadline, at another node if need be. So is every write that
//!   certainly did not happen. A write whose outcome is unknown is repeated only if it carries an idempotency id
//!   ([`RdbClient::commit`]) or decides by a timestamp that it keeps (the `raw_` writes).
//! - **What the server would refuse by its limits never leaves the process.**
//! - **Scans are lazy and of one revision; watches resume** over lost connections and new leaders, without gap or
//!   repetition, until history no longer reaches back far enough ([`Error::TooOld`]).
//!
//! There are no background tasks of this crate: a stream works while it is polled, a call while it is awaited.

mod check;
mod client;
mod clock;
mod cluster;
mod commits;
mod config;
mod error;
mod into_bytes;
mod maintenance;
mod namespaces;
mod outcome;
mod pipe;
mod raw;
mod scan;
mod sessions;
mod strong;
mod watch;

pub use client::RdbClient;
pub use cluster::Cluster;
pub use commits::{CommitSender, Commits};
pub use config::ClientConfig;
pub use error::Error;
pub use flaredb_proto::v1::{
    CommitRequest, Compare, Conflict, RawRecord, Record, ScanRequest, ScanResponse, SnapshotChunk, Staleness,
    WatchEvent, WatchResponse, Write, write,
};
pub use into_bytes::IntoBytes;
pub use maintenance::{Maintenance, Snapshot};
pub use namespaces::Namespaces;
pub use photon_dial::{NodeError, Tls};
pub use raw::{RawRead, Stamped};
pub use scan::{RawScan, Scan};
pub use strong::{Read, Swap, idempotency_id};
pub use watch::Watch;
