//! Why the engine could not do something.

use std::path::PathBuf;

/// Why a data folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// RocksDB refused, for example because another process has it open.
    #[error("{} cannot be opened as a database", path.display())]
    Rocks {
        /// The folder.
        path: PathBuf,
        /// RocksDB's reason.
        #[source]
        source: rocksdb::Error,
    },
    /// What is in it is not what the engine wrote.
    #[error("{} holds damaged data", path.display())]
    Damaged {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: EngineError,
    },
}

/// Why the state could not be read or written; the replica can no longer be trusted.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// RocksDB failed.
    #[error("RocksDB failed")]
    Rocks(#[from] rocksdb::Error),
    /// A row or command is not what the engine wrote.
    #[error("damaged {what}")]
    Corrupt {
        /// Which kind of row.
        what: &'static str,
    },
    /// A command in the log cannot be decoded.
    #[error("the command of entry {index} cannot be decoded")]
    Command {
        /// Position of the entry.
        index: u64,
        /// Why.
        #[source]
        source: prost::DecodeError,
    },
}

impl EngineError {
    /// Whether the disk was full. Nothing has changed then, and the same may be done again when there is room.
    pub fn is_full(&self) -> bool {
        // The binding has no other way to tell.
        matches!(self, Self::Rocks(error) if error.as_ref().contains("No space left on device"))
    }
}

/// Why a read brought nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The namespace is gone.
    #[error("namespace {0} does not exist")]
    NoNamespace(u32),
    /// History does not reach back so far.
    #[error("revision {requested} is behind the retained history, which starts at {oldest}")]
    TooOld {
        /// The revision asked for.
        requested: u64,
        /// The oldest retained one.
        oldest: u64,
    },
    /// The namespace has not got that far.
    #[error("revision {requested} does not exist yet; the newest is {newest}")]
    FutureRevision {
        /// The revision asked for.
        requested: u64,
        /// The newest one.
        newest: u64,
    },
    /// The replica is getting its whole state from a snapshot; nothing can be read until it has it.
    #[error("this replica is being replaced by a snapshot")]
    Installing,
    /// The state cannot be read.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl From<rocksdb::Error> for ReadError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Engine(error.into())
    }
}
