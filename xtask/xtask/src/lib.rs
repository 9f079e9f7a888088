//! What `cargo xtask` shares with `photon-e2e`: the layout of a cloud on one machine, and its processes.
//!
//! The commands themselves are the binary's modules.

pub mod layout;
pub mod process;
