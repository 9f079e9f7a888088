//! The runtime around a small real service: real TLS, real gRPC, ports of the system's choice.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod admin;
mod calls;
mod cloud;
mod configs;
mod credentials;
mod drain;
mod probe;
mod start;
