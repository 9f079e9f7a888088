//! etcd-client: a client in Rust. Its tests are a part of the package that crates.io has.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{done, kept, printed};

const NAME: &str = "etcd-client-0.21.1";
const FETCHER: &str = "[package]\nname = \"fetcher\"\nversion = \"0.1.0\"\nedition = \"2021\"\n\n\
                       [dependencies]\netcd-client = \"=0.21.1\"\n\n[workspace]\n";
/// Tests that pass on etcd 3.4 with three nodes, and on ChainFire. One of those that do not moves the leader and expects a
/// header in the answer, which etcd does not send; others ask for etcd 3.7.
pub(super) const PASS: usize = 25;

/// The suite, ready to run.
#[derive(Debug)]
pub(super) struct Suite(PathBuf);

impl Suite {
    /// Fetches the sources and builds the tests.
    ///
    /// # Errors
    /// When `protoc` is missing, or crates.io does not answer.
    pub(super) fn prepare() -> Result<Self> {
        kept(NAME, |folder| {
            let sources = fetched(folder)?;
            done(folder, Command::new("cp").arg("-r").arg(&sources).arg("sources"))?;
            let build = ["test", "--no-run", "--test", "client", "--test", "namespace"];
            done(&folder.join("sources"), cargo(folder).args(build)).map(drop)
        })
        .map(Self)
    }

    /// Runs it against port 2379; returns the tests that passed.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) async fn run(&self, folder: &Path) -> Result<BTreeSet<String>> {
        let user = ["user", "add", "root", "--new-user-password", "rootpwd"];
        let role = ["role", "add", "root"];
        let grant = ["user", "grant-role", "root", "root"];
        for words in [&user[..], &role, &grant] {
            done(folder, Command::new("etcdctl").env("ETCDCTL_API", "3").args(words))?;
        }
        let mut all = BTreeSet::new();
        for test in ["client", "namespace"] {
            let log = folder.join(format!("etcd-client-{test}.log"));
            let printed = printed(&self.binary(test)?, &["--test-threads", "1"], &log).await?;
            let name = |line: &str| line.strip_prefix("test ")?.strip_suffix(" ... ok").map(str::to_owned);
            all.extend(printed.lines().filter_map(name));
        }
        Ok(all)
    }

    /// A test's program, whose name has a hash.
    fn binary(&self, test: &str) -> Result<PathBuf> {
        let files = fs::read_dir(self.0.join("target/debug/deps"))?;
        let mut paths = files.filter_map(Result::ok).map(|file| file.path());
        let is_it = |path: &PathBuf| {
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            path.extension().is_none() && name.starts_with(&format!("{test}-"))
        };
        paths.find(is_it).with_context(|| format!("the test {test} is not built"))
    }
}

/// Cargo with a target folder of its own.
fn cargo(folder: &Path) -> Command {
    let mut cargo = Command::new("cargo");
    cargo.env("CARGO_TARGET_DIR", folder.join("target"));
    cargo
}

/// Where cargo has put the package's sources.
fn fetched(folder: &Path) -> Result<PathBuf> {
    let fetcher = folder.join("fetcher");
    fs::create_dir_all(fetcher.join("src"))?;
    fs::write(fetcher.join("Cargo.toml"), FETCHER)?;
    fs::write(fetcher.join("src/lib.rs"), "")?;
    let told = done(&fetcher, cargo(folder).args(["metadata", "--format-version", "1"]))?;
    let told: serde_json::Value = serde_json::from_str(&told)?;
    let packages = told["packages"].as_array().context("cargo tells of no packages")?;
    let found = packages.iter().find(|package| package["name"] == "etcd-client");
    let manifest = found.and_then(|package| package["manifest_path"].as_str());
    let manifest = Path::new(manifest.context("cargo has not fetched etcd-client")?);
    Ok(manifest.parent().context("a manifest in no folder")?.to_owned())
}
