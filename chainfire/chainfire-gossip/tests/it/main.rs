//! The crate as its users see it: clusters in simulated time, and real ones on loopback.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod cluster;
mod sim;
