//! Runs the binary with a context file of its own.

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// A person's home.
pub(crate) struct Home(TempDir);

/// How one command line ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Home {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs `photon` with these words; the home is shown as `~`.
    pub(crate) fn photon(&self, words: &[&str]) -> Ended {
        let ended = Command::new(env!("CARGO_BIN_EXE_photon"))
            .args(words)
            .current_dir(self.path())
            .env_clear()
            .env("PHOTON_CONFIG", self.path().join("contexts.toml"))
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(&self.path().display().to_string(), "~")
        };
        Ended { code: ended.status.code().unwrap(), stdout: text(ended.stdout), stderr: text(ended.stderr) }
    }

    /// Runs `photon`, which must succeed, and returns what it printed.
    pub(crate) fn must(&self, words: &[&str]) -> String {
        let ended = self.photon(words);
        assert_eq!(ended.code, 0, "{words:?}: {}", ended.stderr);
        ended.stdout
    }
}
