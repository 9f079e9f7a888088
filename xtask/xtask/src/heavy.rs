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

/// What a seed waits for. Its dependencies are those that are built anyway.
const OPTIMIZED: [&str; 3] = ["openraft", "flaredb-raft", "flaredb-sim"];

/// Plays FlareDB's replicas under faults from seeds.
///
/// They are built with the planted bugs, which `--plant` switches on, so that one build is enough for both.
///
/// # Errors
/// When a seed failed, a planted bug was not found, or nothing could be built.
pub(crate) fn sim(arguments: &[OsString]) -> Result<()> {
    let mut cargo = workspace::cargo()?;
    cargo.args(["build", "--locked", "--package", "flaredb-sim", "--features", "planted"]);
    for package in OPTIMIZED {
        cargo.args(["--config", &format!("profile.dev.package.{package}.opt-level=2")]);
    }
    workspace::run(&mut cargo)?;
    let program = workspace::target()?.join("debug/flaredb-sim");
    workspace::run(Command::new(program).args(arguments).current_dir(workspace::root()))
}

/// What CI has of the simulation: as many seeds as a change must pass, the power cut at thousands of points, and every
/// planted bug.
///
/// # Errors
/// As [`sim`].
pub(crate) fn simulation() -> Result<()> {
    let rounds: [&[&str]; 3] =
        [&["--seeds", "300"], &["power-cut", "--points", "10000"], &["--plant", "all", "--seeds", "200"]];
    rounds.iter().try_for_each(|arguments| sim(&arguments.iter().map(OsString::from).collect::<Vec<_>>()))
}

fn start(verb: &str, arguments: &[OsString], release: bool) -> Result<()> {
    let folder = binaries::build_with(&["photon-e2e"], release)?;
    let mut command = Command::new(folder.join("photon-e2e"));
    workspace::run(command.arg(verb).args(arguments).current_dir(workspace::root()))
}
