//! Every way in which a request is refused, and the one place where that becomes a gRPC status.
//!
//! A code alone cannot say where the leader is or how old "too old" is, so the details carry an encoded
//! `ErrorDetail`. Nothing here ever says that a write failed when it may have happened: that is
//! [`Refusal::Indeterminate`], and it alone.

use bytes::Bytes;
use flaredb_engine::{EngineError, ReadError};
use flaredb_node::{Busy, Quarantined};
use flaredb_proto::v1::{
    self, ErrorDetail, InvalidField, NoSpace, NotLeader, QuotaExceeded, TooOld, WrongMode, error_detail::Kind,
};
use prost::Message as _;
use tonic::{Code, Status};

/// Why a request was not done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The caller's input is wrong.
    #[error("{field}: {found} is not accepted; accepted: {accepted}")]
    Invalid {
        /// The request's field.
        field: String,
        /// What it held.
        found: String,
        /// What it may hold.
        accepted: String,
    },
    /// There is no such namespace.
    #[error("namespace {0:?} does not exist; make it with: flaredb namespace create {0}")]
    NoNamespace(String),
    /// There is one of that name already.
    #[error("namespace {0:?} exists already")]
    NamespaceExists(String),
    /// The operation belongs to the other mode.
    #[error("namespace {namespace:?} is {mode}: this operation is refused there")]
    WrongMode {
        /// The namespace.
        namespace: String,
        /// The mode that it is in.
        mode: &'static str,
    },
    /// The namespace is full.
    #[error("namespace {namespace:?} is at its quota of {limit} {quota}; delete records or raise the quota")]
    Quota {
        /// The namespace.
        namespace: String,
        /// "keys" or "bytes".
        quota: &'static str,
        /// The quota.
        limit: u64,
    },
    /// History does not reach back so far.
    #[error("revision {requested} is behind the retained history, which starts at {oldest}; read anew")]
    TooOld {
        /// The revision that was asked for.
        requested: u64,
        /// The oldest revision there is.
        oldest: u64,
    },
    /// The namespace has not got that far.
    #[error("revision {requested} does not exist yet; the newest is {newest}")]
    FutureRevision {
        /// The revision that was asked for.
        requested: u64,
        /// The newest revision there is.
        newest: u64,
    },
    /// Another node leads. Nothing was written.
    #[error("this node does not lead; the leader is {}", leader_words(*id, endpoint))]
    NotLeader {
        /// The leader; 0 when there is none at the moment.
        id: u64,
        /// Where it is; empty when not known.
        endpoint: String,
    },
    /// The write may or may not have happened.
    #[error("the outcome of this write is unknown: it may or may not have happened")]
    Indeterminate,
    /// It did not happen, and cannot at the moment.
    #[error("{0}")]
    Unavailable(String),
    /// Too much is under way.
    #[error("{limit} {what} are under way already; try again in a moment")]
    Busy {
        /// What there is too much of.
        what: &'static str,
        /// How many are allowed.
        limit: u32,
    },
    /// There is no room on the disk. Nothing was written.
    #[error("the disk is full, nothing was written: {0}")]
    NoSpace(String),
    /// The state does not allow it.
    #[error("{0}")]
    NotNow(String),
    /// There is no such member.
    #[error("node {0} is no member of this cluster; see: flaredb member list")]
    NoMember(u64),
    /// This node's disk or data is broken.
    #[error("this node cannot read or write its data")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Refusal {
    /// An invalid field of a request.
    pub(crate) fn invalid(
        field: impl Into<String>,
        found: impl Into<String>,
        accepted: impl Into<String>,
    ) -> Self {
        Self::Invalid { field: field.into(), found: found.into(), accepted: accepted.into() }
    }

    /// Why a namespace could not be read.
    pub(crate) fn unreadable(namespace: &str, error: ReadError) -> Self {
        match error {
            ReadError::TooOld { requested, oldest } => Self::TooOld { requested, oldest },
            ReadError::FutureRevision { requested, newest } => Self::FutureRevision { requested, newest },
            ReadError::Installing => Self::Unavailable(error.to_string()),
            // It was found by its name a moment ago: it was deleted since.
            ReadError::NoNamespace(_) => Self::NoNamespace(namespace.to_owned()),
            ReadError::Engine(error) => error.into(),
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::Invalid { .. } | Self::FutureRevision { .. } => Code::InvalidArgument,
            Self::NoNamespace(_) | Self::NoMember(_) => Code::NotFound,
            Self::NamespaceExists(_) => Code::AlreadyExists,
            Self::WrongMode { .. } | Self::NotNow(_) => Code::FailedPrecondition,
            Self::Quota { .. } | Self::Busy { .. } | Self::NoSpace(_) => Code::ResourceExhausted,
            Self::TooOld { .. } => Code::OutOfRange,
            Self::NotLeader { .. } | Self::Unavailable(_) => Code::Unavailable,
            Self::Indeterminate => Code::Unknown,
            Self::Storage(_) => Code::Internal,
        }
    }

    fn detail(&self) -> Option<Kind> {
        Some(match self {
            Self::Invalid { field, found, accepted } => Kind::InvalidField(InvalidField {
                field: field.clone(),
                found: found.clone(),
                accepted: accepted.clone(),
            }),
            Self::FutureRevision { requested, newest } => Kind::InvalidField(InvalidField {
                field: "revision".to_owned(),
                found: requested.to_string(),
                accepted: format!("at most {newest}"),
            }),
            Self::WrongMode { namespace, mode } => {
                Kind::WrongMode(WrongMode { namespace: namespace.clone(), mode: (*mode).to_owned() })
            }
            Self::Quota { quota, limit, .. } => {
                Kind::QuotaExceeded(QuotaExceeded { quota: (*quota).to_owned(), limit: *limit })
            }
            Self::TooOld { requested, oldest } => {
                Kind::TooOld(TooOld { requested: *requested, oldest: *oldest })
            }
            Self::NotLeader { id, endpoint } => {
                Kind::NotLeader(NotLeader { leader_id: *id, leader_endpoint: endpoint.clone() })
            }
            Self::NoSpace(reason) => Kind::NoSpace(NoSpace { reason: reason.clone() }),
            Self::Indeterminate => Kind::Indeterminate(true),
            _ => return None,
        })
    }
}

