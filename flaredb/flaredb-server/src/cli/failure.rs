//! What a person reads when a verb failed, and the exit code that a script reads.

use std::{fmt::Write as _, io::Write as _, process::ExitCode};

use flaredb_client::Error;

use super::archive::ArchiveError;

/// A mistake in what was asked, found before any call was made; exits with 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

/// What a verb itself finds, without the server having refused anything.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// There is no such record.
    #[error("there is no record {key:?} in namespace {namespace:?}")]
    NoRecord {
        /// The namespace.
        namespace: String,
        /// The key, as it was given.
        key: String,
    },
    /// The record is at another version than the one that was asked for.
    #[error("{key:?} is at version {found}, not {expected}; nothing was changed")]
    Conflict {
        /// The key, as it was given.
        key: String,
        /// The version that was asked for.
        expected: u64,
        /// The version found; 0: there is no record.
        found: u64,
    },
    /// The cluster is not well.
    #[error("{bad} of {findings} findings are bad")]
    Unwell {
        /// How many are.
        bad: usize,
        /// How many there are.
        findings: usize,
    },
    /// Other writers were faster, again and again.
    #[error("others wrote {key:?} each time in {attempts} attempts; nothing was changed")]
    Contended {
        /// The key, as it was given.
        key: String,
        /// How often it was tried.
        attempts: u32,
    },
}

/// The kinds that scripts tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failure = 1,
    NotFound = 3,
    Conflict = 4,
    Unavailable = 5,
    Usage = 64,
}

/// Prints clap's own message; `--help` and `--version` are no failures.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // A closed stdout or stderr leaves nobody to tell.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(Kind::Usage as u8) } else { ExitCode::SUCCESS }
}

/// Prints the whole chain of an error with what to do next, and picks the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    drop(write!(std::io::stderr().lock(), "{}", describe(error)));
    ExitCode::from(kind(error) as u8)
}

fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let label = if depth == 0 { "error: " } else { "  because: " };
        let _infallible = writeln!(text, "{label}{cause}");
    }
    if let Some(next) = next_step(error) {
        let _infallible = writeln!(text, "  next: {next}");
    }
    text
}

fn kind(error: &anyhow::Error) -> Kind {
    if error.chain().any(|cause| cause.is::<Misuse>()) {
        return Kind::Usage;
    }
    if error.chain().any(|cause| cause.is::<ArchiveError>()) {
        return Kind::Failure;
    }
    if let Some(failure) = found::<Failure>(error) {
        return match failure {
            Failure::NoRecord { .. } => Kind::NotFound,
            Failure::Unwell { .. } => Kind::Failure,
            Failure::Conflict { .. } | Failure::Contended { .. } => Kind::Conflict,
        };
    }
    found::<Error>(error).map_or(Kind::Failure, client_kind)
}

fn client_kind(error: &Error) -> Kind {
    match error {
        Error::Invalid { .. } | Error::TooLarge { .. } => Kind::Usage,
        Error::NotFound { .. } => Kind::NotFound,
        Error::Conflict { .. } | Error::WrongMode { .. } | Error::AlreadyExists { .. } => Kind::Conflict,
        Error::Unavailable { .. } => Kind::Unavailable,
        _ => Kind::Failure,
    }
}

fn next_step(error: &anyhow::Error) -> Option<&'static str> {
    if let Some(failure) = found::<Failure>(error) {
        return Some(match failure {
            Failure::Unwell { .. } => "do what the last column says",
            Failure::NoRecord { .. } => "see what is there: flaredb scan NAMESPACE",
            Failure::Conflict { .. } | Failure::Contended { .. } => {
                "read it again, then decide: flaredb get NAMESPACE KEY"
            }
        });
    }
    Some(match found::<Error>(error)? {
        Error::Unauthenticated { .. } => "give an operator's token by --token or FLAREDB_TOKEN",
        Error::Denied { .. } => "use the token of an operator who may do this",
        Error::Unavailable { .. } => "see which node is up and who leads: flaredb status",
        Error::Indeterminate { .. } => "it may or may not have happened: look before you repeat it",
        Error::NotFound { .. } => "see what is there: flaredb namespace list",
        Error::WrongMode { .. } => "see the namespace's mode: flaredb namespace describe NAME",
        _ => return None,
    })
}

fn found<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref())
}
