//! Clusters of real nodes in one process: real gRPC over loopback, real logs in temporary folders.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper that fails is a test that fails")]

mod cluster;
mod failover;
mod forwarding;
mod journal;
mod membership;
mod refusal;
mod sharing;
