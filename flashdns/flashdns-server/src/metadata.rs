//! FlashDNS's part of the metadata store: its namespace, its keys and records, and the backend behind them.
//!
//! [`FlareDbMetadataStore`] is what the rest of the crate reads and writes through. It is there before the
//! database is: until a backend has been opened, and whenever it is away, every operation answers
//! [`StoreError::Unavailable`], while the data plane goes on with what it has. Which backend stands behind it is
//! `[metadata] backend`; nothing else in the crate can tell the difference.

pub mod keys;
pub mod records;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use metadata_store::{
    Commit, Entity, MetadataStore, Namespace, Page, Record, StoreError, Token, Version, Watch,
};
use tokio::sync::SetOnce;

/// The namespace, by the table that all services share: Strong, named after the service.
pub const NAMESPACE: Namespace = Namespace { name: "flashdns", prefix: PREFIX };

/// Every key of FlashDNS is under it.
pub const PREFIX: &str = keys::PREFIX;

/// FlashDNS's metadata store, whatever the backend. Clones are of the same store.
#[derive(Clone, Default)]
pub struct FlareDbMetadataStore(Arc<SetOnce<Arc<dyn MetadataStore>>>);

/// The store was asked before it was opened.
#[derive(Debug, thiserror::Error)]
#[error("it is not open yet")]
struct NotOpen;

impl FlareDbMetadataStore {
    /// The store in `backend`, which is of [`NAMESPACE`].
    pub fn over(backend: Arc<dyn MetadataStore>) -> FlareDbMetadataStore {
        let store = FlareDbMetadataStore::default();
        store.attach(backend);
        store
    }

    /// Puts the backend behind this store and all of its clones. The first one stays.
    pub(crate) fn attach(&self, backend: Arc<dyn MetadataStore>) {
        if self.0.set(backend).is_err() {
            tracing::error!("a metadata store was opened twice; the first one is used");
        }
    }

    /// Waits until a backend is there.
    pub(crate) async fn opened(&self) {
        self.0.wait().await;
    }

    fn backend(&self) -> Result<&dyn MetadataStore, StoreError> {
        self.0.get().map(Arc::as_ref).ok_or_else(|| StoreError::unavailable(NotOpen))
    }
}

#[async_trait]
impl MetadataStore for FlareDbMetadataStore {
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError> {
        self.backend()?.get(key, at_least).await
    }

    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        self.backend()?.scan(prefix, limit, token).await
    }

    async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        self.backend()?.commit(commit).await
    }

    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError> {
        self.backend()?.watch(prefix, from).await
    }
}

impl fmt::Debug for FlareDbMetadataStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlareDbMetadataStore").field("is_open", &self.0.get().is_some()).finish()
    }
}

/// The value of a record.
///
/// # Errors
/// [`StoreError::Invalid`], which no record of ours should cause.
pub fn encode<E: Entity>(record: &E) -> Result<Bytes, StoreError> {
    metadata_store::encode(record)
}

/// What is in a record.
///
/// # Errors
/// [`StoreError::Corrupt`] when it is none of this kind.
pub fn decode<E: Entity>(record: &Record) -> Result<E, StoreError> {
    record.decode()
}

/// What is in the value of `key`.
///
/// # Errors
/// As [`decode`].
pub fn decode_value<E: Entity>(key: &str, value: &[u8]) -> Result<E, StoreError> {
    metadata_store::decode(key, value)
}
