//! Hands over to `photon-e2e`, which links clients and takes long to compile, so that xtask itself does not.

use std::{ffi::OsString, process::Command};

use anyhow::Result;

use crate::{binaries, workspace};

/// Runs the scenarios: the processes are those of the development profile.
///
/// # Errors
/// When a scenario failed, or nothing could be built.
pub(crate) fn e2e(arguments: &[OsString]) -> Result<()> {
    start("run", arguments, false)
}

/// Runs a benchmark, with everything built for release.
///
/// # Errors
/// When a server did not start or an operation failed.
pub(crate) fn bench(arguments: &[OsString]) -> Result<()> {
    start("bench", arguments, true)
}

fn start(verb: &str, arguments: &[OsString], release: bool) -> Result<()> {
    let folder = binaries::build_with(&["photon-e2e"], release)?;
    let mut command = Command::new(folder.join("photon-e2e"));
    workspace::run(command.arg(verb).args(arguments).current_dir(workspace::root()))
}
