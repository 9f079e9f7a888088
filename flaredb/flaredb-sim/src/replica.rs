//! A region of the engine as the Raft host drives it, watched by the judge.

use std::{error::Error, io};

use bytes::Bytes;
use flaredb_engine::{Entry, Install, Region, Snapshot};
use flaredb_raft::{Applied, CommandEntry, SnapshotChunk, SnapshotReader, SnapshotWriter, StateMachine};
use prost::Message as _;

use crate::{durable::Durable, judge::Judge};

/// A node's replica.
pub(crate) struct Replica {
    pub(crate) node: u64,
    pub(crate) state: Region,
    pub(crate) judge: Judge,
    pub(crate) durable: Durable,
}

impl StateMachine for Replica {
    fn applied(&self) -> io::Result<Applied> {
        Ok(to_host(self.state.applied()))
    }

    fn apply(&self, entries: Vec<CommandEntry>, applied: Applied) -> io::Result<Vec<Bytes>> {
        for entry in &entries {
            self.judge.applies(self.node, entry.index, crc32fast::hash(&entry.command));
        }
        let entries: Vec<Entry<'_>> = entries.iter().map(to_engine).collect();
        let responses = self.state.apply(&entries, from_host(applied)).map_err(fault)?;
        Ok(responses.iter().map(|response| response.encode_to_vec().into()).collect())
    }

    fn flush(&self) -> io::Result<u64> {
        let index = self.state.flush().map_err(fault)?;
        self.durable.flushed(self.node, index);
        Ok(index)
    }

    fn flushed_index(&self) -> u64 {
        let index = self.state.flushed_index();
        self.durable.flushed(self.node, index);
        index
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotReader>> {
        Ok(Box::new(View(self.state.snapshot().map_err(fault)?)))
    }

    fn install(&self) -> io::Result<Box<dyn SnapshotWriter>> {
        Ok(Box::new(Installation {
            install: self.state.install().map_err(fault)?,
            node: self.node,
            judge: self.judge.clone(),
            durable: self.durable.clone(),
        }))
    }
}

struct View(Snapshot);

impl SnapshotReader for View {
    fn applied(&self) -> Applied {
        to_host(self.0.applied().clone())
    }

    fn read(&self, cursor: &[u8], bytes_max: usize) -> io::Result<SnapshotChunk> {
        // Small pieces, so that a transfer has several.
        let chunk = self.0.read(cursor, bytes_max.min(4 << 10)).map_err(fault)?;
        Ok(SnapshotChunk { data: chunk.data, next: chunk.next })
    }
}

struct Installation {
    install: Install,
    node: u64,
    judge: Judge,
    durable: Durable,
}

impl SnapshotWriter for Installation {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.install.write(&chunk).map_err(fault)
    }

    fn finish(self: Box<Self>, applied: Applied) -> io::Result<()> {
        let index = applied.index;
        self.judge.installs(self.node, index);
        self.install.finish(from_host(applied)).map_err(fault)?;
        self.durable.flushed(self.node, index);
        Ok(())
    }
}

fn to_engine(entry: &CommandEntry) -> Entry<'_> {
    let command = (!entry.command.is_empty()).then_some(&entry.command);
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
