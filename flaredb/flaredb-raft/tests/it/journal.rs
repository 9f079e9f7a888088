//! A state machine for tests: it keeps every command in order, and can lose what it has not flushed.
//!
//! Shared by the unit tests and the integration tests of the crate.

use std::{
    io,
    sync::{Arc, Mutex},
};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use flaredb_raft::{Applied, CommandEntry, SnapshotChunk, SnapshotReader, SnapshotWriter, StateMachine};

#[derive(Clone, Debug, Default)]
struct State {
    applied: Applied,
    commands: Vec<Bytes>,
}

/// Remembers commands. Clones are the same journal, as two handles on one disk.
#[derive(Clone, Debug, Default)]
pub(crate) struct Journal {
    live: Arc<Mutex<State>>,
    flushed: Arc<Mutex<State>>,
}

impl Journal {
    /// Every command applied so far, in order.
    pub(crate) fn commands(&self) -> Vec<Bytes> {
        self.live.lock().unwrap().commands.clone()
    }

    /// A power cut: what has not been flushed is gone.
    pub(crate) fn lose_unflushed(&self) {
        let flushed = self.flushed.lock().unwrap().clone();
        *self.live.lock().unwrap() = flushed;
    }
}

impl StateMachine for Journal {
    fn applied(&self) -> io::Result<Applied> {
        Ok(self.live.lock().unwrap().applied.clone())
    }

    fn apply(&self, entries: Vec<CommandEntry>, applied: Applied) -> io::Result<Vec<Bytes>> {
        let mut state = self.live.lock().unwrap();
        let mut last = state.applied.index;
        let mut responses = Vec::new();
        for entry in entries {
            if entry.index <= last {
                return Err(io::Error::other(format!("entry {} is applied after {last}", entry.index)));
            }
            last = entry.index;
            responses.push(Bytes::copy_from_slice(&entry.index.to_be_bytes()));
            if !entry.command.is_empty() {
                state.commands.push(entry.command);
            }
        }
        state.applied = applied;
        Ok(responses)
    }

    fn flush(&self) -> io::Result<u64> {
        let live = self.live.lock().unwrap().clone();
        let index = live.applied.index;
        *self.flushed.lock().unwrap() = live;
        Ok(index)
    }

    fn flushed_index(&self) -> u64 {
        self.flushed.lock().unwrap().applied.index
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotReader>> {
        Ok(Box::new(View(self.live.lock().unwrap().clone())))
    }

    fn install(&self) -> io::Result<Box<dyn SnapshotWriter>> {
        Ok(Box::new(Installation { journal: self.clone(), commands: Vec::new() }))
    }
}

struct View(State);

impl SnapshotReader for View {
    fn applied(&self) -> Applied {
        self.0.applied.clone()
    }

    fn read(&self, mut cursor: &[u8], bytes_max: usize) -> io::Result<SnapshotChunk> {
        let mut at = if cursor.is_empty() { 0 } else { usize::try_from(cursor.get_u64()).unwrap() };
        let mut data = BytesMut::new();
        while let Some(command) = self.0.commands.get(at).filter(|_| data.len() < bytes_max) {
            data.put_u32(u32::try_from(command.len()).unwrap());
            data.put_slice(command);
            at += 1;
        }
        let next = (at < self.0.commands.len()).then(|| (at as u64).to_be_bytes().to_vec());
        Ok(SnapshotChunk { data: data.freeze(), next })
    }
}

struct Installation {
    journal: Journal,
    commands: Vec<Bytes>,
}

impl SnapshotWriter for Installation {
    fn write(&mut self, mut chunk: Bytes) -> io::Result<()> {
        while chunk.has_remaining() {
            let length = usize::try_from(chunk.get_u32()).unwrap();
            self.commands.push(chunk.split_to(length));
        }
        Ok(())
    }

    fn finish(self: Box<Self>, applied: Applied) -> io::Result<()> {
        let state = State { applied, commands: self.commands };
        *self.journal.live.lock().unwrap() = state.clone();
        *self.journal.flushed.lock().unwrap() = state;
        Ok(())
    }
}
