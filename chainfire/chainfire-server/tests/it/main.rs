//! Real nodes in this process: TLS between them and before etcd's port, databases in temporary folders, clients made of
//! etcd's own protobuf.

#![expect(clippy::unwrap_used, reason = "a helper that fails is a test that fails")]

mod audits;
mod auth;
mod cloud;
mod credentials;
mod gossip;
mod kv;
mod leases;
mod members;
mod nodes;
mod snapshots;
mod turns;
mod users;
mod watches;
