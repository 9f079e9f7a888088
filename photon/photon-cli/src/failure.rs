//! What a person reads when a verb failed, and the exit code that a script reads.

use std::{fmt::Write as _, io::Write as _, process::ExitCode};

use tonic::Code;

/// Exit code for a wrong command line or context (`EX_USAGE`).
const USAGE: u8 = 64;

/// Exit code for a cloud, or a part of it, that is not there at the moment.
const UNAVAILABLE: u8 = 5;

/// A mistake in what was asked, found before any call was made; exits with 64.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Misuse(pub(crate) String);

/// Some processes of the cloud are not ready; exits with 5, after each has been shown.
#[derive(Debug, thiserror::Error)]
#[error("{unwell} of {all} processes are not ready")]
pub(crate) struct Unhealthy {
    /// How many are not.
    pub(crate) unwell: usize,
    /// How many there are.
    pub(crate) all: usize,
}

/// Prints clap's own message; `--help` and `--version` are no failures.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // A closed stdout or stderr leaves nobody to tell.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS }
}

/// Prints the whole chain of an error with what to do next, and picks the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    let text = describe(error);
    // A closed stderr leaves nobody to tell.
    drop(write!(std::io::stderr().lock(), "{text}"));
    ExitCode::from(code(error))
}

fn describe(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for (depth, cause) in error.chain().enumerate() {
        let label = if depth == 0 { "error: " } else { "  because: " };
        let status = cause.downcast_ref::<tonic::Status>();
        let words = status.map_or_else(|| cause.to_string(), status_words);
        let _infallible = writeln!(text, "{label}{words}");
        if status.is_some() {
            break;
        }
    }
    if let Some(next) = next_step(error) {
        let _infallible = writeln!(text, "  next: {next}");
    }
    text
}

fn status_of(error: &anyhow::Error) -> Option<&tonic::Status> {
    error.chain().find_map(|cause| cause.downcast_ref::<tonic::Status>())
}

/// What a status says: the server's words, or, when there was no server, the innermost reason.
pub(crate) fn status_words(status: &tonic::Status) -> String {
    let words = if status.message().is_empty() { status.code().description() } else { status.message() };
    let mut cause = std::error::Error::source(status);
    let mut innermost = None;
    while let Some(error) = cause {
        innermost = Some(error.to_string());
        cause = error.source();
    }
    match innermost {
        Some(inner) if !words.contains(&inner) => format!("{words}: {inner}"),
        _ => words.to_owned(),
    }
}

fn code(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<Misuse>()) {
        return USAGE;
    }
    if error.is::<Unhealthy>() {
        return UNAVAILABLE;
    }
    match status_of(error).map(tonic::Status::code) {
        Some(Code::InvalidArgument | Code::OutOfRange) => USAGE,
        Some(Code::NotFound) => 3,
        Some(Code::AlreadyExists | Code::Aborted | Code::FailedPrecondition) => 4,
        // tonic's own deadline, on this side, comes as CANCELLED.
        Some(Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled) => UNAVAILABLE,
        _ => 1,
    }
}

fn next_step(error: &anyhow::Error) -> Option<&'static str> {
    Some(match status_of(error)?.code() {
        Code::Unauthenticated => "check the token of your context: photon context show",
        Code::PermissionDenied => {
            "ask an operator with the admin role, or use another context: photon context use NAME"
        }
        Code::Unavailable => "see which process is not ready and why: photon status",
        Code::DeadlineExceeded | Code::Cancelled => {
            "the change may or may not have happened: look before you repeat it"
        }
        Code::Unknown => "the outcome is unknown: look before you repeat it",
        Code::Aborted | Code::FailedPrecondition => "somebody else was first: show it again, then decide",
        Code::NotFound => "see what is there: photon dns zone list",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn failed(status: tonic::Status) -> anyhow::Error {
        Err::<(), _>(status).context("zone example.org. was not created").unwrap_err()
    }

    #[test]
    fn message_tells_what_why_and_what_next() {
        let error = failed(tonic::Status::unavailable("the metadata store has no leader"));
        expect_test::expect![[r#"
            error: zone example.org. was not created
              because: the metadata store has no leader
              next: see which process is not ready and why: photon status
        "#]]
        .assert_eq(&describe(&error));
    }

    #[test]
    fn exit_codes_tell_kinds_of_failure_apart() {
        let codes =
            [Code::InvalidArgument, Code::NotFound, Code::AlreadyExists, Code::Unavailable, Code::Internal]
                .map(|kind| code(&failed(tonic::Status::new(kind, "no"))));
        assert_eq!(codes, [64, 3, 4, 5, 1]);
    }
}
