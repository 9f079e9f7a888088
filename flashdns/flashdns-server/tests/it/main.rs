//! FlashDNS as its users meet it: the whole process on free ports, called by gRPC and asked by DNS packets.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what fails in a test is a failed test"
)]

mod access;
mod changes;
mod dns;
mod files;
mod lifecycle;
mod node;
mod restart;
mod transport;
