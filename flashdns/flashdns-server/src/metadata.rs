//! FlashDNS's part of the metadata store: its namespace, its keys and records, and the backend behind them.
//!
//! [`FlareDbMetadataStore`] is what the rest of the crate reads and writes through. It is there before the
//! database is: until a backend has been opened, and whenever it is away, every operation answers
//! [`StoreError::Unavailable`], while the data plane goes on with what it has. Which backend stands behind it is
//! `[metadata] backend`; nothing else in the crate can tell the difference.

pub mod keys;
pub mod records;

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use metadata_store::{
    Commit, Entity, MetadataStore, Namespace, Page, Record, Revision, StoreError, Token, Version,
};

/// The namespace, by the table that all services share: Strong, named after the service.
pub const NAMESPACE: Namespace = Namespace { name: "flashdns", prefix: PREFIX };

/// Every key of FlashDNS is under it.
pub const PREFIX: &str = keys::PREFIX;

/// FlashDNS's metadata store, whatever the backend.
#[derive(Clone, Default)]
pub struct FlareDbMetadataStore(Arc<OnceLock<Arc<dyn MetadataStore>>>);
