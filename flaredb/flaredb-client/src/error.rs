//! Why a call did not do what was asked, told apart by what the caller can do about it.

use flaredb_proto::{v1::Conflict, validate::InvalidField};
use photon_dial::{BadSetting, CallError, NodeError};

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::error_impl_error, reason = "the crate's only error; callers name it with the crate")]
pub enum Error {
    /// The caller's input is not accepted; nothing was changed.
    #[error("{field}: {found} is not accepted; accepted: {accepted}")]
    Invalid {
        /// The field of the request or of the configuration.
        field: String,
        /// What it held.
        found: String,
        /// What it may hold.
        accepted: String,
    },
    /// The caller's input is over a limit; nothing was sent.
    #[error("{what}: {found} is too large; accepted: at most {accepted}")]
    TooLarge {
        /// Which part of the request.
        what: &'static str,
        /// Bytes or operations in it.
        found: usize,
        /// The limit, in the same unit.
        accepted: usize,
    },
    /// What the call is about does not exist: a namespace or a member.
    #[error("{message}")]
    NotFound {
        /// What does not exist, in the server's words.
        message: String,
    },
    /// There is one of that name already.
    #[error("{message}")]
    AlreadyExists {
        /// What exists, in the server's words.
        message: String,
    },
    /// Somebody else wrote first; nothing was changed. Read again and decide again.
    #[error("{}", conflict_words(conflicts))]
    Conflict {
        /// Every compare that did not hold, with what was found instead.
        conflicts: Vec<Conflict>,
    },
    /// The operation belongs to namespaces of the other mode.
    #[error("namespace {namespace:?} is {mode}: this operation is refused there")]
    WrongMode {
        /// The namespace.
        namespace: String,
        /// The mode that it is in.
        mode: String,
    },
    /// The namespace is at its quota, or the disks are full; nothing was written.
    #[error("{message}")]
    NoSpace {
        /// What is full, in the server's words.
        message: String,
        /// "keys" or "bytes"; "disk" when it is no quota but the disks.
        quota: String,
        /// The quota; 0 for the disks.
        limit: u64,
    },
    /// History does not reach back so far: read anew.
    #[error("revision {requested} is behind the retained history, which starts at {oldest}; read anew")]
    TooOld {
        /// The revision that was asked for.
        requested: u64,
        /// The oldest revision there is.
        oldest: u64,
    },
    /// The state of the cluster does not allow it now; repeating alone does not help.
    #[error("{message}")]
    NotNow {
        /// Why, in the server's words.
        message: String,
    },
    /// The caller may not do this.
    #[error("{message}")]
    Denied {
        /// What was denied, in the server's words.
        message: String,
    },
    /// The server does not know the caller.
    #[error("{message}")]
    Unauthenticated {
        /// What is missing, in the server's words.
        message: String,
    },
    /// It did not happen: no node could do it before the deadline.
    #[error("FlareDB is unavailable; nothing was done")]
    Unavailable {
        /// The last thing that went wrong.
        source: NodeError,
    },
    /// It may or may not have happened.
    #[error("the outcome is unknown: it may or may not have happened")]
    Indeterminate {
        /// The last thing that went wrong.
        source: NodeError,
    },
    /// The server answered what this client does not understand: their versions do not fit.
    #[error("the answer is not of this client's version of the protocol")]
    Protocol {
        /// What was answered.
        source: NodeError,
    },
}

impl CallError for Error {
    fn unavailable(source: NodeError) -> Self {
        Self::Unavailable { source }
    }

    fn indeterminate(source: NodeError) -> Self {
        Self::Indeterminate { source }
    }
}

impl From<BadSetting> for Error {
    fn from(bad: BadSetting) -> Self {
        Self::invalid(bad.field, bad.found, bad.accepted)
    }
}

impl Error {
    /// Whether the request was judged and refused, so that the same request meets the same refusal. False when the
    /// database was away ([`Error::Unavailable`]: it did not happen) and when nobody knows
    /// ([`Error::Indeterminate`]).
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Unavailable { .. } | Self::Indeterminate { .. })
    }

    pub(crate) fn invalid(
        field: impl Into<String>,
        found: impl Into<String>,
        accepted: impl Into<String>,
    ) -> Self {
        Self::Invalid { field: field.into(), found: found.into(), accepted: accepted.into() }
    }

    pub(crate) fn protocol(endpoint: &str, message: impl Into<String>) -> Self {
        Self::Protocol { source: NodeError { endpoint: endpoint.to_owned(), message: message.into() } }
    }
}

impl From<InvalidField> for Error {
    fn from(invalid: InvalidField) -> Self {
        Self::invalid(invalid.field, invalid.found, invalid.accepted)
    }
}

fn conflict_words(conflicts: &[Conflict]) -> String {
    let Some(first) = conflicts.first() else { return "a compare did not hold".to_owned() };
    let key = String::from_utf8_lossy(&first.key);
    let found = match first.actual {
        0 => "found no record".to_owned(),
        version => format!("found version {version}"),
    };
    let more = match conflicts.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    format!("{key:?}: expected version {}, {found}{more}; nothing was changed", first.expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conflict_names_the_key_and_what_was_found() {
        let conflict = |actual| Conflict { key: "k".into(), expected: 3, actual, ..Conflict::default() };
        let words = |conflicts| Error::Conflict { conflicts }.to_string();
        assert_eq!(
            words(vec![conflict(5)]),
            "\"k\": expected version 3, found version 5; nothing was changed"
        );
        assert_eq!(
            words(vec![conflict(0), conflict(5)]),
            "\"k\": expected version 3, found no record (and 1 more); nothing was changed"
        );
    }

    #[test]
    fn only_absence_and_doubt_are_not_definite() {
        let source = NodeError { endpoint: "e".to_owned(), message: "m".to_owned() };
        assert!(!Error::Unavailable { source: source.clone() }.is_definite());
        assert!(!Error::Indeterminate { source: source.clone() }.is_definite());
        assert!(Error::Protocol { source }.is_definite());
        assert!(Error::TooOld { requested: 1, oldest: 2 }.is_definite());
    }
}
