//! What the store says when it does not do something.

use flaredb_engine::{EngineError, ReadError};

use crate::refusal::{COMPACTED, FUTURE_REVISION, Refusal};

/// Why a read brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The request does not fit the state.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The replica is getting its whole state from a snapshot; nothing can be read until it has it.
    #[error("this replica is being replaced by a snapshot")]
    Installing,
    /// The state cannot be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::TooOld { .. } => COMPACTED.into(),
            ReadError::FutureRevision { .. } => FUTURE_REVISION.into(),
            ReadError::Installing => Self::Installing,
            ReadError::NoNamespace(_) => EngineError::Corrupt { what: "namespace of keys" }.into(),
            ReadError::Engine(error) => error.into(),
        }
    }
}
