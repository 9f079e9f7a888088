//! Receives snapshots for one region, one at a time.
//!
//! Chunks go to a spool file; the replica is touched only when the last one has arrived and openraft agrees. A
//! repeated chunk is answered and not stored again, so the sender may repeat whatever it is unsure of. A new
//! transfer replaces an unfinished one.

use std::{
    io,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use tokio::sync::Mutex;
use tonic::Status;

use crate::{
    codec::HostState,
    machine::{
        SnapshotData,
        spool::{CHUNK_BYTES_MAX, SpoolWriter},
    },
    proto::v1,
    simulation,
    types::{Raft, Snapshot, SnapshotMeta, Vote},
};

/// The snapshot that a region is receiving.
#[derive(Debug)]
pub(crate) struct Incoming {
    dir: PathBuf,
    region_id: u64,
    /// Numbers the spools: a chunk whose caller went away may still be written when the next transfer begins, and
    /// its spool's file must not be the new one's.
    spools: AtomicU64,
    transfer: Mutex<Option<Transfer>>,
}

#[derive(Debug)]
struct Transfer {
    id: u64,
    next_sequence: u64,
    /// `None` when the last chunk has been handed over.
    spool: Option<SpoolWriter>,
    installed: bool,
}

fn broken(error: io::Error) -> Status {
    Status::internal(format!("the snapshot cannot be stored: {error}"))
}

impl Incoming {
    pub(crate) fn new(dir: PathBuf, region_id: u64) -> Self {
        Self { dir, region_id, spools: AtomicU64::new(0), transfer: Mutex::new(None) }
    }

    /// Takes one chunk; the answer to the last one is given when the snapshot is installed.
    pub(crate) async fn take(
        &self,
        raft: &Raft,
        chunk: v1::SnapshotChunk,
    ) -> Result<v1::SnapshotProgress, Status> {
        let vote = Vote::from(chunk.vote.ok_or_else(|| Status::invalid_argument("a chunk has no vote"))?);
        let ours = crate::group::metrics_of(raft).vote;
        if ours > vote {
            return Ok(v1::SnapshotProgress { vote: Some((&ours).into()), ..Default::default() });
        }
        check(&chunk)?;
        let mut slot = self.transfer.lock().await;
        let transfer = self.transfer_of(&mut slot, &chunk)?;
        if transfer.next_sequence == chunk.sequence {
            transfer.store(chunk.data).await?;
            if chunk.last {
                return transfer.install(raft, vote, chunk.state).await;
            }
        }
        Ok(transfer.progress(vote))
    }

    /// The transfer that a chunk belongs to; begins a new one with its first chunk.
    fn transfer_of<'a>(
        &self,
        slot: &'a mut Option<Transfer>,
        chunk: &v1::SnapshotChunk,
    ) -> Result<&'a mut Transfer, Status> {
        let known = slot.as_ref().is_some_and(|transfer| transfer.id == chunk.transfer_id);
        let restarted =
            known && chunk.sequence == 0 && slot.as_ref().is_some_and(|transfer| !transfer.installed);
        if !known || restarted {
            // The old one goes first: two large snapshots need not fit on the disk at once.
            *slot = None;
            let number = self.spools.fetch_add(1, Ordering::Relaxed);
            let name = format!("region-{}-{number}.snapshot", self.region_id);
            let spool = SpoolWriter::create(self.dir.join(name)).map_err(broken)?;
            let id = chunk.transfer_id;
            return Ok(slot.insert(Transfer { id, next_sequence: 0, spool: Some(spool), installed: false }));
        }
        slot.as_mut().ok_or_else(|| Status::internal("a known transfer is gone"))
    }
}

fn check(chunk: &v1::SnapshotChunk) -> Result<(), Status> {
    if chunk.data.len() > CHUNK_BYTES_MAX {
        return Err(Status::invalid_argument("a chunk is too large"));
    }
    if crc32fast::hash(&chunk.data) != chunk.checksum {
        return Err(Status::data_loss("a chunk does not match its checksum"));
    }
    Ok(())
}

impl Transfer {
    fn progress(&self, vote: Vote) -> v1::SnapshotProgress {
        v1::SnapshotProgress {
            vote: Some((&vote).into()),
            next_sequence: self.next_sequence,
            installed: self.installed,
        }
    }

    async fn store(&mut self, data: Bytes) -> Result<(), Status> {
        let Some(mut spool) = self.spool.take() else { return Ok(()) };
        // A failed write loses the spool; the sender is told to begin again.
        let written = simulation::blocking(move || spool.write(&data).map(|()| spool)).await;
        match written.map_err(io::Error::other).flatten() {
            Ok(spool) => self.spool = Some(spool),
            Err(error) => {
                self.next_sequence = 0;
                return Err(broken(error));
            }
        }
        self.next_sequence += 1;
        Ok(())
    }

    async fn install(
        &mut self,
        raft: &Raft,
        vote: Vote,
        state: Option<v1::HostState>,
    ) -> Result<v1::SnapshotProgress, Status> {
        let state = state.ok_or_else(|| Status::invalid_argument("the last chunk has no position"))?;
        let state =
            HostState::try_from(state).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let spool =
            self.spool.take().ok_or_else(|| Status::internal("the snapshot was handed over before"))?;
        let data = SnapshotData::Received(spool.finish().map_err(broken)?);
        let meta = SnapshotMeta { last_log_id: state.last_applied, last_membership: state.membership };
        let answer = raft.install_full_snapshot(vote, Snapshot { meta, snapshot: data }).await;
        let answer = answer.map_err(|fatal| Status::unavailable(fatal.to_string()))?;
        self.installed = true;
        Ok(self.progress(answer.vote))
    }
}
