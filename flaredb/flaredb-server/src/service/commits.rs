//! `KvCas.CommitEach`: batch after batch in one stream, each committed on its own.
//!
//! A call costs more than a small write does: headers, tasks, frames of its own. Here they are paid once. What is under
//! way for one stream is bounded, so a client that sends faster than its batches commit is slowed by the flow control
//! of HTTP/2 and not by refusals.
//!
//! Every batch that is taken is answered, in order, also while this node stops. A stream that ends with OK has taken
//! none but those that it answered, so its client knows that the rest did not happen.

use std::{pin::Pin, sync::Arc};

use flaredb_proto::v1::{
    CommitFailure, CommitOutcome, CommitRequest, CommitResponse, ErrorDetail, commit_outcome::Outcome,
};
use futures::{Stream, StreamExt as _};
use photon_runtime::Principal;
use prost::Message as _;
use tonic::{Status, Streaming};

use super::Api;

/// Batches of one stream under way.
const UNDER_WAY_MAX: usize = 64;

/// The answers of one stream.
pub(crate) type Commits = Pin<Box<dyn Stream<Item = Result<CommitOutcome, Status>> + Send>>;

impl Api {
    /// Commits whatever comes, until the client has no more or this node stops.
    pub(super) fn open_commits(&self, caller: Principal, requests: Streaming<CommitRequest>) -> Commits {
        let (api, caller, stopped) = (self.clone(), Arc::new(caller), self.stop.clone().cancelled_owned());
        let commit = move |request: Result<CommitRequest, Status>| {
            let (api, caller) = (api.clone(), Arc::clone(&caller));
            async move { Ok(outcome(api.commit_one(&caller, request?).await)) }
        };
        Box::pin(requests.take_until(stopped).map(commit).buffered(UNDER_WAY_MAX))
    }
}

fn outcome(committed: Result<CommitResponse, Status>) -> CommitOutcome {
    let outcome = match committed {
        Ok(answer) => Outcome::Answer(answer),
        Err(status) => Outcome::Failure(failure(&status)),
    };
    CommitOutcome { outcome: Some(outcome) }
}

fn failure(status: &Status) -> CommitFailure {
    // A status without details has an empty one, which says nothing.
    let detail = ErrorDetail::decode(status.details()).ok().filter(|detail| detail.kind.is_some());
    CommitFailure { code: status.code().into(), message: status.message().to_owned(), detail }
}
