//! A response on its way out: it holds the call's place until it is sent, and ends when the call's time is up.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;
use tonic::{Status, body::Body};

use super::call::Place;

/// A response's body.
pub(super) struct CallBody {
    inner: Body,
    until: Until,
    _place: Option<Place>,
}

/// What ends a response before it ends by itself.
pub(super) enum Until {
    /// Nothing: it is one message, ready when the call is.
    Sent,
    /// The call's deadline.
    Deadline(Pin<Box<Sleep>>),
    /// The process drains.
    Draining(Pin<Box<WaitForCancellationFutureOwned>>),
    /// It was ended.
    Over,
}

impl CallBody {
    pub(super) fn new(inner: Body, until: Until, place: Option<Place>) -> Self {
        Self { inner, until, _place: place }
    }
}

impl Until {
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        match self {
            Self::Sent | Self::Over => Poll::Pending,
            Self::Deadline(sleep) => sleep.as_mut().poll(cx).map(|()| super::call::too_late()),
            Self::Draining(drain) => drain
                .as_mut()
                .poll(cx)
                .map(|()| Status::unavailable("the server is shutting down; call another one")),
        }
    }
}

impl HttpBody for CallBody {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = &mut *self;
        if matches!(this.until, Until::Over) {
            return Poll::Ready(None);
        }
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            return Poll::Ready(frame);
        }
        let status = ready!(this.until.poll_end(cx));
        this.until = Until::Over;
        this.inner = Body::empty();
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.until, Until::Over) || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
