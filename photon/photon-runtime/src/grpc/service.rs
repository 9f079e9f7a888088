//! A tonic service with its type forgotten, at the price of one allocation a call.

use std::convert::Infallible;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt as _};
use http::{Request, Response};
use http_body::Body as HttpBody;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use crate::service::BoxError;

/// Answers calls of one service.
pub(super) trait Handler: Send + Sync {
    /// Answers one call.
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>>;
}

struct Tonic<S>(S);

/// Forgets the type of a service.
pub(super) fn handler<S, B>(service: S) -> Box<dyn Handler>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    Box::new(Tonic(service))
}

impl<S, B> Handler for Tonic<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = Infallible, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Response<Body>> {
        let answer = self.0.clone().oneshot(request);
        answer
            .map(|answer| match answer {
                Ok(response) => response.map(Body::new),
                Err(never) => match never {},
            })
            .boxed()
    }
}
