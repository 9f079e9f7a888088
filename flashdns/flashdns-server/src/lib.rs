//! FlashDNS: authoritative DNS whose zones are records of the metadata store, behind a control API.
//!
//! There are two halves that meet only in the store. The **control half** turns a call of the API into one commit:
//! `api` (gRPC shells) → `editor` (reads, commits, decides again when somebody was first) → `plan` (decides, pure).
//! The **data half** turns the store's records into answers: `feed` (lists, then watches) → `feed::state` (records to
//! catalog, pure) → `answerer` (the catalog, swapped whole) → `udp` and `tcp`. `server` puts both together. Where the
//! records are, and what is in them, is in [`metadata`]; how they are written as text, in `text`. The answers
//! themselves are made in `flashdns-core`.
//!
//! To change what the API can do, start in `api` and `plan`; to change what is served, in `feed::state`; a new kind
//! of record begins in [`metadata::records`].
//!
//! # Invariants
//! - A change of a zone is one commit: its preconditions, the record sets, the zone's record with the next serial,
//!   the entry in the change log. Two writers never share a serial, whichever process they ask.
//! - What is too large for one commit (an import, the rows of a deleted zone) is written or collected in bounded
//!   batches beside what is served, and becomes visible, or invisible, in one commit.
//! - The data half never asks the store to answer a query. It serves whole revisions, at a cost of what changed, and
//!   goes on serving while the store is away; `/readyz` says for how long it has been.
//! - A change answers its caller when this process serves it, or after a bounded wait.
//! - A query costs no allocation and takes no lock; every connection, queue, page, message and batch has a bound.
//!
//! # What it refuses
//! Recursion, zone transfers, classes other than IN; a change that would leave a zone which cannot be served; any
//! caller without credentials. It does not decide who may do what (`photon_runtime` does), and it has no storage of
//! its own but a checkpoint, which is a cache.

mod answerer;
mod api;
mod checkpoint;
mod clock;
mod config;
mod counters;
pub mod editor;
mod feed;
pub mod import;
mod listen;
pub mod metadata;
mod page;
pub mod plan;
mod readiness;
mod served;
mod server;
pub mod sweep;
mod tcp;
mod text;
mod udp;

pub use config::{Config, DnsConfig};
pub use listen::ListenError;
pub use server::FlashDns;
