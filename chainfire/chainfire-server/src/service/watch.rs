//! `Watch`: one stream, on which a client opens and ends watches.
//!
//! Nothing is pushed at a stream, so nothing can be dropped: it wakes, reads a bounded batch behind what its watches have
//! got, and the stream's flow control decides when it reads again.

use std::pin::Pin;

use chainfire_proto::etcdserverpb::{WatchRequest, WatchResponse, watch_server::Watch};
use chainfire_store::refusal;
use futures::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming};

use super::session::Session;
use crate::{api::Api, status};

/// Set by clients that would rather be told than wait when the node has no leader.
const REQUIRE_LEADER: &str = "hasleader";

type Answers = Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Watch for Api {
    type WatchStream = Answers;

    async fn watch(&self, request: Request<Streaming<WatchRequest>>) -> Result<Response<Answers>, Status> {
        let caller = self.caller(&request)?;
        let requires_leader = request.metadata().get(REQUIRE_LEADER).is_some_and(|value| value == "true");
        if requires_leader && self.leadership.borrow().leader.is_none() {
            return Err(status::refused(refusal::NO_LEADER));
        }
        let session = Session::new(self.clone(), caller, request.into_inner(), requires_leader);
        Ok(Response::new(stream::unfold(Some(session), step).fuse().boxed()))
    }
}

/// A failure is the stream's last item.
async fn step(session: Option<Session>) -> Option<(Result<WatchResponse, Status>, Option<Session>)> {
    let mut session = session?;
    match session.next().await {
        Ok(Some(response)) => Some((Ok(response), Some(session))),
        Ok(None) => None,
        Err(status) => Some((Err(status), None)),
    }
}
