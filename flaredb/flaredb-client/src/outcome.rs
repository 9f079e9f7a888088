//! What a failed attempt says about the request: refused, not done, or unknown. Pure.
//!
//! The one dangerous mistake is to take "unknown" for "not done": a write would then be repeated, or reported as one
//! that failed. So only three things count as "not done": a server's own UNAVAILABLE or RESOURCE_EXHAUSTED, which
//! FlareDB gives to nothing that it proposed, and a connection that could not be made. Everything that is not
//! understood is unknown.

use flaredb_proto::v1::{ErrorDetail, error_detail::Kind};
use photon_dial::{is_local, message_of, was_not_sent};
use prost::Message as _;
use tonic::{Code, Status};

use crate::Error;

/// What is known after an attempt that brought no answer.
pub(crate) type Outcome = photon_dial::Outcome<Error>;

/// What a status says.
pub(crate) fn of(status: &Status, endpoint: &str) -> Outcome {
    if is_local(status) {
        // Whatever its code.
        return if was_not_sent(status) { Outcome::Unreachable } else { Outcome::Unknown };
    }
    let kind = ErrorDetail::decode(status.details()).ok().and_then(|detail| detail.kind);
    match kind {
        Some(kind) => by_detail(kind, status),
        None => by_code(status, endpoint),
    }
}

fn by_detail(kind: Kind, status: &Status) -> Outcome {
    Outcome::Refused(match kind {
        Kind::NotLeader(hint) => {
            return Outcome::Redirected((!hint.leader_endpoint.is_empty()).then_some(hint.leader_endpoint));
        }
        Kind::Indeterminate(_) => return Outcome::Unknown,
        Kind::TooOld(old) => Error::TooOld { requested: old.requested, oldest: old.oldest },
        Kind::InvalidField(invalid) => Error::invalid(invalid.field, invalid.found, invalid.accepted),
        Kind::QuotaExceeded(full) => {
            Error::NoSpace { message: message_of(status), quota: full.quota, limit: full.limit }
        }
        Kind::NoSpace(_) => {
            Error::NoSpace { message: message_of(status), quota: "disk".to_owned(), limit: 0 }
        }
        Kind::WrongMode(wrong) => Error::WrongMode { namespace: wrong.namespace, mode: wrong.mode },
    })
}

fn by_code(status: &Status, endpoint: &str) -> Outcome {
    let message = || message_of(status);
    Outcome::Refused(match status.code() {
        Code::InvalidArgument => Error::invalid("request", message(), "what the API's description says"),
        Code::NotFound => Error::NotFound { message: message() },
        Code::AlreadyExists => Error::AlreadyExists { message: message() },
        Code::PermissionDenied => Error::Denied { message: message() },
        Code::Unauthenticated => Error::Unauthenticated { message: message() },
        Code::FailedPrecondition => Error::NotNow { message: message() },
        Code::Unimplemented => Error::protocol(endpoint, message()),
        Code::Unavailable if !is_a_proxys(status) => return Outcome::Unavailable,
        Code::ResourceExhausted => return Outcome::Busy,
        _ => return Outcome::Unknown,
    })
}

/// Whether something between us and the node answered (tonic's words for an HTTP status without a gRPC one). A
/// gateway that lost its patience does not know what the node did.
fn is_a_proxys(status: &Status) -> bool {
    status.message().starts_with("grpc-status header missing")
}

#[cfg(test)]
mod tests {
    use std::{error::Error as StdError, sync::Arc};

    use flaredb_proto::v1::{NotLeader, QuotaExceeded, TooOld};
    use tonic::ConnectError;

    use super::*;

    fn told(code: Code, kind: Kind) -> Outcome {
        let details = ErrorDetail { kind: Some(kind) }.encode_to_vec().into();
        of(&Status::with_details(code, "words", details), "http://n")
    }

    fn bare(code: Code) -> Outcome {
        of(&Status::new(code, "words"), "http://n")
    }

    fn local(code: Code, source: impl StdError + Send + Sync + 'static) -> Outcome {
        let mut status = Status::new(code, "words");
        status.set_source(Arc::new(source));
        of(&status, "http://n")
    }

    #[test]
    fn redirect_names_the_leader_when_the_node_knows_it() {
        let redirect = |endpoint: &str| {
            told(
                Code::Unavailable,
                Kind::NotLeader(NotLeader { leader_id: 2, leader_endpoint: endpoint.to_owned() }),
            )
        };
        assert!(
            matches!(redirect("http://b:1"), Outcome::Redirected(Some(leader)) if leader == "http://b:1")
        );
        assert!(matches!(redirect(""), Outcome::Redirected(None)));
    }

    #[test]
    fn only_a_servers_own_words_or_a_failed_connection_prove_that_nothing_happened() {
        assert!(matches!(bare(Code::Unavailable), Outcome::Unavailable));
        assert!(matches!(bare(Code::ResourceExhausted), Outcome::Busy));
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(matches!(local(Code::Unavailable, ConnectError(Box::new(refused()))), Outcome::Unreachable));
        assert!(matches!(local(Code::Unavailable, refused()), Outcome::Unknown));
        assert!(matches!(local(Code::ResourceExhausted, refused()), Outcome::Unknown));
        let gateway = Status::unavailable("grpc-status header missing, mapped from HTTP status code 504");
        assert!(matches!(of(&gateway, "http://n"), Outcome::Unknown));
    }

    #[test]
    fn every_other_code_without_words_of_its_own_is_unknown() {
        let unknown = [Code::Unknown, Code::Cancelled, Code::DeadlineExceeded, Code::Internal, Code::Aborted];
        for code in unknown.into_iter().chain([Code::DataLoss, Code::OutOfRange, Code::Ok]) {
            assert!(matches!(bare(code), Outcome::Unknown), "{code:?}");
        }
        assert!(matches!(told(Code::Unknown, Kind::Indeterminate(true)), Outcome::Unknown));
    }

    #[test]
    fn refusals_keep_their_types() {
        let old = told(Code::OutOfRange, Kind::TooOld(TooOld { requested: 1, oldest: 5 }));
        assert!(matches!(old, Outcome::Refused(Error::TooOld { requested: 1, oldest: 5 })));
        let full = QuotaExceeded { quota: "keys".to_owned(), limit: 9 };
        let full = told(Code::ResourceExhausted, Kind::QuotaExceeded(full));
        assert!(matches!(full, Outcome::Refused(Error::NoSpace { limit: 9, .. })));
        assert!(matches!(bare(Code::PermissionDenied), Outcome::Refused(Error::Denied { .. })));
        assert!(matches!(bare(Code::Unauthenticated), Outcome::Refused(Error::Unauthenticated { .. })));
        assert!(matches!(bare(Code::NotFound), Outcome::Refused(Error::NotFound { .. })));
        assert!(matches!(bare(Code::AlreadyExists), Outcome::Refused(Error::AlreadyExists { .. })));
    }
}
