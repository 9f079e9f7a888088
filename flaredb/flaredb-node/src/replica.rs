//! What the Raft host sees of the engine: a region as a replicated state machine.
//!
//! The two crates do not know each other; this file is all that joins them. It decides nothing: commands go to the
//! state machine as the bytes that were proposed, answers come back as the bytes that are sent to the proposer. Only
//! audits are the node's own, in whatever log they stand.

use std::{error::Error, io, sync::Arc};

use bytes::Bytes;
use flaredb_engine::{EngineError, Entry};
use flaredb_proto::v1::{FlareResponse, flare_response::Outcome};
use flaredb_raft::{
    Applied, CommandEntry, ProposeError, SnapshotChunk, SnapshotReader, SnapshotWriter, StateMachine,
};
use prost::Message as _;

use crate::{
    audit::{self, Auditor},
    space::{Closed, Room},
};

/// What a state machine makes of its commands; everything else about a replica is the same for all of them.
pub trait Commands: std::fmt::Debug + Send + Sync + 'static {
    /// The region that it changes.
    fn state(&self) -> &flaredb_engine::Region;

    /// Applies entries in order, in one write with the position; one answer for each.
    ///
    /// # Errors
    /// When the region could not be written; nothing has changed then.
    fn apply(
        &self,
        entries: &[Entry<'_>],
        applied: flaredb_engine::Applied,
    ) -> Result<Vec<Bytes>, EngineError>;

    /// Whether an encoded command is small and lets something be forgotten, so that it is let in on a full disk.
    fn makes_room(&self, _command: &[u8]) -> bool {
        false
    }
}

/// A region of the engine, as the Raft host drives it. Where it finds the disk full, it waits.
#[derive(Debug)]
pub struct Replica<C> {
    /// What is made of commands.
    pub commands: C,
    /// Where it waits.
    pub room: Arc<Room>,
    /// Who is told of audits.
    pub auditor: Arc<Auditor>,
}

impl<C: Commands> StateMachine for Replica<C> {
    fn applied(&self) -> io::Result<Applied> {
        Ok(to_host(self.commands.state().applied()))
    }

    fn apply(&self, commands: Vec<CommandEntry>, applied: Applied) -> io::Result<Vec<Bytes>> {
        let entries: Vec<Entry<'_>> = commands.iter().map(to_engine).collect();
        let applied = from_host(applied);
        let mut responses = self.room.patiently(|| self.commands.apply(&entries, applied.clone()))?;
        if let (Some(last), Some(response)) = (commands.last(), responses.last_mut())
            && audit::is_audit(&last.command)
        {
            self.auditor.reached(last.index, &last.command, self.commands.state());
            *response = FlareResponse { outcome: Some(Outcome::Done(last.index)) }.encode_to_vec().into();
        }
        Ok(responses)
    }

    fn admit(&self, command: &[u8]) -> Result<(), ProposeError> {
        if self.auditor.is_quarantined() {
            return Err(ProposeError::Unavailable);
        }
        self.room.admit(self.commands.makes_room(command)).map_err(|closed| match closed {
            Closed::NoRoom(_) => ProposeError::NoSpace,
            Closed::HandingOver => ProposeError::Unavailable,
        })
    }

    fn ends_batch(&self, command: &[u8]) -> bool {
        audit::is_audit(command)
    }

    fn flush(&self) -> io::Result<u64> {
        self.room.flush(|| self.commands.state().flush())
    }

    fn flushed_index(&self) -> u64 {
        self.commands.state().flushed_index()
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotReader>> {
        Ok(Box::new(View(self.commands.state().snapshot().map_err(fault)?)))
    }

    fn install(&self) -> io::Result<Box<dyn SnapshotWriter>> {
        let install = self.room.patiently(|| self.commands.state().install())?;
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
    use flaredb_engine::{Engine, Options, Region, RegionId};
    use flaredb_proto::v1::{
        CasPut, CreateNamespaceRequest, FlareRequest, NamespaceMode, flare_request::Command,
    };
    use tempfile::TempDir;

    use super::*;
    use crate::{metrics::Metrics, quarantine::Quarantine, space::Disk};

    #[derive(Debug)]
    struct Flare(Region);

    impl Commands for Flare {
        fn state(&self) -> &Region {
            &self.0
        }

        fn apply(
            &self,
            entries: &[Entry<'_>],
            applied: flaredb_engine::Applied,
        ) -> Result<Vec<Bytes>, EngineError> {
            let responses = self.0.apply(entries, applied)?;
            Ok(responses.iter().map(|response| response.encode_to_vec().into()).collect())
        }
    }

    fn open(folder: &TempDir) -> Replica<Flare> {
        let engine = Engine::open(folder.path(), Options::default()).unwrap();
        let quarantine = Arc::new(Quarantine::open(folder.path()).unwrap());
        let auditor = Arc::new(Auditor::new(quarantine, Metrics::default()));
        let room = Arc::new(Room::on(Arc::new(Disk::new(folder.path().to_owned(), 0))));
        Replica { commands: Flare(engine.region(RegionId(1)).unwrap()), room, auditor }
    }

    fn apply(replica: &Replica<Flare>, index: u64, command: Command) {
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
        assert_eq!(target.commands.0.state_hash().unwrap(), source.commands.0.state_hash().unwrap());
    }
}
