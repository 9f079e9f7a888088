//! The engine against real RocksDB folders: examples of each promise, and random commands against a model.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod disk;
mod full_disk;
mod memory;
mod model;
mod promises;
mod restart;
mod store;
mod transactions;
