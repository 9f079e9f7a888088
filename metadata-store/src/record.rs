//! What is read: records with their versions, pages of them, and revisions of a watch.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Entity, StoreError, Token};

/// A revision of a namespace, and so the version of every record that it wrote; 0: absent, or no demand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub u64);

impl Version {
    /// The version of what is not there.
    pub const ABSENT: Version = Version(0);

    /// The revision after this one, from which a watch goes on.
    #[must_use]
    pub fn next(self) -> Version {
        Version(self.0.saturating_add(1))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its key.
    pub key: String,
    /// Its value: UTF-8 JSON.
    pub value: Bytes,
    /// The revision that wrote it.
    pub version: Version,
}

impl Record {
    /// The typed record in it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is none of this kind.
    pub fn decode<E: Entity>(&self) -> Result<E, StoreError> {
        crate::decode(&self.key, &self.value)
    }
}

/// One page of a scan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Its records, in the order of their keys.
    pub records: Vec<Record>,
    /// The revision that they are of, which is the same for all pages of the scan.
    pub revision: Version,
    /// The page after this one; `None`: this was the last.
    pub next: Option<Token>,
}

/// One whole revision, as far as it touched the prefix that is watched.
///
/// Without events it is progress: everything up to `version` has been delivered. Some come while nothing happens, so
/// that a watch that is silent for long can be taken for dead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// Its number.
    pub version: Version,
    /// What it changed, each key once.
    pub events: Vec<Event>,
}

/// What a revision did to one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The record's key.
    pub key: String,
    /// Its new value; `None`: it was deleted.
    pub value: Option<Bytes>,
    /// The version that it had before; 0: it was absent.
    pub previous: Version,
}
