//! Sends one snapshot to one peer, chunk by chunk.
//!
//! One chunk is in memory at a time. A chunk that failed is sent again, which resumes the transfer where it
//! stopped; a peer that has lost what it had gets the same view again from its start.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use tonic::{Code, Request, Status};

use super::channels::Client;
use crate::{
    codec::{HostState, invalid},
    config::Timing,
    machine::{SNAPSHOT_CHUNK_BYTES, SnapshotData},
    proto::v1,
    simulation,
    state_machine::{SnapshotChunk, SnapshotReader},
    types::{Snapshot, Vote},
};

/// Attempts to send one chunk before openraft is asked what to do.
const ATTEMPTS_MAX: u32 = 20;
const RETRY_DELAY: Duration = Duration::from_millis(250);
/// Times that a peer may lose what it had.
const RESTARTS_MAX: u32 = 3;

/// Why a snapshot did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransferError {
    /// This node's own state machine failed to read.
    #[error("the snapshot cannot be read")]
    Read(#[source] io::Error),
    /// The peer did not take a chunk.
    #[error("the peer did not take the snapshot: {0}")]
    Peer(#[source] Box<Status>),
    /// The peer wants chunks in an order that makes no sense.
    #[error("the peer has lost the snapshot too often")]
    Lost,
}

/// One transfer.
pub(crate) struct Transfer {
    client: Client,
    route: v1::Route,
    vote: Vote,
    transfer_id: u64,
    chunk_timeout: Duration,
    install_timeout: Duration,
}

impl Transfer {
    pub(crate) fn new(
        client: Client,
        route: v1::Route,
        vote: Vote,
        transfer_id: u64,
        timing: &Timing,
    ) -> Self {
        let (chunk_timeout, install_timeout) =
            (timing.snapshot_chunk_timeout, timing.snapshot_install_timeout);
        Self { client, route, vote, transfer_id, chunk_timeout, install_timeout }
    }

    /// Sends all of it; returns the peer's vote, newer than ours if we no longer lead.
    pub(crate) async fn send(self, snapshot: Snapshot) -> Result<Vote, TransferError> {
        let meta = snapshot.meta;
        let state = HostState { last_applied: meta.last_log_id, membership: meta.last_membership };
        let state = v1::HostState::from(&state);
        let SnapshotData::View(view) = snapshot.snapshot else {
            return Err(TransferError::Read(invalid("only a view can be sent")));
        };
        let view: Arc<dyn SnapshotReader> = Arc::from(view);
        for _attempt in 0..=RESTARTS_MAX {
            if let Some(vote) = self.send_view(&view, &state).await? {
                return Ok(vote);
            }
        }
        Err(TransferError::Lost)
    }

    /// Sends the chunks from the first to the last; `None` if the peer has lost what it had.
    async fn send_view(
        &self,
        view: &Arc<dyn SnapshotReader>,
        state: &v1::HostState,
    ) -> Result<Option<Vote>, TransferError> {
        let (mut cursor, mut sequence) = (Some(Vec::new()), 0);
        while let Some(at) = cursor {
            let chunk = read(view, at).await.map_err(TransferError::Read)?;
            cursor = chunk.next;
            let message = self.message(sequence, chunk.data, cursor.is_none(), state);
            let progress = self.deliver(message).await?;
            sequence += 1;
            let vote = progress.vote.map_or(self.vote, Vote::from);
            if vote > self.vote || progress.installed {
                return Ok(Some(vote));
            }
            if progress.next_sequence != sequence {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn message(&self, sequence: u64, data: Bytes, last: bool, state: &v1::HostState) -> v1::SnapshotChunk {
        v1::SnapshotChunk {
            route: Some(self.route.clone()),
            vote: Some((&self.vote).into()),
            transfer_id: self.transfer_id,
            sequence,
            checksum: crc32fast::hash(&data),
            data,
            last,
            state: (last || sequence == 0).then(|| state.clone()),
        }
    }

    /// Sends one chunk until the peer has it.
    async fn deliver(&self, message: v1::SnapshotChunk) -> Result<v1::SnapshotProgress, TransferError> {
        let mut attempt = 0;
        loop {
            attempt += 1;
            match self.attempt(message.clone()).await {
                Ok(progress) => return Ok(progress),
                Err(status) if attempt < ATTEMPTS_MAX && is_transient(&status) => {
                    tracing::debug!(%status, attempt, "a snapshot chunk is sent again");
                    tokio::time::sleep(RETRY_DELAY).await;
                }
                Err(status) => return Err(TransferError::Peer(Box::new(status))),
            }
        }
    }

    async fn attempt(&self, message: v1::SnapshotChunk) -> Result<v1::SnapshotProgress, Status> {
        let timeout = match message.last {
            true => self.install_timeout,
            false => self.chunk_timeout,
        };
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        let mut client = self.client.clone();
        let answer = tokio::time::timeout(timeout, client.install_snapshot(request)).await;
        let answer = answer.map_err(|_late| Status::deadline_exceeded("the peer is silent"))?;
        answer.map(tonic::Response::into_inner)
    }
}

fn is_transient(status: &Status) -> bool {
    matches!(status.code(), Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled | Code::DataLoss)
}

async fn read(view: &Arc<dyn SnapshotReader>, cursor: Vec<u8>) -> io::Result<SnapshotChunk> {
    let view = Arc::clone(view);
    let read = simulation::blocking(move || view.read(&cursor, SNAPSHOT_CHUNK_BYTES));
    read.await.map_err(io::Error::other).flatten()
}
