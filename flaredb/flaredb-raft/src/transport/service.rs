//! Answers the peers.
//!
//! Nothing is done before the route is checked: the cluster, the node that was meant, and a region that this
//! node hosts. A message that cannot be read ends its stream; openraft asks again.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, TryFutureExt as _, future, stream};
use openraft::{
    ReadPolicy,
    raft::{TransferLeaderRequest, VoteRequest},
};
use tonic::{Request, Response, Status, Streaming};

use super::{AppendResult, decode_append, encode_result, forward};
use crate::{
    group::{Group, Replica},
    node::Regions,
    proto::v1::{self, raft_transport_server::RaftTransport},
    types::{LogId, TypeConfig, Vote, position},
};

/// The service of one node.
#[derive(Clone, Debug)]
pub struct Service {
    pub(crate) cluster_id: String,
    pub(crate) node_id: u64,
    pub(crate) regions: Arc<Regions>,
}

fn missing(field: &str) -> Status {
    Status::invalid_argument(format!("the message has no {field}"))
}

fn stopped(error: impl ToString) -> Status {
    Status::unavailable(error.to_string())
}

fn vote_of(vote: Option<v1::Vote>) -> Result<Vote, Status> {
    vote.map(Vote::from).ok_or_else(|| missing("vote"))
}

impl Service {
    /// The replica that a message is for.
    fn replica(&self, route: Option<&v1::Route>) -> Result<Arc<Replica>, Status> {
        let route = route.ok_or_else(|| missing("route"))?;
        if route.cluster_id != self.cluster_id {
            let (ours, theirs) = (&self.cluster_id, &route.cluster_id);
            tracing::warn!(from = route.from, cluster = %theirs, "a node of another cluster was refused");
            return Err(Status::failed_precondition(format!(
                "this node belongs to cluster {ours:?}, the sender to cluster {theirs:?}"
            )));
        }
        if route.to != self.node_id {
            let (ours, meant) = (self.node_id, route.to);
            return Err(Status::failed_precondition(format!(
                "this is node {ours}, the message is for {meant}"
            )));
        }
        let replica = self.regions.get(route.region_id);
        replica
            .ok_or_else(|| Status::not_found(format!("this node does not host region {}", route.region_id)))
    }

