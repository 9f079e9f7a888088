//! What a failed attempt says about the request: refused, not done, or unknown. Pure.
//!
//! etcd tells its errors apart by their text: one code stands for several. The one dangerous mistake is to take
//! "unknown" for "not done", because a write would then be told as one that failed. So only what etcd says before it
//! proposes anything counts as "not done", and everything that is not understood is unknown. Among what is unknown are
//! "request timed out", "leader changed" and "server stopped", which etcd also says of what is in its log already.

use photon_dial::{is_local, message_of, was_not_sent};
use tonic::{Code, Status};

use crate::Error;

/// What is known after an attempt that brought no answer.
pub(crate) type Outcome = photon_dial::Outcome<Error>;

/// Texts of errors that say: not here, not now, and nothing was proposed.
const NOT_HERE: [&str; 3] = [
    "etcdserver: no leader",
    "etcdserver: rpc not supported for learner",
    "etcdserver: not ready to serve client requests",
];
/// There is no token, or it is unknown or old.
const NO_TOKEN: [&str; 3] = [
    "etcdserver: user name is empty",
    "etcdserver: invalid auth token",
    "etcdserver: revision of auth store is old",
];
/// What grpc-go says of a request over its limit.
const RECEIVED_TOO_LARGE: &str = "grpc: received message larger than max";
/// What tonic says of an answer over our limit; a server that is made of it, of a request over its own.
const MESSAGE_TOO_LARGE: &str = "message length too large";

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// The revision that the request named; 0: none.
    pub(crate) revision: i64,
    /// Whether it changes nothing.
    pub(crate) read: bool,
}

/// What a status says about a request.
pub(crate) fn of(status: &Status, endpoint: &str, asked: Asked) -> Outcome {
    if is_local(status) {
        // Whatever its code.
        return if was_not_sent(status) { Outcome::Unreachable } else { Outcome::Unknown };
    }
    let text = status.message();
    if NOT_HERE.contains(&text) {
        return Outcome::Unavailable;
    }
    by_code(status, endpoint, asked)
}

/// Whether the caller has to authenticate (again), and the request was not judged.
pub(crate) fn needs_token(status: &Status) -> bool {
    NO_TOKEN.contains(&status.message())
}

/// Whether the cluster knows no passwords, so that none has to be shown.
pub(crate) fn auth_is_off(status: &Status) -> bool {
    status.message() == "etcdserver: authentication is not enabled"
}

fn by_code(status: &Status, endpoint: &str, asked: Asked) -> Outcome {
    let (text, message) = (status.message(), message_of(status));
    Outcome::Refused(match status.code() {
        Code::OutOfRange if text == COMPACTED => Error::TooOld { requested: asked.revision, oldest: 0 },
        // Of a write, it may be the answer that is too large.
        Code::OutOfRange if text.contains(MESSAGE_TOO_LARGE) && !asked.read => return Outcome::Unknown,
        Code::OutOfRange if text.contains(MESSAGE_TOO_LARGE) => Error::TooLarge { message },
        Code::OutOfRange => invalid("revision", message),
        Code::InvalidArgument if text == TOO_LARGE => Error::TooLarge { message },
        Code::InvalidArgument if needs_token(status) || text == WRONG_PASSWORD => Error::Denied { message },
        Code::InvalidArgument => invalid("request", message),
        Code::NotFound => Error::NotFound { message },
        Code::FailedPrecondition => Error::NotNow { message },
        Code::PermissionDenied | Code::Unauthenticated => Error::Denied { message },
        Code::Unimplemented => Error::protocol(endpoint, message),
        Code::ResourceExhausted => return exhausted(text, message),
        _ => return Outcome::Unknown,
    })
}

fn exhausted(text: &str, message: String) -> Outcome {
    match text {
        "etcdserver: mvcc: database space exceeded" => Outcome::Refused(Error::NoSpace { message }),
        "etcdserver: too many requests" => Outcome::Busy,
        _ if text.starts_with(RECEIVED_TOO_LARGE) => Outcome::Refused(Error::TooLarge { message }),
        _ => Outcome::Unknown,
    }
}

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";

