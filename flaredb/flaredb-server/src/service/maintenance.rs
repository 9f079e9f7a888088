//! `Maintenance`: a consistent copy of everything out of the cluster, and into a new one; and what tells replicas and
//! machines apart.
//!
//! A snapshot goes out as it is read and comes in as proposals, chunk by chunk, so neither way holds more than a few
//! chunks in memory. Every chunk carries its number and checksum: a gap, a repetition or a changed byte ends the
//! restore, and a cluster that has namespaces already is refused before anything is written. What was restored shows
//! up with the last chunk; a restore that fails before leaves nothing to be seen and is simply begun again.

use std::pin::Pin;

use flaredb_engine::Snapshot;
use flaredb_proto::v1::{
    ExamineRequest, ExamineResponse, RestoreRecords, RestoreSnapshotResponse, SaveSnapshotRequest,
    SnapshotChunk, StateHashRequest, StateHashResponse, flare_request::Command, flare_response::Outcome,
    maintenance_server::Maintenance, refused::Reason,
};
use futures::{Stream, stream};
use photon_runtime::Action;
use tonic::{Request, Response, Status, Streaming};

use super::{Api, examine, off_the_reactor, state_hash};
use crate::{
    region::{self, Region},
    status::Refusal,
};

/// Larger pieces would hold up the log for everybody else.
const CHUNK_BYTES_MAX: usize = 1 << 20;

type Chunks = Pin<Box<dyn Stream<Item = Result<SnapshotChunk, Status>> + Send>>;

#[tonic::async_trait]
impl Maintenance for Api {
    type SaveSnapshotStream = Chunks;

    async fn save_snapshot(&self, request: Request<SaveSnapshotRequest>) -> Result<Response<Chunks>, Status> {
        let region = self.allow_cluster(&request, Action::Admin)?;
        self.quarantine.check().map_err(Refusal::from)?;
        region.read_index().await?;
        let snapshot = region.state.snapshot().map_err(|error| Refusal::unreadable("", error))?;
        let start = Saving { snapshot, cursor: Some(Vec::new()), sequence: 0 };
        Ok(Response::new(Box::pin(stream::try_unfold(start, next_chunk))))
    }

    async fn restore_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<RestoreSnapshotResponse>, Status> {
        let region = self.allow_cluster(&request, Action::Admin)?;
        region.read_index().await?;
        if !region.state.namespaces().is_empty() {
            return Err(occupied().into());
        }
        Ok(Response::new(restore(region, request.into_inner()).await?))
    }

    async fn state_hash(
        &self,
        request: Request<StateHashRequest>,
    ) -> Result<Response<StateHashResponse>, Status> {
        self.allow_cluster(&request, Action::Admin)?;
        Ok(Response::new(state_hash::state_hash(self).await?))
    }

    async fn examine(&self, request: Request<ExamineRequest>) -> Result<Response<ExamineResponse>, Status> {
        self.allow_cluster(&request, Action::Admin)?;
        Ok(Response::new(examine::examine(self).await?))
    }
}

/// A snapshot on its way out.
struct Saving {
    snapshot: Snapshot,
    cursor: Option<Vec<u8>>,
    sequence: u64,
}

async fn next_chunk(mut saving: Saving) -> Result<Option<(SnapshotChunk, Saving)>, Status> {
    let Some(cursor) = saving.cursor.take() else { return Ok(None) };
    let read = move || Ok((saving.snapshot.read(&cursor, CHUNK_BYTES_MAX)?, saving.snapshot));
    let (read, snapshot) = off_the_reactor("", read).await?;
    let chunk = SnapshotChunk {
        sequence: saving.sequence,
        crc32: crc32fast::hash(&read.data),
        last: read.next.is_none(),
        data: read.data,
    };
    let rest = Saving { snapshot, cursor: read.next, sequence: saving.sequence + 1 };
    Ok(Some((chunk, rest)))
}

async fn restore(
    region: &Region,
    mut chunks: Streaming<SnapshotChunk>,
) -> Result<RestoreSnapshotResponse, Status> {
    let (mut expected, mut records) = (0, 0);
    loop {
        let chunk = chunks
            .message()
            .await?
            .ok_or_else(|| damaged(expected, "the stream ended before the last one"))?;
        check(&chunk, expected)?;
        let last = chunk.last;
        records +=
            restore_rows(region, RestoreRecords { rows: chunk.data, last, first: expected == 0 }).await?;
        expected += 1;
        if last {
            let namespaces = u64::try_from(region.state.namespaces().len()).unwrap_or(u64::MAX);
            return Ok(RestoreSnapshotResponse { records, namespaces });
        }
    }
}

async fn restore_rows(region: &Region, rows: RestoreRecords) -> Result<u64, Refusal> {
    match region.propose(Command::RestoreRecords(rows)).await? {
        Outcome::Done(records) => Ok(records),
        Outcome::Refused(refused) if refused.reason() == Reason::NotEmpty => Err(occupied()),
        Outcome::Refused(refused) => Err(region::refused("", &refused)),
        _ => Err(region::unexpected("a restore")),
    }
}

fn occupied() -> Refusal {
    let words = "this cluster has namespaces already: restore into a new cluster, or delete them first";
    Refusal::NotNow(words.to_owned())
}

fn check(chunk: &SnapshotChunk, expected: u64) -> Result<(), Refusal> {
    if chunk.sequence != expected {
        return Err(damaged(expected, "another one came in its place"));
    }
    if chunk.data.len() > CHUNK_BYTES_MAX * 2 {
        return Err(damaged(expected, "it is larger than any that a server sends"));
    }
    if crc32fast::hash(&chunk.data) != chunk.crc32 {
        return Err(damaged(expected, "its checksum does not match"));
    }
    Ok(())
}

fn damaged(sequence: u64, what: &str) -> Refusal {
    Refusal::invalid(
        "chunks",
        format!("chunk {sequence}: {what}"),
        "the chunks of SaveSnapshot, whole and in order",
    )
}
