//! Hands over to programs that link servers or clients and take long to compile, so that xtask itself does not:
//! `photon-e2e` and `flaredb-sim`.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{binaries, workspace};

/// Runs the scenarios: the processes are those of the development profile, or with `--release` those of a release.
///
/// # Errors
/// When a scenario failed, or nothing could be built.
pub(crate) fn e2e(arguments: &[OsString]) -> Result<()> {
    let (release, others): (Vec<_>, Vec<_>) =
        arguments.iter().cloned().partition(|argument| argument == "--release");
    start("run", &others, !release.is_empty())
}

/// Runs a benchmark, with everything built for release.
///
/// # Errors
/// When a server did not start or an operation failed.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    start("bench", arguments, true)
}

/// Plays FlareDB's replicas under faults from seeds.
///
/// # Errors
/// When a seed failed, or nothing could be built.
pub(crate) fn sim(arguments: &[OsString]) -> Result<()> {
    workspace::run(workspace::cargo()?.args(["build", "--locked", "--package", "flaredb-sim"]))?;
    let program = workspace::target()?.join("debug/flaredb-sim");
    workspace::run(Command::new(program).args(arguments).current_dir(workspace::root()))
}

fn start(verb: &str, arguments: &[OsString], release: bool) -> Result<()> {
    let folder = binaries::build_with(&["photon-e2e"], release)?;
    let mut command = Command::new(folder.join("photon-e2e"));
    workspace::run(command.arg(verb).args(arguments).current_dir(workspace::root()))
}
