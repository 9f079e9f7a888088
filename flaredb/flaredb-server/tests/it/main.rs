//! The server as its callers see it: whole processes over TLS on real ports, with real data folders.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod audits;
mod cloud;
mod cluster;
mod credentials;
mod dashboard;
#[path = "../../../flaredb-engine/tests/it/disk.rs"]
mod disk;
mod failed_sync;
mod forgetting;
mod full_disk;
mod kills;
mod namespaces;
mod overload;
mod records;
mod restart;
mod snapshots;
mod verbs;
