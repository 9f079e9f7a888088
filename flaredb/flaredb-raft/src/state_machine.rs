//! What a replicated state machine must offer to be hosted.
//!
//! The host owns order, durability of the log, membership and snapshots' transport; the state machine owns the
//! data. They meet at one promise: `apply` writes the effects of its entries and the [`Applied`] it was given in
//! one atomic write, so that after any crash the data and the position agree. `apply` need not be durable when
//! it returns: the log is kept until [`StateMachine::flush`] says that the data is.
//!
//! All calls are made on threads that may block.

use std::{fmt, io};

use bytes::Bytes;

use crate::error::ProposeError;

/// How far a state machine has applied the log.
///
/// Indexes count entries: 0 is a state machine that has applied nothing, 1 the first entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Index of the last applied entry.
    pub index: u64,
    /// The host's own part (log id and membership), opaque to the state machine.
    pub host: Bytes,
}

/// One committed entry to apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandEntry {
    /// Position of the entry, rising by one.
    pub index: u64,
    /// The proposed bytes; empty for the host's own entries (elections, membership).
    pub command: Bytes,
}

/// A deterministic state machine. Replicas that apply the same entries hold the same state.
pub trait StateMachine: Send + Sync + 'static {
    /// How far the state machine is, from the write that also holds the data.
    fn applied(&self) -> io::Result<Applied>;

    /// Applies entries and stores `applied` in one atomic write; returns one response for each entry.
    ///
    /// An error means that the replica can no longer be trusted; the host stops it. A state machine that finds the
    /// disk full waits for room instead.
    fn apply(&self, entries: Vec<CommandEntry>, applied: Applied) -> io::Result<Vec<Bytes>>;

    /// Whether a command wants to be the last one of its `apply`: then the state after that call is the state where
    /// the command stands in the log, the same on every replica.
    fn ends_batch(&self, _command: &[u8]) -> bool {
        false
    }

    /// Lets in a command that another node has forwarded to this one, the leader, or says why it is not proposed. What is
    /// proposed here goes through the gates of this node's own server.
    ///
    /// # Errors
    /// One that says that it did not happen.
    fn admit(&self, _command: &[u8]) -> Result<(), ProposeError> {
        Ok(())
    }

    /// Makes everything applied so far durable; returns the index up to which it is.
    ///
    /// An error of the kind `StorageFull` says that there was no room and nothing has changed; the host tries again
    /// later.
    fn flush(&self) -> io::Result<u64>;

    /// The index up to which applied entries are durable. The log is never purged beyond it.
    fn flushed_index(&self) -> u64;

    /// A consistent view of the present state, to be read while later entries are applied.
    fn snapshot(&self) -> io::Result<Box<dyn SnapshotReader>>;

    /// Begins to replace the whole state. A crash before [`SnapshotWriter::finish`] must leave an empty state
    /// machine or the old one, never a mixture.
    fn install(&self) -> io::Result<Box<dyn SnapshotWriter>>;
}

/// A point-in-time view of a state machine, read in chunks.
pub trait SnapshotReader: Send + Sync {
    /// The position that the view shows.
    fn applied(&self) -> Applied;

    /// Reads the chunk at `cursor` (empty: the first one) of at most `bytes_max` bytes.
    fn read(&self, cursor: &[u8], bytes_max: usize) -> io::Result<SnapshotChunk>;
}

/// One piece of a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotChunk {
    /// Bytes that only the state machine understands.
    pub data: Bytes,
    /// Where the next chunk starts; `None` after the last one.
    pub next: Option<Vec<u8>>,
}

/// Receives the chunks of a snapshot in the order in which they were read.
pub trait SnapshotWriter: Send {
    /// Takes one chunk.
    fn write(&mut self, chunk: Bytes) -> io::Result<()>;

    /// Makes the new state durable and visible, at position `applied`.
    fn finish(self: Box<Self>, applied: Applied) -> io::Result<()>;
}

impl fmt::Debug for dyn StateMachine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateMachine").field("flushed_index", &self.flushed_index()).finish_non_exhaustive()
    }
}

impl fmt::Debug for dyn SnapshotReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotReader").field("index", &self.applied().index).finish_non_exhaustive()
    }
}
