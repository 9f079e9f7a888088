//! Every way to fail, as a gRPC status that a caller can act on.
//!
//! Wrong input, somebody else was first, not there, and not now are told apart by the code; the message has the
//! field, what was found and what would be accepted.

use metadata_store::StoreError;
use photon_runtime::errors::chain;
use tonic::{Code, Status};

use crate::{editor::EditError, plan::Refused, text::TextError};

/// A request that can never succeed as it is.
pub(super) fn invalid(field: &str, found: impl std::fmt::Display, accepted: &str) -> Status {
    Status::invalid_argument(format!("{field}: found {found}, accepted is {accepted}"))
}

/// A text that is no name, no type or no record.
pub(super) fn bad_text(field: &str, error: &TextError) -> Status {
    Status::invalid_argument(format!("{field}: {}", chain(error)))
}

impl From<EditError> for Status {
    fn from(error: EditError) -> Status {
        let code = match &error {
            EditError::NoZone { .. } => Code::NotFound,
            EditError::ZoneExists { .. } => Code::AlreadyExists,
            EditError::Refused(refused) => refused_code(refused),
            EditError::IdReused { .. } => Code::InvalidArgument,
            EditError::Contended { .. } | EditError::ImportExpired { .. } => Code::Aborted,
            EditError::Store(error) => store_code(error),
        };
        Status::new(code, chain(&error).to_string())
    }
}

fn refused_code(refused: &Refused) -> Code {
    match refused {
        Refused::ZoneVersion { .. } | Refused::SetVersion { .. } => Code::Aborted,
        Refused::Exists { .. } | Refused::Absent { .. } => Code::FailedPrecondition,
        Refused::NotAlone { .. }
        | Refused::NotSingle { .. }
        | Refused::NoNameServers { .. }
        | Refused::OwnerFull { .. }
        | Refused::TooLarge { .. } => Code::InvalidArgument,
        Refused::Unencodable(_) => Code::Internal,
    }
}

/// A failure of the store while reading.
pub(super) fn store(error: &StoreError) -> Status {
    Status::new(store_code(error), chain(error).to_string())
}

fn store_code(error: &StoreError) -> Code {
    match error {
        StoreError::Invalid { .. } | StoreError::TooLarge { .. } => Code::InvalidArgument,
        StoreError::Conflict(_) => Code::Aborted,
        StoreError::NotFound { .. } => Code::NotFound,
        // It may have happened; the caller finds out by the idempotency id, not by trying again blindly.
        StoreError::Indeterminate { .. } => Code::DeadlineExceeded,
        StoreError::Unavailable { .. } | StoreError::Moved { .. } => Code::Unavailable,
        StoreError::NoSpace { .. } => Code::ResourceExhausted,
        StoreError::TooOld { .. } => Code::OutOfRange,
        _ => Code::Internal,
    }
}
