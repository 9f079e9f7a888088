//! Why an operation brought nothing, told apart by what the caller can do about it.

use std::{error::Error, fmt, path::PathBuf};

use crate::{ConfigIssue, IdempotencyId, Record, Version};

/// What stands behind an error.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why an operation on the metadata store did not answer as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The request is wrong as it is. Nothing happened.
    #[error("{field}: {found} is not accepted; accepted: {accepted}")]
    Invalid {
        /// Which part of it.
        field: &'static str,
        /// What it held.
        found: String,
        /// What it may hold.
        accepted: String,
    },
    /// Somebody else was first. Nothing happened; read again and decide again.
    #[error("{0}")]
    Conflict(Conflict),
    /// It is not there.
    #[error("{key}: not found")]
    NotFound {
        /// What was asked for.
        key: String,
    },
    /// A write may or may not have happened. Sent again under the same id, it happens once.
    #[error("the outcome of the commit is not known; send it again under the same idempotency id")]
    Indeterminate {
        /// The commit's id.
        id: Option<IdempotencyId>,
        /// Why.
        #[source]
        source: Cause,
    },
    /// It did not happen, and may be tried again.
    #[error("the metadata store is unavailable")]
    Unavailable {
        /// Why.
        #[source]
        source: Cause,
    },
    /// A value, key or batch is larger than the store takes. Nothing happened.
    #[error("{what}: {bytes} bytes, accepted are {}", bound(*bytes_max))]
    TooLarge {
        /// Which part of the request.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The bound; 0: not known, less than this.
        bytes_max: usize,
    },
    /// A quota is used up, or the disk is full. Nothing happened.
    #[error("no space: {what}")]
    NoSpace {
        /// Which bound was met.
        what: String,
    },
    /// The revision has left the retained history: list again.
    #[error("revision {requested} is behind the retained history, which starts at {oldest}; list again")]
    TooOld {
        /// The revision that was asked for.
        requested: Version,
        /// The oldest that is retained; 0: not known.
        oldest: Version,
    },
    /// The prefix has been moved to another backend; nothing happened here.
    #[error("{prefix} has moved to another metadata store; read the configuration anew")]
    Moved {
        /// Which prefix.
        prefix: String,
    },
    /// The caller may not do this.
    #[error("denied: {what}")]
    Denied {
        /// What the store said.
        what: String,
    },
    /// What was read is not what this program writes.
    #[error("{key}: the stored record cannot be read")]
    Corrupt {
        /// Which record, or which part of the store.
        key: String,
        /// What is wrong with it.
        #[source]
        source: Cause,
    },
}

impl StoreError {
    /// A request that can never succeed as it is.
    pub fn invalid(field: &'static str, found: impl Into<String>, accepted: impl Into<String>) -> StoreError {
        StoreError::Invalid { field, found: found.into(), accepted: accepted.into() }
    }

    /// It did not happen, for this reason.
    pub fn unavailable(source: impl Into<Cause>) -> StoreError {
        StoreError::Unavailable { source: source.into() }
    }

    /// A record that cannot be read.
    pub fn corrupt(key: impl Into<String>, source: impl Into<Cause>) -> StoreError {
        StoreError::Corrupt { key: key.into(), source: source.into() }
    }

    /// Whether a write may have happened in spite of the error.
    pub fn may_have_happened(&self) -> bool {
        matches!(self, StoreError::Indeterminate { .. })
    }

    /// Whether the same request may succeed later, without a change of it. A commit is only to be sent again under
    /// the same idempotency id.
    pub fn is_passing(&self) -> bool {
        matches!(self, StoreError::Indeterminate { .. } | StoreError::Unavailable { .. })
    }
}

fn bound(bytes_max: usize) -> String {
    if bytes_max == 0 { "fewer".to_owned() } else { bytes_max.to_string() }
}

/// An error with everything behind it.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error: &&dyn Error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Which compares of a commit did not hold, and what was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// One for each compare that did not hold; at least one.
    pub found: Vec<Found>,
}

/// What a compare found instead of what it expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The compared key.
    pub key: String,
    /// The version that was expected; 0: absent.
    pub expected: Version,
    /// What was there; `None`: nothing.
    pub actual: Option<Record>,
}

impl Found {
    /// The version that was there; 0: absent.
    pub fn version(&self) -> Version {
        self.actual.as_ref().map_or(Version::ABSENT, |record| record.version)
    }
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, found) in self.found.iter().enumerate() {
            let separator = if position == 0 { "" } else { "; " };
            let Found { key, expected, .. } = found;
            write!(f, "{separator}{key}: expected version {expected}, found {}", found.version())?;
        }
        Ok(())
    }
}

/// Why a backend could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The configuration cannot be used.
    #[error(transparent)]
    Config(#[from] ConfigIssue),
    /// The folder of the embedded store cannot be used.
    #[error("{}: cannot be opened as a metadata store", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The namespace is not as it has to be.
    #[error("namespace {name}: {problem}")]
    Namespace {
        /// Which.
        name: String,
        /// What is wrong, and what to do about it.
        problem: String,
    },
    /// The store did not answer as needed.
    #[error("the metadata store cannot be used")]
    Store(#[from] StoreError),
}
