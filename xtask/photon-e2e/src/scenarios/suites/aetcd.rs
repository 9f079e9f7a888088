//! aetcd: a client in Python, with integration tests that also call etcdctl.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{done, kept, printed};

const NAME: &str = "aetcd-1.0.0";
/// Tests that pass on etcd 3.4; two more are for clusters of its authors' own.
pub(super) const PASS_ON_ETCD: usize = 61;
/// One of them has `etcdctl snapshot status` read what was saved, which is etcd's database with etcd and ChainFire's own
/// with ChainFire.
pub(super) const PASS_ON_CHAINFIRE: usize = 60;

/// The suite, ready to run.
#[derive(Debug)]
pub(super) struct Suite(PathBuf);

impl Suite {
    /// Fetches the sources, which the tests are a part of, and what they need.
    ///
    /// # Errors
    /// When Python is missing, or the package index does not answer.
    pub(super) fn prepare() -> Result<Self> {
        kept(NAME, |folder| {
            done(folder, Command::new("python3").args(["-m", "venv", "venv"]))?;
            let pip = folder.join("venv/bin/pip");
            let sources = ["download", "--no-deps", "--no-binary", ":all:", "aetcd==1.0.0", "--dest", "."];
            done(folder, Command::new(&pip).args(sources))?;
            done(folder, Command::new("tar").args(["xzf", "aetcd-1.0.0.tar.gz"]))?;
            done(folder, Command::new(&pip).args(["install", "./aetcd-1.0.0.tar.gz[test]"]))?;
            Ok(())
        })
        .map(Self)
    }

    /// Runs it against port 2379; returns the tests that passed.
    ///
    /// # Errors
    /// When it does not end.
    pub(super) async fn run(&self, folder: &Path) -> Result<BTreeSet<String>> {
        let tests = self.0.join(NAME);
        let (python, tests) = (self.0.join("venv/bin/python"), tests.display().to_string());
        let integration = format!("{tests}/tests/integration");
        let words =
            ["-m", "pytest", "-v", "--no-cov", "-p", "no:cacheprovider", "--rootdir", &tests, &integration];
        let printed = printed(&python, &words, &folder.join("aetcd.log")).await?;
        let name = |line: &str| line.split_once(" PASSED").map(|(name, _)| name.to_owned());
        Ok(printed.lines().filter_map(name).collect())
    }
}
