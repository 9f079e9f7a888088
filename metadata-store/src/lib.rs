//! The metadata store: the one trait behind which services keep their records, and what stands behind it.
//!
//! Start at [`MetadataStore`]; [`open()`] makes one from a service's `[metadata]` section. A service names its
//! [`Namespace`], writes typed records ([`Entity`]) by atomic [`Commit`]s, and follows them by a [`Cache`], or by
//! [`Follow`] into a copy of its own.
//!
//! # The contract
//! - Keys are paths inside the namespace's prefix; a key outside it is refused before it leaves the process.
//! - Values are UTF-8 JSON of at most 1 MiB.
//! - A [`Version`] is the revision that wrote a record. It rises with every commit and never repeats, not even after
//!   a record was deleted and created again; 0 is "absent".
//! - Pages of one scan are of one revision. A watch delivers whole revisions, once, in order.
//! - A [`StoreError`] tells "it did not happen" from "it may have happened".
//!
//! Every backend passes the suite in [`conformance`], and the suite fails every backend of `tests/it/broken` that
//! breaks one promise.
//!
//! # What it refuses to do
//! It retries no write of unknown outcome by itself, and it has no store that forgets at the end of the process.

mod cache;
mod chainfire;
mod check;
mod commit;
mod config;
pub mod conformance;
mod embedded;
mod entity;
mod error;
mod find;
mod flaredb;
mod follow;
mod namespace;
mod open;
mod record;
mod store;
mod token;
mod wire;

pub use cache::{Cache, CacheLimits, Snapshot, Staleness};
pub use chainfire::ChainFireStore;
pub use commit::{Commit, Compare, IdempotencyId, Write};
pub use config::{Backend, ClusterTls, ClusterUser, ConfigIssue, MetadataConfig};
pub use embedded::EmbeddedStore;
pub use entity::{Entity, UpgradeError, decode, encode};
pub use error::{Cause, Conflict, Found, OpenError, StoreError};
pub use flaredb::FlareDbStore;
pub use follow::{Follow, Lost, Update};
pub use namespace::Namespace;
pub use open::{Credentials, open};
pub use record::{Event, Page, Record, Revision, Version};
pub use store::{MetadataStore, Watch};
pub use token::{MalformedToken, Token};
