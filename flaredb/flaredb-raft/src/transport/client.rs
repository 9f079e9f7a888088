//! The network as openraft sees it: one [`Peer`] for each region, target and purpose.
//!
//! A failure to reach the peer is reported as unreachable, so that openraft waits longer and longer between its
//! attempts; a late answer is reported as a timeout, so that it tries again at once.

use std::{
    collections::hash_map::RandomState,
    future::Future,
    hash::{BuildHasher as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _, future, stream};
use openraft::{
    BasicNode, OptionalSend, RPCTypes, RaftNetworkFactory, RaftNetworkV2,
    base::{BoxFuture, BoxStream},
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Timeout, Unreachable},
    network::{Backoff, RPCOption},
    raft::{
        AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest, TransferLeaderResponse, VoteRequest,
        VoteResponse,
    },
};
use tonic::{Code, Request, Response, Status, Streaming};

use super::{
    AppendEntries, AppendResult,
    catch_ups::CatchUps,
    channels::{Addresses, Channels, Client, Lane},
    decode_result, encode_append, outgoing,
};
use crate::{
    config::Timing,
    machine::SnapshotData,
    metrics::Metrics,
    proto::v1,
    types::{LogId, Snapshot, TypeConfig, Vote},
};

type RpcError = RPCError<TypeConfig>;
type AppendResults<'s> = BoxStream<'s, Result<AppendResult, RpcError>>;

/// Makes clients for the peers of one region.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    pub(crate) cluster_id: String,
    pub(crate) region_id: u64,
    pub(crate) node_id: u64,
    pub(crate) channels: Arc<Channels>,
    pub(crate) addresses: Arc<Addresses>,
    pub(crate) catch_ups: CatchUps,
    pub(crate) timing: Timing,
    pub(crate) metrics: Metrics,
}

impl Network {
    pub(crate) fn route(&self, to: u64) -> v1::Route {
        v1::Route { cluster_id: self.cluster_id.clone(), region_id: self.region_id, from: self.node_id, to }
    }

    fn peer(&self, target: u64, node: &BasicNode, purpose: Purpose) -> Peer {
        Peer { network: self.clone(), target, endpoint: node.addr.clone(), purpose }
    }

    /// Tells when a peer is lost and when it is there again, instead of at every heartbeat.
    fn note(&self, target: u64, error: Option<&RpcError>) {
        let region_id = self.region_id;
        match (self.addresses.note(target, error.is_some()), error) {
            (true, Some(error)) => tracing::warn!(region_id, target, %error, "a peer does not answer"),
            (true, None) => tracing::info!(region_id, target, "a peer answers again"),
            (false, _) => {}
        }
    }

    /// Asks the leader for a read index.
    pub(crate) async fn read_index(&self, leader: u64, endpoint: &str) -> Result<u64, Status> {
        let mut client = self
            .channels
            .client(endpoint, Lane::Control)
            .map_err(|error| Status::unavailable(error.to_string()))?;
        let request = v1::ReadIndexRequest { route: Some(self.route(leader)) };
        let call = client.read_index(request);
        let answer = tokio::time::timeout(self.timing.election_max, call).await;
        let answer = answer.map_err(|_late| Status::deadline_exceeded("the leader is silent"))?;
        answer.map(|response| response.into_inner().index)
    }
}

/// What openraft uses a client for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Replicate,
    Heartbeat,
    Snapshot,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        self.peer(target, node, Purpose::Replicate)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        self.peer(target, node, Purpose::Heartbeat)
    }

    async fn new_snapshot_client(&mut self, target: u64, node: &BasicNode) -> Peer {
        self.peer(target, node, Purpose::Snapshot)
    }
}

/// One peer of one region.
#[derive(Debug)]
pub(crate) struct Peer {
    network: Network,
    target: u64,
    /// Where the target was when openraft asked for this client.
    endpoint: String,
    purpose: Purpose,
}

fn unreachable(reason: impl ToString) -> RpcError {
    RpcError::Unreachable(Unreachable::from_string(reason))
}

