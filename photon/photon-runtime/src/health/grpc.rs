//! `grpc.health.v1.Health` over the process's readiness.
//!
//! Our own and not tonic-health's reporter: that one keeps a second copy of the state, which a drain would have to
//! update in time before it stops to accept.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, StreamExt as _, future::ready};
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_server,
};

use super::{About, Health, Readiness};

/// Answers for the whole process (the empty name) and for each of the gRPC services it knows.
#[derive(Debug)]
pub(crate) struct Server {
    health: Health,
    services: Arc<[String]>,
    about: About,
}

impl Server {
    pub(crate) fn new(health: Health, services: Arc<[String]>, about: About) -> Self {
        Self { health, services, about }
    }

    /// The answer for the whole process says why, too.
    fn whole(&self) -> Response<HealthCheckResponse> {
        let readiness = self.health.readiness();
        let mut answer = Response::new(response(serving(&readiness)));
        self.about.describe(&readiness, answer.metadata_mut());
        answer
    }

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.services.iter().any(|known| known == service)
    }
}

fn serving(readiness: &Readiness) -> ServingStatus {
    match readiness.is_ready() {
        true => ServingStatus::Serving,
        false => ServingStatus::NotServing,
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl health_server::Health for Server {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        match self.knows(&service) {
            true if service.is_empty() => Ok(self.whole()),
            true => Ok(Response::new(response(serving(&self.health.readiness())))),
            false => Err(Status::not_found(format!("no service {service:?} here"))),
        }
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        if !self.knows(&request.into_inner().service) {
            let unknown = futures::stream::once(ready(Ok(response(ServingStatus::ServiceUnknown))));
            return Ok(Response::new(Box::pin(unknown.chain(futures::stream::pending()))));
        }
        let mut last = None;
        let changes = WatchStream::new(self.health.watch()).filter_map(move |readiness| {
            let status = serving(&readiness);
            ready((last.replace(status) != Some(status)).then(|| Ok(response(status))))
        });
        Ok(Response::new(Box::pin(changes)))
    }
}