impl From<Busy> for Refusal {
    fn from(busy: Busy) -> Self {
        Self::Busy { what: busy.what, limit: busy.limit }
    }
}

impl From<Quarantined> for Refusal {
    fn from(quarantined: Quarantined) -> Self {
        Self::Unavailable(quarantined.to_string())
    }
}

impl From<EngineError> for Refusal {
    fn from(error: EngineError) -> Self {
        Self::Storage(Box::new(error))
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        if let Refusal::Storage(source) = &refusal {
            // The caller is told that it is this node's fault; only the log says what the fault is.
            tracing::error!(error = %Chain(source.as_ref()), "storage failed a request");
        }
        let details = refusal
            .detail()
            .map_or_else(Bytes::new, |kind| ErrorDetail { kind: Some(kind) }.encode_to_vec().into());
        Self::with_details(refusal.code(), refusal.to_string(), details)
    }
}

fn leader_words(id: u64, endpoint: &str) -> String {
    if id == 0 { "not known at the moment".to_owned() } else { format!("node {id} at {endpoint}") }
}

/// An error with all that caused it, on one line.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'a));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(out, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// The name of a mode in messages and output.
pub(crate) fn mode_name(mode: v1::NamespaceMode) -> &'static str {
    match mode {
        v1::NamespaceMode::Strong => "strong",
        v1::NamespaceMode::Eventual => "eventual",
        v1::NamespaceMode::Unspecified => "unspecified",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detail_of(status: &Status) -> Option<Kind> {
        ErrorDetail::decode(status.details()).unwrap().kind
    }

    #[test]
    fn not_leader_says_where_the_leader_is() {
        let status = Status::from(Refusal::NotLeader { id: 2, endpoint: "https://b:1".to_owned() });
        assert_eq!(status.code(), Code::Unavailable);
        let expected = NotLeader { leader_id: 2, leader_endpoint: "https://b:1".to_owned() };
        assert_eq!(detail_of(&status), Some(Kind::NotLeader(expected)));
    }

    #[test]
    fn an_unknown_outcome_has_a_code_and_a_detail_of_its_own() {
        let status = Status::from(Refusal::Indeterminate);
        assert_eq!(status.code(), Code::Unknown);
        assert_eq!(detail_of(&status), Some(Kind::Indeterminate(true)));
    }

    #[test]
    fn every_refusal_says_something() {
        let refusals = [
            Refusal::invalid("key", "5000 bytes", "at most 4096 bytes"),
            Refusal::NoNamespace("x".to_owned()),
            Refusal::WrongMode { namespace: "x".to_owned(), mode: "strong" },
            Refusal::TooOld { requested: 1, oldest: 5 },
            Refusal::Busy { what: "writes", limit: 1 },
        ];
        for refusal in refusals {
            assert!(!Status::from(refusal).message().is_empty());
        }
    }
}
