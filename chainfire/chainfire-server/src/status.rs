//! How what failed is told to etcd's clients: in etcd's words and with its codes, which they compare.

use chainfire_store::{
    StoreError,
    internal::{Outcome, outcome},
    refusal::{self, Refusal},
};
use flaredb_node::{Closed, NotProposed, Quarantined};
use flaredb_raft::{ProposeError, ReadError};
use photon_runtime::errors::chain;
use tonic::{Code, Status};

/// A refusal of etcd's as a status.
pub(crate) fn refused(refusal: Refusal) -> Status {
    Status::new(Code::from_i32(refusal.code), refusal.message)
}

/// Why a read brought nothing.
pub(crate) fn unreadable(error: StoreError) -> Status {
    match error {
        StoreError::Refused(refusal) => refused(refusal),
        StoreError::Installing => Status::unavailable(error.to_string()),
        StoreError::Engine(error) => storage(&error),
    }
}

/// The caller is told that it is this node's fault; only the log says what the fault is.
pub(crate) fn storage(error: &(dyn std::error::Error + 'static)) -> Status {
    tracing::error!(error = %chain(error), "storage failed a request");
    Status::internal("this node cannot read or write its data")
}

/// Why a command has no outcome.
pub(crate) fn not_proposed(error: NotProposed) -> Status {
    match error {
        NotProposed::Quarantined => Status::unavailable(error.to_string()),
        NotProposed::Closed(Closed::NoRoom(_)) => refused(refusal::NO_SPACE),
        NotProposed::Closed(Closed::HandingOver) => refused(refusal::NO_LEADER),
        NotProposed::Busy(_) => refused(refusal::TOO_MANY_REQUESTS),
        NotProposed::Failed(error) => refused(match error {
            ProposeError::NotLeader { .. } | ProposeError::Unavailable => refusal::NO_LEADER,
            ProposeError::NoSpace => refusal::NO_SPACE,
            ProposeError::TooLarge { .. } => refusal::REQUEST_TOO_LARGE,
            // It may have happened: etcd's clients do not repeat after these.
            ProposeError::Indeterminate => refusal::TIMEOUT,
            ProposeError::Stopped => refusal::STOPPED,
        }),
    }
}

/// Why a linearizable read cannot be answered.
pub(crate) fn no_read_index(error: &ReadError) -> Status {
    refused(match error {
        ReadError::Unavailable => refusal::TIMEOUT,
        ReadError::Stopped => refusal::STOPPED,
    })
}

/// This replica is not to be trusted.
pub(crate) fn quarantined(error: &Quarantined) -> Status {
    Status::unavailable(error.to_string())
}

/// The store answered what it never answers to that.
pub(crate) fn unexpected(what: &str) -> Status {
    tracing::error!(what, "the store gave an answer of another kind");
    Status::internal("the store gave an answer of another kind")
}

/// What came of a command, unless it was refused.
pub(crate) fn outcome(outcome: Outcome) -> Result<outcome::Outcome, Status> {
    match outcome.outcome {
        Some(outcome::Outcome::Refused(refused)) => Err(self::refused(refused.into())),
        Some(outcome) => Ok(outcome),
        None => Err(unexpected("nothing")),
    }
}
