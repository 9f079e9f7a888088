//! The gRPC server: what a service adds to it, and the gates before every call.
//!
//! One connection is one task: TLS, then the identity of its certificate, once; then HTTP/2. Every call on it passes
//! the same gates in the same order: who is it ([`Authenticator`](crate::Authenticator)), is there room, how long may
//! it take; then the service. Health and reflection are services like any other and stand behind the same gates.
//!
//! It is built on hyper and not on tonic's own server, which routes through a second router with boxes of its own,
//! closes connections without a count of what was cut, and looks at the certificate again in every call.

mod body;
mod call;
mod deadline;
mod descriptors;
mod listener;
mod metrics;
mod router;
mod service;

use std::{collections::BTreeSet, convert::Infallible, fmt};

use http::{Request, Response};
use http_body::Body as HttpBody;
use tonic::{body::Body, server::NamedService};
use tower::Service;

pub use self::descriptors::{DescriptorError, RpcPath, rpc_paths};
use self::service::Handler;
pub(crate) use self::{
    call::{Room, Rules},
    listener::{Gates, Served, serve},
    metrics::GrpcMetrics,
    router::{Router, RouterError},
};
use crate::service::BoxError;

/// What a service serves by gRPC. Health and reflection are added to it.
///
/// Each added service bounds what it reads, by tonic's `max_decoding_message_size` and
/// [`ServerConfig::message_size_max`](crate::ServerConfig::message_size_max).
#[derive(Default)]
pub struct GrpcServer {
    services: Vec<(&'static str, Box<dyn Handler>)>,
    descriptors: Vec<&'static [u8]>,
    rules: RpcRules,
}

/// RPCs for which not the usual rules hold, as `/package.Service/Method`.
#[derive(Debug, Default)]
pub(crate) struct RpcRules {
    /// They last, and end when the process drains.
    streams: BTreeSet<&'static str>,
    /// They last, and end by themselves.
    finishing: BTreeSet<&'static str>,
    /// They are let in however many calls are in flight.
    vital: BTreeSet<&'static str>,
}

impl GrpcServer {
    /// A server without services.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an encoded `FileDescriptorSet`. Every service that is added must be in one: calls are routed, counted and
    /// reflected by it.
    #[must_use]
    pub fn descriptors(mut self, encoded: &'static [u8]) -> Self {
        self.descriptors.push(encoded);
        self
    }

    /// Names RPCs, as `/package.Service/Method`, that last: they have no deadline but the caller's and are not counted
    /// as calls in flight. Their responses end, with UNAVAILABLE, when the process drains.
    #[must_use]
    pub fn streams(mut self, paths: &[&'static str]) -> Self {
        self.rules.streams.extend(paths);
        self
    }

    /// Names RPCs that last as [`GrpcServer::streams`] do, but end by themselves when the process drains, after they
    /// have answered what they took. The process waits for them no longer than for calls.
    #[must_use]
    pub fn finishing(mut self, paths: &[&'static str]) -> Self {
        self.rules.finishing.extend(paths);
        self
    }

    /// Names RPCs that are let in however many calls are in flight: few and small ones by which nodes keep each other
    /// alive. Were they refused under load, the load would take the cluster down.
    #[must_use]
    pub fn vital(mut self, paths: &[&'static str]) -> Self {
        self.rules.vital.extend(paths);
        self
    }

    /// Adds a service as tonic generates it, with or without an interceptor.
    #[must_use]
    pub fn service<S, B>(mut self, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>,
        S: NamedService + Clone + Send + Sync + 'static,
        B: HttpBody<Data = bytes::Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        self.services.push((S::NAME, service::handler(service)));
        self
    }
}

impl RpcRules {
    fn all(&self) -> impl Iterator<Item = &&'static str> {
        self.streams.iter().chain(&self.finishing).chain(&self.vital)
    }
}

impl GrpcServer {
    /// Names of the services added so far.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.services.iter().map(|(name, _)| *name)
    }
}

impl fmt::Debug for GrpcServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.names().collect::<Vec<_>>();
        f.debug_struct("GrpcServer")
            .field("services", &names)
            .field("rules", &self.rules)
            .finish_non_exhaustive()
    }
}
