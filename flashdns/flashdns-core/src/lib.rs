//! The data plane of FlashDNS without its sockets: zones go in as record sets, answers come out as packets.
//!
//! It exists apart from the server so that all of it can be tested, fuzzed and measured without I/O. A [`Zone`]
//! is compiled once into an immutable snapshot and changed by making another that shares what did not change; a
//! [`Catalog`] is the set of zones that is served; [`answer()`] turns one query into one reply.
//!
//! Invariants:
//! - Answering allocates nothing, takes no lock, cannot panic, and is bounded: every loop has a limit that does
//!   not depend on the sender.
//! - A zone never changes. An answer comes from one [`Catalog`], hence from one version of every zone.
//! - A change costs what it changes, not what the zone holds.
//! - No clock, no I/O, no threads. The only randomness is the seed of the hash tables, which no answer shows.
//!
//! It refuses to be a resolver (it never asks anybody), to transfer zones, and to sign.
#![forbid(unsafe_code)]

mod answer;
mod catalog;
mod hash;
mod labels;
mod name;
pub mod present;
mod rdata;
mod rrset;
pub mod rtype;
mod shards;
pub mod validate;
mod zone;

pub use answer::{Lookahead, Transport, answer};
pub use catalog::Catalog;
pub use name::{Name, NameError};
pub use rrset::{Change, RrSet};
pub use zone::{Zone, ZoneError};
