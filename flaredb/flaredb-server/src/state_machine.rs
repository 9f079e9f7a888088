//! What the Raft host sees of the engine: a region as a replicated state machine.
//!
//! The two crates do not know each other; this file is all that joins them. It decides nothing: commands go to the
//! engine as the bytes that were proposed, answers come back as the bytes that are sent to the proposer.

use std::{error::Error, io};

use bytes::Bytes;
use flaredb_engine::Entry;
use flaredb_raft::{Applied, CommandEntry, SnapshotChunk, SnapshotReader, SnapshotWriter, StateMachine};
use prost::Message as _;

/// A region of the engine, as the Raft host drives it.
#[derive(Debug)]
pub(crate) struct Replica(pub(crate) flaredb_engine::Region);

impl StateMachine for Replica {
    fn applied(&self) -> io::Result<Applied> {
        Ok(to_host(self.0.applied()))
    }

    fn apply(&self, entries: Vec<CommandEntry>, applied: Applied) -> io::Result<Vec<Bytes>> {
        let entries: Vec<Entry<'_>> = entries.iter().map(to_engine).collect();
        let responses = self.0.apply(&entries, from_host(applied)).map_err(fault)?;
        Ok(responses.iter().map(|response| response.encode_to_vec().into()).collect())
    }

    fn flush(&self) -> io::Result<u64> {
        self.0.flush().map_err(fault)
    }

    fn flushed_index(&self) -> u64 {
        self.0.flushed_index()
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotReader>> {
        Ok(Box::new(View(self.0.snapshot().map_err(fault)?)))
    }

    fn install(&self) -> io::Result<Box<dyn SnapshotWriter>> {
        Ok(Box::new(Installation(self.0.install().map_err(fault)?)))
    }
}

/// A snapshot that is being read.
struct View(flaredb_engine::Snapshot);

impl SnapshotReader for View {
    fn applied(&self) -> Applied {
        to_host(self.0.applied().clone())
    }

    fn read(&self, cursor: &[u8], bytes_max: usize) -> io::Result<SnapshotChunk> {
        let chunk = self.0.read(cursor, bytes_max).map_err(fault)?;
        Ok(SnapshotChunk { data: chunk.data, next: chunk.next })
    }
}

/// A snapshot that is being received.
struct Installation(flaredb_engine::Install);

impl SnapshotWriter for Installation {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.0.write(&chunk).map_err(fault)
    }

    fn finish(self: Box<Self>, applied: Applied) -> io::Result<()> {
        self.0.finish(from_host(applied)).map_err(fault)
    }
}

fn to_engine(entry: &CommandEntry) -> Entry<'_> {
    // The host's own entries change nothing but the position.
    let command = (!entry.command.is_empty()).then_some(&entry.command[..]);
    Entry { index: entry.index, command }
}

fn to_host(applied: flaredb_engine::Applied) -> Applied {
    Applied { index: applied.index, host: applied.host }
}

fn from_host(applied: Applied) -> flaredb_engine::Applied {
    flaredb_engine::Applied { index: applied.index, host: applied.host }
}

fn fault(error: impl Error + Send + Sync + 'static) -> io::Error {
    io::Error::other(error)
}
