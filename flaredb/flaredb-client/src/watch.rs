//! A watch: every revision under a prefix, whole, once, in order, over lost connections and new leaders.
//!
//! The stream remembers the first revision that it has not delivered and asks for it wherever it connects next.
//! Between connections it waits with bounded, jittered pauses, for as long as it is polled: how fresh the delivery is
//! can be told from the progress that servers send. It ends only with an error that another connection does not cure.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use flaredb_proto::{
    v1::{ScanRequest, WatchRequest, WatchResponse},
    validate,
};
use futures::{Stream, stream};
use photon_dial::{Route, pause, words};
use tokio::time::{sleep, timeout};
use tonic::{Status, Streaming};

use crate::{
    Error, IntoBytes, RdbClient, check,
    client::{Node, Plan},
    outcome::{self, Outcome},
    strong::strong,
};

/// Watches go to any replica, so that they are spread over the cluster.
const PLAN: Plan = Plan { stream: true, ..Plan::REPLICA };

/// Servers send progress every half second; a connection that is silent for this long has a dead end.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Revisions as they happen. A revision without events is progress: everything up to it has been delivered. An error
/// is the last item; [`Error::TooOld`]: history was forgotten meanwhile, read anew.
pub struct Watch(Pin<Box<dyn Stream<Item = Result<WatchResponse, Error>> + Send>>);

impl Stream for Watch {
    type Item = Result<WatchResponse, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl RdbClient {
    /// Watches a prefix of a Strong namespace from revision `from` on; 0: everything that is written after this
    /// returns.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict or an unknown outcome; [`Error::TooOld`] when history does not reach back to
    /// `from`.
    pub async fn watch(&self, namespace: &str, prefix: impl IntoBytes, from: u64) -> Result<Watch, Error> {
        let mut request = WatchRequest {
            namespace: namespace.to_owned(),
            prefix: prefix.into_bytes(),
            from_revision: from,
        };
        check::accept(validate::watch(&request))?;
        if from == 0 {
            // "Now" must be one moment, also when the first connection is lost before it has said which.
            request.from_revision = self.revision(namespace).await?.saturating_add(1);
        }
        let next = request.from_revision;
        let mut watching =
            Watching { client: self.clone(), position: Position { next }, request, open: None, losses: 0 };
        watching.open = Some(watching.connect().await?);
        Ok(Watch(Box::pin(stream::unfold(Some(watching), step))))
    }

    /// The newest revision of a namespace.
    async fn revision(&self, namespace: &str) -> Result<u64, Error> {
        let request = ScanRequest {
            namespace: namespace.to_owned(),
            limit: 1,
            keys_only: true,
            ..ScanRequest::default()
        };
        Ok(self.scan_page(request).await?.revision)
    }
}

/// How far a watch has delivered. Pure.
#[derive(Debug)]
struct Position {
    /// The first revision that was not delivered.
    next: u64,
}

impl Position {
    /// Whether a response is to be delivered, which is then noted.
    fn takes(&mut self, response: &WatchResponse) -> bool {
        let repeated = response.revision < self.next && !response.events.is_empty();
        if !repeated {
            self.next = self.next.max(response.revision.saturating_add(1));
        }
        !repeated
    }
}

/// A watch that is polled.
struct Watching {
    client: RdbClient,
    request: WatchRequest,
    position: Position,
    open: Option<(Arc<Node>, Streaming<WatchResponse>)>,
    /// Connections lost since the last response.
    losses: u32,
}

/// An error is the stream's last item.
async fn step(watching: Option<Watching>) -> Option<(Result<WatchResponse, Error>, Option<Watching>)> {
    let mut watching = watching?;
    match watching.next().await {
        Ok(response) => Some((Ok(response), Some(watching))),
        Err(error) => Some((Err(error), None)),
    }
}

impl Watching {
    async fn next(&mut self) -> Result<WatchResponse, Error> {
        loop {
            let Some((node, stream)) = &mut self.open else {
                self.reconnect().await?;
                continue;
            };
            let ended = match timeout(SILENCE_MAX, stream.message()).await {
                Ok(Ok(Some(response))) => {
                    self.losses = 0;
                    if self.position.takes(&response) {
                        return Ok(response);
                    }
                    continue;
                }
                Ok(Ok(None)) => Status::unavailable("the stream ended"),
                Ok(Err(status)) => status,
                Err(_elapsed) => Status::unavailable("the stream is silent"),
            };
            let node = Arc::clone(node);
            self.lost(&node, &ended)?;
        }
    }

    /// Connects at the first revision that was not delivered.
    async fn connect(&self) -> Result<(Arc<Node>, Streaming<WatchResponse>), Error> {
        let request = WatchRequest { from_revision: self.position.next, ..self.request.clone() };
        let send = |channel, request| async move { strong(channel).watch(request).await };
        self.client.call_node(PLAN, request, send).await
    }

    async fn reconnect(&mut self) -> Result<(), Error> {
        if let Some(round) = self.losses.checked_sub(2) {
            // The first reconnection is at once: most often another node is there.
            sleep(pause(round, rand::random())).await;
        }
        match self.connect().await {
            Ok(open) => self.open = Some(open),
            Err(error) if error.is_definite() => return Err(error),
            Err(error) => {
                tracing::warn!(%error, namespace = self.request.namespace, "a watch cannot reconnect yet");
                self.losses = self.losses.saturating_add(1);
            }
        }
        Ok(())
    }

    fn lost(&mut self, node: &Node, status: &Status) -> Result<(), Error> {
        if let Outcome::Refused(error) = outcome::of(status, &node.address) {
            return Err(error);
        }
        let words = words(status);
        tracing::debug!(node = node.address, words, next = self.position.next, "a watch lost its connection");
        self.client.shared.pool.leave(Route::Replica, node);
        self.open = None;
        self.losses = self.losses.saturating_add(1);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flaredb_proto::v1::WatchEvent;
    use proptest::prelude::*;

    use super::*;

    fn response(revision: u64, progress: bool) -> WatchResponse {
        let events = if progress { Vec::new() } else { vec![WatchEvent::default()] };
        WatchResponse { revision, events }
    }

    #[test]
    fn progress_moves_the_position_forward_and_never_back() {
        let mut position = Position { next: 5 };
        assert!(position.takes(&response(9, true)));
        assert!(position.takes(&response(3, true)));
        assert_eq!(position.next, 10);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_again_is_delivered_once_and_in_order(
            from in 1..20_u64,
            starts in prop::collection::vec(1..20_u64, 1..6),
        ) {
            let mut position = Position { next: from };
            let mut delivered = Vec::new();
            for start in starts {
                for revision in start.min(position.next)..20 {
                    if position.takes(&response(revision, false)) {
                        delivered.push(revision);
                    }
                }
            }
            prop_assert_eq!(delivered, (from..20).collect::<Vec<u64>>());
        }
    }
}