    async fn vote(
        &self,
        message: v1::VoteRequest,
        pre_vote: bool,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        let replica = self.replica(message.route.as_ref())?;
        let mut request = VoteRequest::new(vote_of(message.vote)?, message.last_log_id.map(LogId::from));
        request.leadership_transfer = message.leadership_transfer;
        let answer = match pre_vote {
            true => replica.raft.pre_vote(request).await,
            false => replica.raft.vote(request).await,
        };
        let answer = answer.map_err(stopped)?;
        Ok(Response::new(v1::VoteResponse {
            vote: Some((&answer.vote).into()),
            granted: answer.vote_granted,
            last_log_id: answer.last_log_id.as_ref().map(Into::into),
        }))
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<v1::AppendResponse, Status>> + Send>>;

/// Feeds a stream of appends, the first of which is already here, to the replica.
fn append_all(
    replica: &Arc<Replica>,
    first: v1::AppendRequest,
    rest: Streaming<v1::AppendRequest>,
) -> Answers {
    let requests = stream::iter([Ok(first)]).chain(rest).map(|message| {
        let request = message.and_then(|message| decode_append(message).map_err(stopped));
        request.inspect_err(|error| tracing::debug!(%error, "an append stream ended")).ok()
    });
    let requests = requests.take_while(|request| future::ready(request.is_some())).filter_map(future::ready);
    let results = replica.raft.stream_append(requests).boxed();
    let replica = Arc::clone(replica);
    results.map(move |result| answer(&replica, result)).boxed()
}

fn answer(
    replica: &Replica,
    result: Result<AppendResult, impl ToString>,
) -> Result<v1::AppendResponse, Status> {
    let result = result.map_err(stopped)?;
    if !matches!(result, Err(super::AppendError::HigherVote(_))) {
        replica.heard_from_leader();
    }
    Ok(encode_result(&result))
}

#[tonic::async_trait]
impl RaftTransport for Service {
    type AppendStream = Answers;

    async fn append(
        &self,
        request: Request<Streaming<v1::AppendRequest>>,
    ) -> Result<Response<Answers>, Status> {
        let mut messages = request.into_inner();
        let service = self.clone();
        // The answer starts at once: the first request of an idle region may be long in coming.
        let answers = async move {
            let Some(first) = messages.message().await? else { return Ok(stream::empty().boxed()) };
            let replica = service.replica(first.route.as_ref())?;
            Ok::<_, Status>(append_all(&replica, first, messages))
        };
        Ok(Response::new(answers.try_flatten_stream().boxed()))
    }

    async fn heartbeat(
        &self,
        request: Request<v1::AppendRequest>,
    ) -> Result<Response<v1::AppendResponse>, Status> {
        let message = request.into_inner();
        let replica = self.replica(message.route.as_ref())?;
        let request = decode_append(message).map_err(|error| Status::invalid_argument(error.to_string()))?;
        let matching = request.prev_log_id;
        let result = replica.raft.append_entries(request).await;
        let answer = answer(&replica, result.map(|result| result.into_stream_result(matching, matching)))?;
        let short_of_space = replica.log.space().is_short();
        Ok(Response::new(v1::AppendResponse { short_of_space, ..answer }))
    }

    async fn request_vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        self.vote(request.into_inner(), false).await
    }

    async fn pre_vote(
        &self,
        request: Request<v1::VoteRequest>,
    ) -> Result<Response<v1::VoteResponse>, Status> {
        self.vote(request.into_inner(), true).await
    }

    async fn transfer_leader(
        &self,
        request: Request<v1::TransferLeaderRequest>,
    ) -> Result<Response<v1::TransferLeaderResponse>, Status> {
        let message = request.into_inner();
        let replica = self.replica(message.route.as_ref())?;
        let from = vote_of(message.from_leader)?;
        let request =
            TransferLeaderRequest::<TypeConfig>::new(from, message.to, message.last_log_id.map(Into::into));
        let answer = replica.raft.handle_transfer_leader(request).await.map_err(stopped)?;
        let rejected = answer.err().map(|reason| reason.to_string()).unwrap_or_default();
        Ok(Response::new(v1::TransferLeaderResponse { rejected }))
    }

    type ForwardStream = forward::Outcomes;

    async fn forward(
        &self,
        request: Request<Streaming<v1::ForwardRequest>>,
    ) -> Result<Response<forward::Outcomes>, Status> {
        let mut messages = request.into_inner();
        let service = self.clone();
        let outcomes = async move {
            let Some(first) = messages.message().await? else { return Ok(stream::empty().boxed()) };
            let replica = service.replica(first.route.as_ref())?;
            Ok::<_, Status>(forward::propose_all(Group(replica), first, messages))
        };
        Ok(Response::new(outcomes.try_flatten_stream().boxed()))
    }

    async fn install_snapshot(
        &self,
        request: Request<v1::SnapshotChunk>,
    ) -> Result<Response<v1::SnapshotProgress>, Status> {
        let chunk = request.into_inner();
        let replica = self.replica(chunk.route.as_ref())?;
        let progress = replica.incoming.take(&replica.raft, chunk).await?;
        replica.heard_from_leader();
        Ok(Response::new(progress))
    }

    async fn read_index(
        &self,
        request: Request<v1::ReadIndexRequest>,
    ) -> Result<Response<v1::ReadIndexResponse>, Status> {
        let replica = self.replica(request.get_ref().route.as_ref())?;
        let linearizer = replica.raft.get_read_linearizer(ReadPolicy::ReadIndex).await.map_err(stopped)?;
        let index = position(Some(linearizer.read_log_id().log_id()));
        Ok(Response::new(v1::ReadIndexResponse { index }))
    }
}

#[cfg(test)]
mod tests;
