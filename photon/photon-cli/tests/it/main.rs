//! The binary as people and scripts meet it: its words on stderr, its rows on stdout, its exit codes.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod photon;
mod pki;
mod status;
mod usage;