impl Peer {
    fn client(&self, lane: Lane) -> Result<Client, RpcError> {
        let moved = self.network.addresses.of(self.target);
        let endpoint = moved.as_ref().unwrap_or(&self.endpoint);
        self.network.channels.client(endpoint, lane).map_err(unreachable)
    }

    fn route(&self) -> v1::Route {
        self.network.route(self.target)
    }

    fn late(&self, action: RPCTypes, timeout: Duration) -> RpcError {
        RpcError::Timeout(Timeout { action, id: self.network.node_id, target: self.target, timeout })
    }

    /// Runs a call within its deadline, which the peer is told as well.
    async fn call<M, T, F>(
        &self,
        action: RPCTypes,
        timeout: Duration,
        message: M,
        send: impl FnOnce(Request<M>) -> F,
    ) -> Result<T, RpcError>
    where
        F: Future<Output = Result<Response<T>, Status>>,
    {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        let answer = tokio::time::timeout(timeout, send(request)).await;
        let answer = answer.map_err(|_late| self.late(action, timeout))?;
        answer.map(Response::into_inner).map_err(|status| self.failed(action, timeout, &status))
    }

    fn failed(&self, action: RPCTypes, timeout: Duration, status: &Status) -> RpcError {
        match status.code() {
            Code::DeadlineExceeded | Code::Cancelled => self.late(action, timeout),
            _ => unreachable(format!("{action:?} at node {}: {status}", self.target)),
        }
    }

    async fn heartbeat(&self, rpc: AppendEntries, timeout: Duration) -> Result<AppendResult, RpcError> {
        let mut client = self.client(Lane::Control)?;
        let message = encode_append(rpc, Some(self.route()));
        let send = |request| async move { client.heartbeat(request).await };
        let answer = self.call(RPCTypes::AppendEntries, timeout, message, send).await;
        self.network.note(self.target, answer.as_ref().err());
        let answer = answer?;
        self.network.addresses.note_space(self.target, answer.short_of_space);
        decode_result(answer).map_err(unreachable)
    }

    async fn open_stream<S>(&self, input: S) -> Result<Answers, RpcError>
    where
        S: Stream<Item = AppendEntries> + OptionalSend + Unpin + 'static,
    {
        let mut client = self.client(Lane::Log)?;
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let mut route = Some(self.route());
        let requests = input.map(move |request| {
            counter.fetch_add(1, Ordering::Relaxed);
            encode_append(request, route.take())
        });
        let stall_timeout = self.network.timing.append_stall_timeout;
        let opened = tokio::time::timeout(stall_timeout, client.append(requests)).await;
        let opened = opened.map_err(|_late| self.late(RPCTypes::AppendEntries, stall_timeout))?;
        let opened = opened.map_err(|status| self.failed(RPCTypes::AppendEntries, stall_timeout, &status))?;
        Ok(Answers { stream: opened.into_inner(), sent, received: 0, stall_timeout })
    }

    async fn ask_vote(
        &self,
        rpc: VoteRequest<TypeConfig>,
        timeout: Duration,
        pre_vote: bool,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        let mut client = self.client(Lane::Control)?;
        let message = v1::VoteRequest {
            route: Some(self.route()),
            vote: Some((&rpc.vote).into()),
            last_log_id: rpc.last_log_id.as_ref().map(Into::into),
            leadership_transfer: rpc.leadership_transfer,
        };
        let send = |request| async move {
            match pre_vote {
                true => client.pre_vote(request).await,
                false => client.request_vote(request).await,
            }
        };
        let answer = self.call(RPCTypes::Vote, timeout, message, send).await?;
        let vote = answer.vote.ok_or_else(|| unreachable("a vote's answer is empty"))?;
        Ok(VoteResponse::new(Vote::from(vote), answer.last_log_id.map(LogId::from), answer.granted))
    }
}

/// How far an append stream is.
enum Appending<S> {
    /// It has had no request yet.
    Not(S),
    /// Requests go out, answers come in.
    Open(Box<Answers>),
    /// It is of no use any more.
    Ended,
}

/// The answers on an append stream.
struct Answers {
    stream: Streaming<v1::AppendResponse>,
    sent: Arc<AtomicU64>,
    received: u64,
    stall_timeout: Duration,
}

