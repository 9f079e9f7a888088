//! gRPC over the simulated network: the real client and the real service, without HTTP/2 between them.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use flaredb_raft::{
    TransportServer,
    simulation::{
        Body, Link, LinkError,
        http::{HeaderMap, Method, Request, Response},
    },
};
use futures::{FutureExt as _, future::BoxFuture};
use http_body::Body as _;
use tokio::sync::{mpsc, oneshot};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{Status, codegen::Service as _};

use crate::net::{Broken, End, Frame, Head, Net, Reply, ReplyTo};

/// The way from one node to another.
pub(crate) struct Wire {
    pub(crate) net: Net,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) tasks: TaskTracker,
}

impl Link for Wire {
    fn call(&self, request: Request<Body>) -> BoxFuture<'static, Result<Response<Body>, LinkError>> {
        let (parts, body) = request.into_parts();
        let (net, ends) = (self.net.clone(), (self.from, self.to));
        let streams = parts.uri.path().ends_with("/Append");
        let head = Head { uri: parts.uri, headers: parts.headers };
        match streams {
            true => stream(net, ends, head, body, self.tasks.clone()).boxed(),
            false => unary(net, ends, head, body).boxed(),
        }
    }
}

async fn next_frame(body: &mut Body) -> Option<Result<http_body::Frame<Bytes>, Status>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

/// Reads a body to its end.
async fn collect(mut body: Body) -> Result<(Bytes, Option<HeaderMap>), Status> {
    let (mut whole, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = next_frame(&mut body).await {
        match frame?.into_data() {
            Ok(bytes) => whole.extend_from_slice(&bytes),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok((whole.freeze(), trailers))
}

fn response(headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.headers_mut() = headers;
    response
}

async fn unary(net: Net, ends: (u64, u64), head: Head, body: Body) -> Result<Response<Body>, LinkError> {
    let (body, _trailers) = collect(body).await?;
    let (reply, replied) = oneshot::channel();
    net.call(ends, head, body, reply);
    match replied.await {
        Ok(Ok(Reply { headers, body, trailers })) => {
            Ok(response(headers, Body::new(Whole { body: Some(body), trailers })))
        }
        Ok(Err(Broken)) => Err(Box::new(Status::unavailable("the connection broke"))),
        // Nobody will ever answer: the caller has a deadline.
        Err(_lost) => std::future::pending().await,
    }
}

async fn stream(
    net: Net,
    ends: (u64, u64),
    head: Head,
    body: Body,
    tasks: TaskTracker,
) -> Result<Response<Body>, LinkError> {
    let (id, mut answers) = net.open(ends, head);
    let stop = CancellationToken::new();
    tasks.spawn(pump(net.clone(), id, End::Callee, body, stop.clone()));
    // Dropped when the caller no longer waits.
    let guard = stop.clone().drop_guard();
    match answers.recv().await {
        Some(Frame::Headers(headers)) => {
            Ok(response(headers, Body::new(Incoming { frames: answers, ended: false, _stop: guard })))
        }
        _ => Err(Box::new(Status::unavailable("the connection broke"))),
    }
}

/// Sends a body's frames until it ends or nobody wants them any more.
async fn pump(net: Net, id: u64, to: End, mut body: Body, stop: CancellationToken) {
    loop {
        let frame = tokio::select! {
            biased;
            () = stop.cancelled() => Some(Frame::Reset),
            frame = next_frame(&mut body) => match frame {
                None => Some(Frame::End),
                Some(Err(_error)) => Some(Frame::Reset),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) => Some(Frame::Data(bytes)),
                    Err(frame) => frame.into_trailers().ok().map(Frame::Trailers),
                },
            },
        };
        let Some(frame) = frame else { continue };
        let last = matches!(frame, Frame::End | Frame::Reset);
        if !net.send_frame(id, to, frame) || last {
            return;
        }
    }
}

/// Answers a call.
pub(crate) async fn serve(
    net: Net,
    ends: (u64, u64),
    mut service: TransportServer,
    call: (Head, Bytes),
    reply: Option<ReplyTo>,
) {
    let (head, body) = call;
    let answered = service.call(request(head, Body::new(Whole { body: Some(body), trailers: None }))).await;
    let Ok(answer) = answered;
    let (parts, body) = answer.into_parts();
    let Ok((body, trailers)) = collect(body).await else { return };
    if let Some(reply) = reply {
        net.reply(ends, reply, Reply { headers: parts.headers, body, trailers });
    }
}

/// Answers a stream.
pub(crate) async fn serve_stream(
    net: Net,
    id: u64,
    mut service: TransportServer,
    head: Head,
    frames: mpsc::Receiver<Frame>,
) {
    let stop = CancellationToken::new();
    let body = Body::new(Incoming { frames, ended: false, _stop: CancellationToken::new().drop_guard() });
    let Ok(answer) = service.call(request(head, body)).await;
    let (parts, body) = answer.into_parts();
    if net.send_frame(id, End::Caller, Frame::Headers(parts.headers)) {
        pump(net, id, End::Caller, body, stop).await;
    }
}

fn request(head: Head, body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = head.uri;
    *request.headers_mut() = head.headers;
    request
}

/// A body that is here already.
struct Whole {
    body: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

impl http_body::Body for Whole {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        let body = self.body.take().map(http_body::Frame::data);
        Poll::Ready(body.or_else(|| self.trailers.take().map(http_body::Frame::trailers)).map(Ok))
    }
}

/// A body that arrives in pieces.
struct Incoming {
    frames: mpsc::Receiver<Frame>,
    ended: bool,
    /// Ends what goes the other way when this end is no longer wanted.
    _stop: DropGuard,
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            match ready!(self.frames.poll_recv(context)) {
                Some(Frame::Data(bytes)) => return Poll::Ready(Some(Ok(http_body::Frame::data(bytes)))),
                Some(Frame::Trailers(trailers)) => {
                    return Poll::Ready(Some(Ok(http_body::Frame::trailers(trailers))));
                }
                Some(Frame::Headers(_)) => {}
                Some(Frame::End) => {
                    self.ended = true;
                    return Poll::Ready(None);
                }
                Some(Frame::Reset) | None => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(Status::unavailable("the connection broke"))));
                }
            }
        }
    }
}
