//! The trait.

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

use crate::{Commit, Page, Record, Revision, StoreError, Token, Version};

/// Revisions as they come. Ends after an error; go on with a new watch from the revision after the last one.
pub type Watch = BoxStream<'static, Result<Revision, StoreError>>;

/// A service's metadata, whatever keeps it. Every operation is bounded in time by the backend.
#[async_trait]
pub trait MetadataStore: Send + Sync {
    /// The record under `key`, if there is one. It reflects every commit that was acknowledged before, to anybody,
    /// and at least the revision `at_least`.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] for a key outside the service's prefix, and what the backend meets.
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError>;

    /// One page of the records under `prefix` (which ends with `/`), in the order of keys. The first page is of the
    /// newest revision, the pages of its tokens are of the same one. `limit` 0, or more than 1,024: 1,024.
    ///
    /// # Errors
    /// [`StoreError::TooOld`] when the revision of the token has left history, and what the backend meets.
    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError>;

    /// Carries out an atomic batch, durably, and answers the revision that it made. When it changed nothing (only
    /// compares, or deletes of what is not there), the answer is the newest revision.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when a compare does not hold, [`StoreError::Indeterminate`] when it may have
    /// happened, and what the backend meets.
    async fn commit(&self, commit: Commit) -> Result<Version, StoreError>;

    /// Every revision from `from` on (0: from now on) that touches keys under `prefix`: whole, once, in order.
    ///
    /// # Errors
    /// [`StoreError::TooOld`], here or in the stream, when `from` has left history.
    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError>;

    /// Creates a record.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when there is one, and those of [`MetadataStore::commit`].
    async fn create(&self, key: &str, value: Bytes) -> Result<Version, StoreError> {
        self.commit(Commit::put(key, value, Version::ABSENT)).await
    }

    /// Replaces a record that is at the expected version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is at another one, and those of [`MetadataStore::commit`].
    async fn compare_and_set(
        &self,
        key: &str,
        expected: Version,
        value: Bytes,
    ) -> Result<Version, StoreError> {
        self.commit(Commit::put(key, value, expected)).await
    }

    /// Deletes a record that is at the expected version.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when it is at another one, and those of [`MetadataStore::commit`].
    async fn compare_and_delete(&self, key: &str, expected: Version) -> Result<Version, StoreError> {
        self.commit(Commit::delete(key, expected)).await
    }

    /// The record under `key`, which has to be there.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], and those of [`MetadataStore::get`].
    async fn fetch(&self, key: &str) -> Result<Record, StoreError> {
        let found = self.get(key, Version::ABSENT).await?;
        found.ok_or_else(|| StoreError::NotFound { key: key.to_owned() })
    }
}

impl std::fmt::Debug for dyn MetadataStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MetadataStore")
    }
}
