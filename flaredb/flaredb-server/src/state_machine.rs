//! What the Raft host sees of the engine: a region as a replicated state machine.
//!
//! The two crates do not know each other; this file is all that joins them. It decides nothing: commands go to the
//! engine as the bytes that were proposed, answers come back as the bytes that are sent to the proposer.

use std::{error::Error, io, sync::Arc};

use bytes::Bytes;
use flaredb_engine::Entry;
use flaredb_proto::v1::{FlareResponse, flare_response::Outcome};
use flaredb_raft::{Applied, CommandEntry, SnapshotChunk, SnapshotReader, SnapshotWriter, StateMachine};
use prost::Message as _;

use crate::{
    audit::{self, Auditor},
    space::Room,
};

/// A region of the engine, as the Raft host drives it. Where it finds the disk full, it waits.
#[derive(Debug)]
pub(crate) struct Replica {
    /// The region.
    pub(crate) state: flaredb_engine::Region,
    /// Where it waits.
    pub(crate) room: Arc<Room>,
    /// Who is told of audits.
    pub(crate) auditor: Arc<Auditor>,
}

impl StateMachine for Replica {
    fn applied(&self) -> io::Result<Applied> {
        Ok(to_host(self.state.applied()))
    }

    fn apply(&self, commands: Vec<CommandEntry>, applied: Applied) -> io::Result<Vec<Bytes>> {
        let entries: Vec<Entry<'_>> = commands.iter().map(to_engine).collect();
        let applied = from_host(applied);
        let responses = self.room.patiently(|| self.state.apply(&entries, applied.clone()))?;
        let mut responses: Vec<Bytes> =
            responses.iter().map(|response| response.encode_to_vec().into()).collect();
        if let (Some(last), Some(response)) = (commands.last(), responses.last_mut())
            && audit::is_audit(&last.command)
        {
            self.auditor.reached(last.index, &last.command, &self.state);
            *response = FlareResponse { outcome: Some(Outcome::Done(last.index)) }.encode_to_vec().into();
        }
        Ok(responses)
    }

    fn ends_batch(&self, command: &[u8]) -> bool {
        audit::is_audit(command)
    }

    fn flush(&self) -> io::Result<u64> {
        self.room.flush(|| self.state.flush())
    }

    fn flushed_index(&self) -> u64 {
        self.state.flushed_index()
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotReader>> {
        Ok(Box::new(View(self.state.snapshot().map_err(fault)?)))
    }

    fn install(&self) -> io::Result<Box<dyn SnapshotWriter>> {
        let install = self.room.patiently(|| self.state.install())?;
        Ok(Box::new(Installation { install, room: Arc::clone(&self.room) }))
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
struct Installation {
    install: flaredb_engine::Install,
    room: Arc<Room>,
}

impl SnapshotWriter for Installation {
    fn write(&mut self, chunk: Bytes) -> io::Result<()> {
        self.room.patiently(|| self.install.write(&chunk))
    }

    fn finish(self: Box<Self>, applied: Applied) -> io::Result<()> {
        let applied = from_host(applied);
        self.room.patiently(|| self.install.clone().finish(applied.clone()))
    }
}

fn to_engine(entry: &CommandEntry) -> Entry<'_> {
    // The host's own entries and audits change nothing but the position.
    let command = Some(&entry.command).filter(|command| !command.is_empty() && !audit::is_audit(command));
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

#[cfg(test)]
mod tests {
    use flaredb_engine::{Engine, Options, RegionId};
    use flaredb_proto::v1::{
        CasPut, CreateNamespaceRequest, FlareRequest, NamespaceMode, flare_request::Command,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::{metrics::Metrics, quarantine::Quarantine, space::Disk};

    fn open(folder: &TempDir) -> Replica {
        let engine = Engine::open(folder.path(), Options::default()).unwrap();
        let quarantine = Arc::new(Quarantine::open(folder.path()).unwrap());
        let auditor = Arc::new(Auditor::new(quarantine, Metrics::default()));
        let room = Arc::new(Room::on(Arc::new(Disk::new(folder.path().to_owned(), 0))));
        Replica { state: engine.region(RegionId(1)).unwrap(), room, auditor }
    }

    fn apply(replica: &Replica, index: u64, command: Command) {
        let command = FlareRequest { command: Some(command) }.encode_to_vec().into();
        let applied = Applied { index, host: Bytes::from_static(b"host") };
        assert_eq!(replica.apply(vec![CommandEntry { index, command }], applied).unwrap().len(), 1);
    }

    #[test]
    fn snapshot_that_travels_through_the_host_is_the_same_state() {
        let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let [source, target] = [open(&folders[0]), open(&folders[1])];
        let mode = NamespaceMode::Strong.into();
        let create =
            CreateNamespaceRequest { name: "n".to_owned(), mode, ..CreateNamespaceRequest::default() };
        apply(&source, 1, Command::CreateNamespace(create));
        for index in 2..50 {
            let (key, value) = (index.to_string().into(), vec![7; 5_000].into());
            apply(
                &source,
                index,
                Command::CasPut(CasPut { namespace_id: 1, key, value, ..CasPut::default() }),
            );
        }
        let view = StateMachine::snapshot(&source).unwrap();
        let mut writer = StateMachine::install(&target).unwrap();
        let mut cursor = Some(Vec::new());
        while let Some(at) = cursor {
            let chunk = view.read(&at, 10_000).unwrap();
            writer.write(chunk.data).unwrap();
            cursor = chunk.next;
        }
        writer.finish(view.applied()).unwrap();
        assert_eq!(target.applied().unwrap(), source.applied().unwrap());
        assert_eq!(target.flushed_index(), 49);
        assert_eq!(target.state.state_hash().unwrap(), source.state.state_hash().unwrap());
    }
}
