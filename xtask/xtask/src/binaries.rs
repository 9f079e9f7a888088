//! Builds the processes of the cloud.

use std::path::PathBuf;

use anyhow::Result;

use crate::workspace;

/// The packages that people start, each with a binary of its own.
const SERVERS: [&str; 4] = ["chainfire-server", "flaredb-server", "flashdns-server", "photon-cli"];

/// Builds the servers and `photon`, and says in which folder they are. Cargo shows its own progress bar.
///
/// # Errors
/// When cargo does not end with 0.
pub(crate) fn build(release: bool) -> Result<PathBuf> {
    build_with(&[], release)
}

/// The same with more packages.
pub(crate) fn build_with(more: &[&str], release: bool) -> Result<PathBuf> {
    let mut cargo = workspace::cargo()?;
    cargo.args(["build", "--locked"]);
    for package in SERVERS.iter().chain(more) {
        cargo.args(["--package", package]);
    }
    if release {
        cargo.arg("--release");
    }
    workspace::run(&mut cargo)?;
    Ok(workspace::target()?.join(if release { "release" } else { "debug" }))
}
