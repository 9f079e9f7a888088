//! What can be wrong with a configuration, and what to do about it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::service::BoxError;

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A config file.
    File(PathBuf),
    /// An environment variable, by its real name.
    Variable(String),
    /// A `--set` flag.
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag => f.write_str("--set"),
        }
    }
}

/// Why a configuration is refused. Ends the process with exit code 64 before anything is bound or opened.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The config file, or a file that the config names, cannot be read.
    #[error("{}cannot read {}", prefix(key.as_deref()), file.display())]
    Unreadable {
        /// The key that names the file; none for the config file itself.
        key: Option<String>,
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The config file is no TOML or JSON.
    #[error("{}: {}", file.display(), message.trim_end())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// Where and what, by the parser.
        message: String,
    },
    /// A `--set` that is no `key=value`.
    #[error("--set {0}: expected KEY=VALUE, such as server.listen=127.0.0.1:7000")]
    Setting(String),
    /// There is no such key.
    #[error("{}unknown key {key}; {suggestion}", prefix(origin.as_ref()))]
    UnknownKey {
        /// Where it was set.
        origin: Option<Origin>,
        /// The key, with dots.
        key: String,
        /// `did you mean …?`, or the keys that are known there.
        suggestion: String,
    },
    /// A value that is not acceptable.
    #[error("{}{key}: found {found}, expected {accepted}", prefix(origin.as_ref()))]
    Invalid {
        /// Where it was set; none when it is a default or absent.
        origin: Option<Origin>,
        /// The key, with dots.
        key: String,
        /// What was found.
        found: String,
        /// What would be accepted.
        accepted: String,
    },
    /// A file that the config names has not what it should.
    #[error("{key}: {}: {problem}", file.display())]
    File {
        /// The key that names the file.
        key: String,
        /// The file.
        file: PathBuf,
        /// What is wrong with it, and what was expected.
        problem: String,
        /// What the parser said.
        #[source]
        source: Option<BoxError>,
    },
}

fn prefix(part: Option<impl fmt::Display>) -> String {
    part.map(|part| format!("{part}: ")).unwrap_or_default()
}

impl ConfigError {
    /// A value that the types allow and the service does not; [`load`](super::load) adds where it was set.
    pub fn invalid(key: impl Into<String>, found: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self::Invalid { origin: None, key: key.into(), found: found.into(), accepted: accepted.into() }
    }

    /// A file named by `key` that is not what it should be.
    pub fn file(
        key: impl Into<String>,
        file: &Path,
        problem: impl Into<String>,
        source: Option<BoxError>,
    ) -> Self {
        Self::File { key: key.into(), file: file.to_owned(), problem: problem.into(), source }
    }

    /// A file named by `key` that cannot be read.
    pub fn unreadable(key: impl Into<String>, file: &Path, source: io::Error) -> Self {
        Self::Unreadable { key: Some(key.into()), file: file.to_owned(), source }
    }

    /// Fills in where an invalid value was set, unless that is known already.
    pub(super) fn located(self, find: impl FnOnce(&str) -> Option<Origin>) -> Self {
        match self {
            Self::Invalid { origin: None, key, found, accepted } => {
                Self::Invalid { origin: find(&key), key, found, accepted }
            }
            other => other,
        }
    }
}
