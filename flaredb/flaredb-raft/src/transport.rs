//! How the nodes of a cluster talk.
//!
//! [`client`] is what openraft calls to reach a peer, [`service`] answers the peers. Every message names its
//! cluster, region and both nodes, and a node refuses what is not meant for it. Each pair of nodes shares a few
//! connections ([`channels`]) for all regions; appends are pipelined on one stream for each region.

pub(crate) mod catch_ups;
pub(crate) mod channels;
pub(crate) mod client;
pub(crate) mod forward;
pub(crate) mod incoming;
pub(crate) mod outgoing;
pub(crate) mod route;
pub(crate) mod service;

use std::io;

use crate::{
    codec::invalid,
    entry::{COMMAND_BYTES_MAX, Entry},
    proto::v1,
    types::{LogId, TypeConfig},
};

pub(crate) type AppendEntries = openraft::raft::AppendEntriesRequest<TypeConfig>;
pub(crate) type AppendResult = openraft::raft::StreamAppendResult<TypeConfig>;
pub(crate) type AppendError = openraft::raft::StreamAppendError<TypeConfig>;

/// Largest message on the wire: a piece of the log, which is a little more than one largest entry, or a chunk of
/// a snapshot.
pub(crate) const MESSAGE_BYTES_MAX: usize = 2 * COMMAND_BYTES_MAX;

pub(crate) fn encode_append(request: AppendEntries, route: Option<v1::Route>) -> v1::AppendRequest {
    v1::AppendRequest {
        route,
        vote: Some((&request.vote).into()),
        previous: request.prev_log_id.as_ref().map(Into::into),
        leader_commit: request.leader_commit.as_ref().map(Into::into),
        entries: request.entries.iter().map(|entry| entry.record().clone()).collect(),
    }
}

pub(crate) fn decode_append(message: v1::AppendRequest) -> io::Result<AppendEntries> {
    Ok(AppendEntries {
        vote: message.vote.ok_or_else(|| invalid("an append has no vote"))?.into(),
        prev_log_id: message.previous.map(Into::into),
        leader_commit: message.leader_commit.map(Into::into),
        entries: message.entries.into_iter().map(Entry::decode).collect::<io::Result<_>>()?,
    })
}

pub(crate) fn encode_result(result: &AppendResult) -> v1::AppendResponse {
    use v1::append_response::Result as Message;
    let result = match result {
        Ok(log_id) => Message::Matching(v1::Matching { log_id: log_id.as_ref().map(Into::into) }),
        Err(AppendError::Conflict(log_id)) => Message::Conflict(log_id.into()),
        Err(AppendError::HigherVote(vote)) => Message::HigherVote(vote.into()),
    };
    v1::AppendResponse { result: Some(result), short_of_space: false }
}

pub(crate) fn decode_result(message: v1::AppendResponse) -> io::Result<AppendResult> {
    use v1::append_response::Result as Message;
    match message.result.ok_or_else(|| invalid("an append's answer is empty"))? {
        Message::Matching(matching) => Ok(Ok(matching.log_id.map(LogId::from))),
        Message::Conflict(log_id) => Ok(Err(AppendError::Conflict(log_id.into()))),
        Message::HigherVote(vote) => Ok(Err(AppendError::HigherVote(vote.into()))),
    }
}