impl Answers {
    /// The next answer; an error if none came for a whole timeout in which one was owed from the start.
    async fn next(&mut self, peer: &Peer) -> Option<Result<AppendResult, RpcError>> {
        let mut owed = false;
        loop {
            match tokio::time::timeout(self.stall_timeout, self.stream.message()).await {
                Ok(Ok(Some(answer))) => {
                    self.received += 1;
                    return Some(decode_result(answer).map_err(unreachable));
                }
                Ok(Ok(None)) => return None,
                Ok(Err(status)) => {
                    return Some(Err(peer.failed(RPCTypes::AppendEntries, self.stall_timeout, &status)));
                }
                Err(_late) if owed => {
                    return Some(Err(peer.late(RPCTypes::AppendEntries, self.stall_timeout)));
                }
                Err(_late) => owed = self.sent.load(Ordering::Relaxed) > self.received,
            }
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntries,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RpcError> {
        self.heartbeat(rpc, option.soft_ttl()).await.map(Into::into)
    }

    fn stream_append<'s, S>(
        &'s mut self,
        mut input: S,
        option: RPCOption,
    ) -> BoxFuture<'s, Result<AppendResults<'s>, RpcError>>
    where
        S: Stream<Item = AppendEntries> + OptionalSend + Unpin + 'static,
    {
        let peer = &*self;
        if self.purpose == Purpose::Heartbeat {
            let answers = async move {
                let Some(request) = input.next().await else { return stream::empty().boxed() };
                // All of the time until the next one: an answer that is a little late still renews the lease.
                let answer = peer.heartbeat(request, option.hard_ttl()).await;
                stream::iter([answer]).boxed()
            };
            return answers.map(Ok).boxed();
        }
        let results = stream::unfold(Appending::Not(input), async move |state| {
            let mut answers = match state {
                Appending::Not(mut input) => {
                    // openraft delays its first request after a failure, so nothing is dialled before it comes.
                    let first = input.next().await?;
                    match peer.open_stream(stream::iter([first]).chain(input)).await {
                        Ok(answers) => Box::new(answers),
                        Err(error) => return Some((Err(error), Appending::Ended)),
                    }
                }
                Appending::Open(answers) => answers,
                Appending::Ended => return None,
            };
            let result = answers.next(peer).await?;
            let ended = !matches!(result, Ok(Ok(_)));
            Some((result, if ended { Appending::Ended } else { Appending::Open(answers) }))
        });
        future::ready(Ok(results.boxed())).boxed()
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_vote(rpc, option.soft_ttl(), false).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RpcError> {
        self.ask_vote(rpc, option.soft_ttl(), true).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let _sending = self.network.catch_ups.begin(self.target);
        let client = self.client(Lane::Snapshot)?;
        let transfer_id = RandomState::new().build_hasher().finish();
        let transfer = outgoing::Transfer::new(client, self.route(), vote, transfer_id, &self.network.timing);
        let sending = async {
            let theirs = transfer.send(snapshot).await.map_err(|error| NetworkError::new(&error))?;
            if theirs == vote {
                self.network.metrics.snapshots_sent.inc();
            }
            Ok(SnapshotResponse::new(theirs))
        };
        tokio::select! {
            sent = sending => sent,
            closed = cancel => Err(StreamingError::Closed(closed)),
        }
    }

    async fn transfer_leader(
        &mut self,
        rpc: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RpcError> {
        let mut client = self.client(Lane::Control)?;
        let message = v1::TransferLeaderRequest {
            route: Some(self.route()),
            from_leader: Some(rpc.from_leader().into()),
            to: *rpc.to_node_id(),
            last_log_id: rpc.last_log_id().map(Into::into),
        };
        let send = |request| async move { client.transfer_leader(request).await };
        let answer = self.call(RPCTypes::TransferLeader, option.soft_ttl(), message, send).await?;
        match answer.rejected.is_empty() {
            true => Ok(Ok(())),
            false => Err(unreachable(answer.rejected)),
        }
    }

    fn backoff(&self) -> Option<Backoff> {
        let delays = [20, 40, 80, 160, 320].into_iter().chain(std::iter::repeat(500));
        Some(Backoff::new(delays.map(Duration::from_millis)))
    }
}
