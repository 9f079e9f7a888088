//! The client against nodes that play a script: what it sends, how often and where, and what it makes of the answers.
//!
//! Real servers are another crate's matter; here a node must be able to redirect, fall silent, cut a stream or lie,
//! exactly when the test says so.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod calls;
mod node;
mod streams;
mod tls;
mod writes;