const TOO_LARGE: &str = "etcdserver: request is too large";
const WRONG_PASSWORD: &str = "etcdserver: authentication failed, invalid user ID or password";

fn invalid(field: &'static str, found: String) -> Error {
    Error::Invalid { field, found, accepted: "what etcd's v3 API takes".to_owned() }
}

#[cfg(test)]
mod tests {
    use std::{error::Error as StdError, sync::Arc};

    use tonic::ConnectError;

    use super::*;

    fn told(code: Code, text: &str) -> Outcome {
        of(&Status::new(code, text), "http://n", Asked { revision: 7, read: false })
    }

    fn local(code: Code, source: impl StdError + Send + Sync + 'static) -> Outcome {
        let mut status = Status::new(code, "words");
        status.set_source(Arc::new(source));
        of(&status, "http://n", Asked { revision: 0, read: false })
    }

    #[test]
    fn only_what_is_said_before_a_proposal_or_a_failed_connection_proves_that_nothing_happened() {
        assert!(matches!(told(Code::Unavailable, "etcdserver: no leader"), Outcome::Unavailable));
        assert!(matches!(told(Code::ResourceExhausted, "etcdserver: too many requests"), Outcome::Busy));
        let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert!(matches!(local(Code::Unavailable, ConnectError(Box::new(refused()))), Outcome::Unreachable));
        assert!(matches!(local(Code::Unavailable, refused()), Outcome::Unknown));
    }

    #[test]
    fn what_etcd_also_says_of_a_request_in_its_log_is_unknown() {
        for text in [
            "etcdserver: request timed out",
            "etcdserver: request timed out, possibly due to previous leader failure",
            "etcdserver: leader changed",
            "etcdserver: server stopped",
            "grpc-status header missing, mapped from HTTP status code 504",
        ] {
            assert!(matches!(told(Code::Unavailable, text), Outcome::Unknown), "{text}");
        }
        for code in [Code::Unknown, Code::Cancelled, Code::DeadlineExceeded, Code::Internal, Code::Aborted] {
            assert!(matches!(told(code, "words"), Outcome::Unknown), "{code:?}");
        }
    }

    #[test]
    fn write_whose_answer_is_too_large_may_have_happened_and_a_read_is_told_so() {
        let status = Status::out_of_range("Error, decoded message length too large: found 9 bytes");
        let of = |read| of(&status, "http://n", Asked { revision: 0, read });
        assert!(matches!(of(false), Outcome::Unknown));
        assert!(matches!(of(true), Outcome::Refused(Error::TooLarge { .. })));
    }

    #[test]
    fn refusals_keep_their_kinds() {
        let compacted = told(Code::OutOfRange, COMPACTED);
        assert!(matches!(compacted, Outcome::Refused(Error::TooOld { requested: 7, oldest: 0 })));
        let full = told(Code::ResourceExhausted, "etcdserver: mvcc: database space exceeded");
        assert!(matches!(full, Outcome::Refused(Error::NoSpace { .. })));
        let large = told(Code::InvalidArgument, "etcdserver: request is too large");
        assert!(matches!(large, Outcome::Refused(Error::TooLarge { .. })));
        let large = told(Code::ResourceExhausted, "grpc: received message larger than max (9 vs. 8)");
        assert!(matches!(large, Outcome::Refused(Error::TooLarge { .. })));
        let denied = told(Code::PermissionDenied, "etcdserver: permission denied");
        assert!(matches!(denied, Outcome::Refused(Error::Denied { .. })));
        let nobody = told(Code::InvalidArgument, "etcdserver: user name is empty");
        assert!(matches!(nobody, Outcome::Refused(Error::Denied { .. })));
        let gone = told(Code::NotFound, "etcdserver: requested lease not found");
        assert!(matches!(gone, Outcome::Refused(Error::NotFound { .. })));
    }
}
