//! What is written: an atomic batch under compares.

use std::fmt;

use bytes::Bytes;
use uuid::Uuid;

use crate::{StoreError, Version, check};

/// An atomic batch: if every compare holds, every write takes effect, all in one revision; otherwise none does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// What has to be true.
    pub compares: Vec<Compare>,
    /// What is written, each key once.
    pub writes: Vec<Write>,
    /// A second commit under the same id answers what the first one did and writes nothing, as long as history
    /// retains the first. What makes a commit of unknown outcome safe to send again.
    pub idempotency_id: Option<IdempotencyId>,
}

/// A precondition: the record is at this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compare {
    /// The record's key.
    pub key: String,
    /// Its version; 0: it is absent.
    pub version: Version,
}

/// One write of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Creates or replaces a record.
    Put {
        /// Its key.
        key: String,
        /// Its value: UTF-8 JSON, at most 1 MiB.
        value: Bytes,
    },
    /// Deletes a record. Deleting what is not there is no error and makes no event.
    Delete {
        /// Its key.
        key: String,
    },
}

impl Commit {
    /// One record, if it is at the expected version (0: if it is absent).
    pub fn put(key: &str, value: Bytes, expected: Version) -> Commit {
        Commit::one(Write::Put { key: key.to_owned(), value }, expected)
    }

    /// One record gone, if it is at the expected version.
    pub fn delete(key: &str, expected: Version) -> Commit {
        Commit::one(Write::Delete { key: key.to_owned() }, expected)
    }

    fn one(write: Write, version: Version) -> Commit {
        let compare = Compare { key: write.key().to_owned(), version };
        Commit { compares: vec![compare], writes: vec![write], idempotency_id: Some(IdempotencyId::random()) }
    }
}

impl Write {
    /// The key that it writes.
    pub fn key(&self) -> &str {
        match self {
            Write::Put { key, .. } | Write::Delete { key } => key,
        }
    }
}

/// Names one commit, so that it takes effect once however often it is sent. At most 64 bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct IdempotencyId(Bytes);

impl IdempotencyId {
    /// A new one.
    pub fn random() -> IdempotencyId {
        IdempotencyId(Bytes::copy_from_slice(Uuid::new_v4().as_bytes()))
    }

    /// One of the caller's own.
    ///
    /// # Errors
    /// [`StoreError::Invalid`] when it is empty or longer than 64 bytes.
    pub fn new(id: impl Into<Bytes>) -> Result<IdempotencyId, StoreError> {
        let id = id.into();
        check::idempotency_id(&id)?;
        Ok(IdempotencyId(id))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }
}

impl fmt::Display for IdempotencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for IdempotencyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdempotencyId({self})")
    }
}
