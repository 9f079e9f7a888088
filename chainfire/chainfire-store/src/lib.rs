//! ChainFire's state machine: etcd's keys with revisions, leases, users and alarms, over the engine's rows and history.
//!
//! Start at [`Store::open`] and drive it with [`Store::apply`]; reads ([`Store::range`], [`Store::events`],
//! [`Store::lease`], [`Store::auth`]) go straight to the engine beside it.
//!
//! # Invariants
//! - What a command does and answers depends on the state and the command alone, so all replicas agree. Numbers of
//!   leases and hashes of passwords are chosen by who proposes.
//! - A command is refused before it has written anything, or not at all.
//! - One command that writes makes one revision, as etcd's do: the first of an empty store is 2.
//! - Refusals are etcd's, to the letter.
//!
//! # What it refuses to do
//! It knows no network, no consensus and no time. Whether a lease's time is over is the leader's to say; what the leader
//! says counts only while it is the leader of the last term that began.

mod apply;
mod auth;
mod check;
mod compare;
mod error;
mod events;
mod hash;
mod headers;
mod number;
mod password;
mod path;
mod read;
mod record;
pub mod refusal;
mod rows;
mod select;
mod store;
mod view;

/// What nodes propose, and what comes of it.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in the protobuf file"
)]
pub mod internal {
    include!(concat!(env!("OUT_DIR"), "/chainfire.internal.v1.rs"));
}

pub use auth::Auth;
pub use check::{TXN_OPS_MAX, check, is_read_only};
pub use error::StoreError;
pub use events::{Events, Revision, StoreEvent};
pub use hash::KeysHash;
pub use password::{PasswordError, hash_password};
pub use store::{Lease, Store};
