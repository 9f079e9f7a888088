//! A client of etcd's v3 API, for ChainFire and for etcd itself: every call has a deadline and goes on at another node,
//! and only what cannot take effect twice is tried again.
//!
//! Start from [`Client`]. What it promises:
//!
//! - **A write that may have happened is never told as one that failed**: that is [`Error::Indeterminate`], and it
//!   alone. [`Error::Unavailable`] means that nothing was written. The API has no ids for writes, so resolving a write
//!   in doubt is its caller's work; a transaction that does nothing the second time is sent by
//!   [`Client::txn_repeatable`], until it is known.
//! - **Nodes without a leader are left**: every request says that it needs one, so that a node which is cut off refuses
//!   it at once instead of keeping it until nobody knows what became of it.
//! - **Pages of a scan are of one revision** ([`Client::page`]); **watches resume** over lost connections and new
//!   leaders, and deliver whole revisions, once, in order ([`Client::watch`]).
//!
//! - **Services find each other** by a [`Registry`], whose records any client of etcd's can read.
//!
//! It has no background tasks: a watch works while it is polled, and a lease is kept by whoever awaits [`KeepAlive`].

mod client;
mod config;
mod error;
mod kv;
mod lease;
mod outcome;
pub mod registry;
mod revisions;
mod session;
mod watch;

pub use client::Client;
pub use config::{ClientConfig, User};
pub use error::Error;
pub use kv::{Page, PageRequest};
pub use lease::KeepAlive;
pub use photon_dial::{NodeError, Tls};
pub use registry::Registry;
pub use revisions::Revision;
pub use watch::{Watch, WatchRequest};
