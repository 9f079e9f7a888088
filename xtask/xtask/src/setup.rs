//! Puts the system packages on the machine that building and testing need, and compiles RocksDB once.
//!
//! Idempotent, and quick when nothing is missing. As root on a Debian-like system it installs; everywhere else it says
//! exactly what to type. The daemons among the packages are peers for tests and benchmarks: they are never started as
//! services of this machine.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{progress, rocksdb, workspace};

/// What a build needs: a C++ compiler and `ar` for RocksDB, libclang for its bindings.
const BUILD: [&str; 2] = ["g++", "libclang-dev"];

/// What the tests and benchmarks need besides: clients, peers and probes, and what suites of others are built with.
const TEST: [&str; 14] = [
    "bind9",
    "bind9-dnsutils",
    "curl",
    "etcd-client",
    "etcd-server",
    "iproute2",
    "knot",
    "libprotobuf-dev",
    "nftables",
    "nsd",
    "protobuf-compiler",
    "python3-venv",
    "serf",
    "strace",
];

/// How much is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Enough to build and run.
    Build,
    /// Everything that the tests and benchmarks ask for as well.
    Test,
}

/// Installs what is missing.
///
/// # Errors
/// When something is missing that this user cannot install; the message is the line to type.
pub(crate) fn run(scope: Scope) -> Result<()> {
    let wanted: Vec<_> = match scope {
        Scope::Build => BUILD.to_vec(),
        Scope::Test => BUILD.iter().chain(&TEST).copied().collect(),
    };
    if on_path("dpkg-query") {
        install(&missing(&wanted)?)?;
    } else {
        progress::say(&format!(
            "not a Debian-like system; needed are the equivalents of: {}",
            wanted.join(" ")
        ));
    }
    if scope == Scope::Test {
        add_toolchain_components()?;
    }
    if env::var_os("ROCKSDB_LIB_DIR").is_none() {
        rocksdb::build()?;
    }
    Ok(())
}

/// Which of `wanted` dpkg does not have.
fn missing(wanted: &[&'static str]) -> Result<Vec<&'static str>> {
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${db:Status-Status} ${Package}\n"])
        .args(wanted)
        .stderr(Stdio::null())
        .output()
        .context("dpkg-query cannot be started")?;
    let list = String::from_utf8_lossy(&output.stdout).into_owned();
    let installed: Vec<_> = list.lines().filter_map(|line| line.strip_prefix("installed ")).collect();
    Ok(wanted.iter().copied().filter(|package| !installed.contains(package)).collect())
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    let line = format!("apt-get install -y --no-install-recommends {}", packages.join(" "));
    ensure!(is_root()?, "packages are missing; type:\n\n    sudo apt-get update && sudo {line}\n");
    progress::say(&format!("installing {}", packages.join(" ")));
    let quiet = QuietServices::begin()?;
    apt(&["update", "-qq"])?;
    let mut arguments = vec!["install", "-y", "-qq", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)?;
    quiet.end()
}

fn apt(arguments: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    let output = apt.output().context("apt-get cannot be started")?;
    if !output.status.success() {
        bail!("`apt-get {}` failed:\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// While it exists, installing a daemon does not start it (Debian Policy §9.11, `policy-rc.d`).
struct QuietServices {
    made: Option<PathBuf>,
}

impl QuietServices {
    fn begin() -> Result<Self> {
        let file = Path::new("/usr/sbin/policy-rc.d");
        if file.exists() {
            return Ok(Self { made: None });
        }
        fs::write(file, "#!/bin/sh\nexit 101\n")?;
        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
        Ok(Self { made: Some(file.to_owned()) })
    }

    fn end(mut self) -> Result<()> {
        self.made.take().map_or(Ok(()), |file| Ok(fs::remove_file(file)?))
    }
}

impl Drop for QuietServices {
    fn drop(&mut self) {
        if let Some(file) = self.made.take()
            && let Err(error) = fs::remove_file(&file)
        {
            progress::say(&format!("{} is left behind: {error}", file.display()));
        }
    }
}

/// Format and lint come with the toolchain, but not with its minimal profile.
fn add_toolchain_components() -> Result<()> {
    for (command, component) in [("cargo-fmt", "rustfmt"), ("cargo-clippy", "clippy")] {
        if !on_path(command) {
            workspace::run(Command::new("rustup").args(["component", "add", component]))?;
        }
    }
    Ok(())
}

fn is_root() -> Result<bool> {
    let output = Command::new("id").arg("-u").output().context("id cannot be started")?;
    Ok(output.stdout.trim_ascii() == b"0")
}

/// Whether a command of this name can be started.
pub(crate) fn on_path(command: &str) -> bool {
    env::var_os("PATH")
        .is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(command).is_file()))
}
