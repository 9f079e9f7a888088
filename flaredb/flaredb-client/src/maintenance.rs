//! Snapshots: everything out of a cluster as a stream of chunks, and into a new one. And what tells replicas and
//! machines apart.
//!
//! A snapshot has no bound in size and therefore none in time; what is bounded is silence. Neither way is repeated by
//! itself: a saved part cannot be continued, and the chunks to restore can be read only once.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use flaredb_proto::v1::{
    ExamineRequest, ExamineResponse, RestoreSnapshotResponse, SaveSnapshotRequest, SnapshotChunk,
    StateHashRequest, StatusResponse, maintenance_client::MaintenanceClient,
};
use futures::{Stream, StreamExt as _, stream};
use photon_dial::{Route, words};
use tokio::time::timeout;
use tonic::{Status, Streaming};

use crate::{
    Error, NodeError, RdbClient,
    client::{ANSWER_BYTES_MAX, Plan},
    outcome::{self, Outcome},
};

/// The server takes at most ten minutes.
const HASH_PATIENCE: Duration = Duration::from_secs(630);

/// Snapshots of a cluster, and what tells its replicas and machines apart: [`RdbClient::maintenance`].
#[derive(Debug, Clone)]
pub struct Maintenance(pub(crate) RdbClient);

/// The chunks of a snapshot, in order, up to the one marked as the last. An error is the last item.
pub struct Snapshot(Pin<Box<dyn Stream<Item = Result<SnapshotChunk, Error>> + Send>>);

impl Stream for Snapshot {
    type Item = Result<SnapshotChunk, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

impl Maintenance {
    /// The applied index of one node's replica and SHA-256 over its state there; replicas at the same index have the
    /// same. A client of a single endpoint asks that node and no other.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn state_hash(&self) -> Result<(u64, Bytes), Error> {
        let send =
            |channel, request| async move { MaintenanceClient::new(channel).state_hash(request).await };
        let plan = Plan { timeout: Some(HASH_PATIENCE), ..Plan::READ };
        let answer = self.0.call(plan, StateHashRequest::default(), send).await?;
        Ok((answer.applied_index, answer.sha256))
    }

    /// What one node tells of its machine; it writes and syncs a small file for that. A client of a single endpoint
    /// asks that node and no other.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn examine(&self) -> Result<ExamineResponse, Error> {
        let send = |channel, request| async move { MaintenanceClient::new(channel).examine(request).await };
        self.0.call(Plan::READ, ExamineRequest {}, send).await
    }

    /// Starts to save everything, of one moment.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn save_snapshot(&self) -> Result<Snapshot, Error> {
        let send = |channel, request| async move {
            let client = MaintenanceClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
            { client }.save_snapshot(request).await
        };
        let plan = Plan { stream: true, ..Plan::READ };
        let (node, chunks) = self.0.call_node(plan, SaveSnapshotRequest {}, send).await?;
        let patience = self.0.shared.request_timeout;
        let saving = Saving { node: node.address.clone(), chunks, patience, next: 0 };
        Ok(Snapshot(Box::pin(stream::unfold(Some(saving), save))))
    }

    /// Writes a saved snapshot into a cluster that has no namespaces.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::NotNow`] when there are namespaces. After [`Error::Unavailable`] the cluster is as it was.
    pub async fn restore_snapshot(
        &self,
        chunks: impl Stream<Item = SnapshotChunk> + Send + 'static,
    ) -> Result<RestoreSnapshotResponse, Error> {
        // The chunks can be sent only once, so the leader must be found before.
        self.find_leader().await?;
        let node = self.0.shared.pool.pick(Route::Leader);
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let counted = chunks.inspect(move |_| {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let request = self.0.request(counted, None);
        let mut client = MaintenanceClient::new(node.channel());
        let call = client.restore_snapshot(request);
        match while_it_moves(call, &sent, self.0.shared.request_timeout).await {
            Ok(response) => Ok(response.into_inner()),
            Err(status) => Err(not_restored(&status, &node.address)),
        }
    }

    async fn find_leader(&self) -> Result<(), Error> {
        let status = self.0.cluster().status().await?;
        if let Some(leader) = leader_of(&status) {
            self.0.shared.pool.follow(leader);
        }
        Ok(())
    }
}

fn leader_of(status: &StatusResponse) -> Option<&str> {
    let region = status.regions.first()?;
    let leader = region.members.iter().find(|member| member.node_id == region.leader_id)?;
    Some(&leader.endpoint)
}

/// Awaits a call for as long as it goes on to take chunks.
async fn while_it_moves<T>(
    call: impl Future<Output = Result<T, Status>>,
    sent: &AtomicU64,
    patience: Duration,
) -> Result<T, Status> {
    let mut call = pin!(call);
    let mut seen = 0;
    loop {
        if let Ok(answer) = timeout(patience, &mut call).await {
            return answer;
        }
        let now = sent.load(Ordering::Relaxed);
        if now == seen {
            let words = format!("no progress within {} ms after chunk {now}", patience.as_millis());
            return Err(Status::deadline_exceeded(words));
        }
        seen = now;
    }
}

/// A snapshot appears with its last chunk or not at all, so a chunk that certainly failed leaves the cluster empty.
fn not_restored(status: &Status, address: &str) -> Error {
    let source = NodeError { endpoint: address.to_owned(), message: words(status) };
    match outcome::of(status, address) {
        Outcome::Refused(error) => error,
        Outcome::Unknown => Error::Indeterminate { source },
        _ => Error::Unavailable { source },
    }
}

/// A snapshot on its way in.
struct Saving {
    node: String,
    chunks: Streaming<SnapshotChunk>,
    patience: Duration,
    next: u64,
}

/// The next chunk; an error or the last chunk ends the stream.
async fn save(saving: Option<Saving>) -> Option<(Result<SnapshotChunk, Error>, Option<Saving>)> {
    let mut saving = saving?;
    match saving.chunk().await {
        Ok(chunk) => {
            saving.next += 1;
            let rest = (!chunk.last).then_some(saving);
            Some((Ok(chunk), rest))
        }
        Err(error) => Some((Err(error), None)),
    }
}

impl Saving {
    async fn chunk(&mut self) -> Result<SnapshotChunk, Error> {
        let patience = self.patience;
        let message = match timeout(patience, self.chunks.message()).await {
            Ok(Ok(message)) => message,
            Ok(Err(status)) => return Err(self.failed(&status)),
            Err(_elapsed) => return Err(self.broken(format!("no chunk within {} ms", patience.as_millis()))),
        };
        match message {
            Some(chunk) if chunk.sequence == self.next => Ok(chunk),
            Some(chunk) => {
                Err(self.broken(format!("chunk {} came instead of {}", chunk.sequence, self.next)))
            }
            None => {
                Err(self.broken(format!("the snapshot ended before its last chunk, after {}", self.next)))
            }
        }
    }

    fn failed(&self, status: &Status) -> Error {
        match outcome::of(status, &self.node) {
            Outcome::Refused(error) => error,
            _ => self.broken(words(status)),
        }
    }

    fn broken(&self, message: String) -> Error {
        Error::Unavailable { source: NodeError { endpoint: self.node.clone(), message } }
    }
}
