//! The store over real folders: random commands against a model of etcd, and examples of each promise.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod auth;
mod driver;
mod keys;
mod leases;
mod model;
mod random;
mod reference;
mod replicas;
