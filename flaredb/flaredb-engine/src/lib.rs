//! FlareDB's state machine over RocksDB: what the records of a region are, and what each command does to them.
//!
//! Start at [`Engine::open`], take a [`Region`], and drive it with [`Region::apply`], or, with commands of your own,
//! with [`Region::apply_with`]. Reads ([`Region::get`],
//! [`Region::scan`], [`Region::events`], [`Region::raw_get`]) go straight to RocksDB beside it.
//!
//! # Invariants
//! - `apply` is a function of the state and the entries: no clock, no randomness, no iteration in hash order. It makes
//!   one atomic write that also holds how far it is, so a crash repeats entries whole or not at all.
//! - A version is the namespace's revision, which only committed writes advance; it never repeats.
//! - A reader sees a revision whole or not at all.
//!
//! # What it refuses to do
//! It knows no consensus, no network and no time, and it is the only crate that links RocksDB.
//!
//! # How records are kept
//! | column family | key | value |
//! | --- | --- | --- |
//! | `meta` | region, kind | how far `apply` is; the namespaces |
//! | `cas` | namespace, escaped key, version, put or delete | what that version of a Strong record put: the newest one, and those that reads at a retained revision need |
//! | `hist` | namespace, revision, position | what each revision did, for watches |
//! | `ids` | namespace, idempotency id | the revision that it made |
//! | `raw` | namespace, key | the winning write of an Eventual namespace, also if it was a delete; in others, aux rows |

mod apply;
mod aux_rows;
mod batch;
mod codec;
mod counters;
mod engine;
mod error;
mod events;
mod growth;
mod install;
mod keys;
mod memory;
mod namespace;
pub mod planted;
mod raw;
mod read;
mod recent;
mod region;
mod scan;
mod snapshot;
mod transaction;
mod versions;
mod visit;

pub use engine::{Durability, Engine, Options, RegionId};
pub use error::{EngineError, OpenError, ReadError};
pub use events::{EventBatch, EventLimits, EventRecord, RevisionEvents};
pub use install::Install;
pub use memory::Memory;
pub use namespace::{NamespaceId, NamespaceInfo};
pub use raw::{RawPage, RawRecord, TombstonePage};
pub use read::Versioned;
pub use recent::Current;
pub use region::{Applied, Entry, Region};
pub use scan::{ScanPage, ScanRange, ScanRecord};
pub use snapshot::{Chunk, Snapshot};
pub use transaction::{Revision, Transaction};
pub use visit::{RecordView, Span};
