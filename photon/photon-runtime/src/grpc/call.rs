//! One call: who makes it, is there room for it, how long may it take, and then its service.

use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use prometheus_client::metrics::gauge::Gauge;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};

use super::{
    body::{CallBody, Until},
    deadline,
    metrics::GrpcMetrics,
    router::{Router, Rpc},
};
use crate::auth::{Authenticator, Peer};

/// What every call is held against.
pub(crate) struct Rules {
    pub(crate) router: Router,
    /// Without one, the port is open: calls have no principal.
    pub(crate) authenticator: Option<Authenticator>,
    pub(crate) timeout: Duration,
    pub(crate) room: Room,
    pub(crate) draining: CancellationToken,
}

/// Counts the calls in flight up to a limit.
#[derive(Debug)]
pub(crate) struct Room {
    taken: Gauge,
    limit: i64,
}

/// A call's place among those in flight; it is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place(Gauge);

impl Room {
    pub(crate) fn new(limit: u32, metrics: &GrpcMetrics) -> Self {
        Self { taken: metrics.in_flight.clone(), limit: limit.into() }
    }

    fn enter(&self) -> Result<Place, Status> {
        let before = self.taken.inc();
        let place = Place(self.taken.clone());
        match before < self.limit {
            true => Ok(place),
            false => {
                let words = format!("{} calls are in flight, the limit; try again", self.limit);
                Err(Status::resource_exhausted(words))
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// What a call gets whose time is up.
pub(super) fn too_late() -> Status {
    Status::deadline_exceeded("the call took longer than its deadline or the server's limit")
}

impl Rules {
    /// Answers one call from a connection of `peer`.
    pub(super) async fn answer(&self, request: Request<Incoming>, peer: &Peer) -> Response<CallBody> {
        let began = Instant::now();
        let rpc = self.router.find(request.uri().path());
        let response = match self.admitted(request, peer, rpc, began).await {
            Ok(response) => response,
            Err(status) => status.into_http::<Body>().map(|body| CallBody::new(body, Until::Sent, None)),
        };
        self.router.metrics(rpc).answered(began, &response);
        response
    }

    async fn admitted(
        &self,
        mut request: Request<Incoming>,
        peer: &Peer,
        rpc: Option<&Rpc>,
        began: Instant,
    ) -> Result<Response<CallBody>, Status> {
        let principal = self.authenticator.as_ref().map(|known| known.authenticate(request.headers(), peer));
        let principal = principal.transpose()?;
        let Some(rpc) = rpc else {
            return Err(Status::unimplemented(format!("no RPC {} here", request.uri().path())));
        };
        let place = if rpc.lasts || rpc.vital { None } else { Some(self.room.enter()?) };
        let timeout = self.timeout(rpc, deadline::of_caller(request.headers())?);
        let deadline = timeout.and_then(|timeout| began.checked_add(timeout));
        if let Some(principal) = principal {
            request.extensions_mut().insert(principal);
        }
        let answer = rpc.call(request.map(Body::new));
        let response = match deadline {
            Some(deadline) => timeout_at(deadline, answer).await.map_err(|_elapsed| too_late())?,
            None => answer.await,
        };
        let until = self.until(rpc, deadline);
        Ok(response.map(|body| CallBody::new(body, until, place)))
    }

    /// How long a call may take: what its caller says, and no longer than the server's limit unless it lasts.
    fn timeout(&self, rpc: &Rpc, of_caller: Option<Duration>) -> Option<Duration> {
        match rpc.lasts {
            true => of_caller,
            false => Some(of_caller.unwrap_or(self.timeout).min(self.timeout)),
        }
    }

    fn until(&self, rpc: &Rpc, deadline: Option<Instant>) -> Until {
        match deadline {
            _ if rpc.finishes => Until::Sent,
            _ if rpc.lasts => Until::Draining(Box::pin(self.draining.clone().cancelled_owned())),
            Some(deadline) if rpc.server_streaming => Until::Deadline(Box::pin(sleep_until(deadline))),
            _ => Until::Sent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_up_to_the_limit_and_comes_back() {
        let room = Room::new(2, &GrpcMetrics::new(&crate::Metrics::new("test")));
        let (first, _second) = (room.enter().unwrap(), room.enter().unwrap());
        let refused = room.enter().unwrap_err();
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        drop(first);
        assert!(room.enter().is_ok());
    }
}
