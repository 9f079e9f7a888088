//! Why a call did not do what was asked, told apart by what the caller can do about it.

use photon_dial::{BadSetting, CallError, NodeError};

/// Why a call did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[expect(clippy::error_impl_error, reason = "the crate's only error; callers name it with the crate")]
pub enum Error {
    /// The caller's input is not accepted; nothing was changed.
    #[error("{field}: {found} is not accepted; accepted: {accepted}")]
    Invalid {
        /// The field of the request or of the configuration.
        field: &'static str,
        /// What it held.
        found: String,
        /// What it may hold.
        accepted: String,
    },
    /// The request, or its answer, is over a limit of the server or of this client; nothing was changed.
    #[error("{message}")]
    TooLarge {
        /// What is too large, in the words of who refused it.
        message: String,
    },
    /// What the call is about does not exist, e.g. a lease.
    #[error("{message}")]
    NotFound {
        /// What does not exist, in the server's words.
        message: String,
    },
    /// The server's space is used up; nothing was written.
    #[error("{message}")]
    NoSpace {
        /// What is full, in the server's words.
        message: String,
    },
    /// History does not reach back so far: read anew.
    #[error("revision {requested} is forgotten; read anew")]
    TooOld {
        /// The revision that was asked for.
        requested: i64,
        /// The oldest revision there is; 0: the server did not say.
        oldest: i64,
    },
    /// The state of the cluster does not allow it now; repeating alone does not help.
    #[error("{message}")]
    NotNow {
        /// Why, in the server's words.
        message: String,
    },
    /// The caller may not do this, or is not known.
    #[error("{message}")]
    Denied {
        /// What was denied, in the server's words.
        message: String,
    },
    /// It did not happen: no node could do it before the deadline.
    #[error("the cluster is unavailable; nothing was done")]
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
    /// The server answered what etcd's API does not allow.
    #[error("the answer is none of etcd's v3 API")]
    Protocol {
        /// What was answered.
        source: NodeError,
    },
}

impl Error {
    /// Whether the request was judged and refused, so that the same request meets the same refusal. False when the
    /// cluster was away ([`Error::Unavailable`]: it did not happen) and when nobody knows ([`Error::Indeterminate`]).
    pub fn is_definite(&self) -> bool {
        !matches!(self, Self::Unavailable { .. } | Self::Indeterminate { .. })
    }

    pub(crate) fn protocol(endpoint: &str, message: impl Into<String>) -> Self {
        Self::Protocol { source: NodeError { endpoint: endpoint.to_owned(), message: message.into() } }
    }
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
        Self::Invalid { field: bad.field, found: bad.found, accepted: bad.accepted }
    }
}
