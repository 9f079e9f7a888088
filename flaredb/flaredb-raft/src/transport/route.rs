//! What a client sends its requests on: a connection, or a simulation's link.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt as _, TryFutureExt as _, future::BoxFuture};
use tonic::{
    body::Body,
    codegen::{Service, http},
    transport::Channel,
};

use crate::simulation::{Link, LinkError};

/// The way to one peer. Clones share it.
#[derive(Clone)]
pub(crate) enum Route {
    Channel(Channel),
    Link(Arc<dyn Link>),
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Route")
    }
}

impl Service<http::Request<Body>> for Route {
    type Response = http::Response<Body>;
    type Error = LinkError;
    type Future = BoxFuture<'static, Result<Self::Response, LinkError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), LinkError>> {
        match self {
            Self::Channel(channel) => channel.poll_ready(context).map_err(Into::into),
            Self::Link(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self {
            Self::Channel(channel) => channel.call(request).map_err(Into::into).boxed(),
            Self::Link(link) => link.call(request),
        }
    }
}
