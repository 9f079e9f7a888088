//! One open watch: whole revisions, in order, once, read from the engine's history at the watcher's pace.
//!
//! Nothing is pushed at a watcher, so nothing can be dropped: it wakes, reads a bounded batch behind what it has
//! delivered, and the stream's flow control decides when it reads again. Where history does not reach back far
//! enough, or the replica has lost its leader, the stream ends with an error that says so; silence would look like
//! "nothing changed".
//!
//! Progress (a message without events) is sent after the replica has confirmed with a leader that it had everything,
//! so its arrival also says how fresh the watcher's cache is.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use flaredb_engine::{EventLimits, NamespaceId, RevisionEvents};
use flaredb_node::{Counted, Subscription};
use flaredb_proto::v1::{WatchEvent, WatchRequest, WatchResponse};
use futures::{Stream, StreamExt as _, stream};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::{Api, off_the_reactor};
use crate::{region::Region, status::Refusal};

/// A replica without contact for this long sends its watchers to another one.
const CONTACT_LOST: Duration = Duration::from_secs(5);

/// What one read of the history brings at most.
const BATCH: EventLimits = EventLimits { revisions_max: 256, bytes_max: 1 << 20 };

/// The stream of one watch.
pub(crate) struct Watch(Pin<Box<dyn Stream<Item = Result<WatchResponse, Status>> + Send>>);

impl Stream for Watch {
    type Item = Result<WatchResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.as_mut().poll_next(context)
    }
}

impl Api {
    /// Opens a watch from now on or from a retained revision.
    pub(super) async fn open_watch(
        &self,
        region: Arc<Region>,
        request: WatchRequest,
    ) -> Result<Watch, Refusal> {
        let permit = self.watches.enter_owned()?;
        let asked = Instant::now();
        let namespace = region.strong(&request.namespace).await?;
        region.hub.confirm(asked);
        let next = if request.from_revision > 0 { request.from_revision } else { namespace.revision + 1 };
        if next < namespace.oldest_revision {
            return Err(Refusal::TooOld { requested: next, oldest: namespace.oldest_revision });
        }
        let watcher = Watcher {
            subscription: region.hub.subscribe(namespace.id),
            namespace: namespace.id,
            name: request.namespace,
            prefix: request.prefix,
            next,
            opened: asked,
            ready: VecDeque::new(),
            stop: self.stop.clone(),
            _counted: region.metrics.watcher(),
            _permit: permit,
            region,
        };
        Ok(Watch(Box::pin(stream::unfold(Some(watcher), step).fuse())))
    }
}

/// A failure is the stream's last item.
async fn step(watcher: Option<Watcher>) -> Option<(Result<WatchResponse, Status>, Option<Watcher>)> {
    let mut watcher = watcher?;
    match watcher.next().await {
        Ok(response) => Some((Ok(response), Some(watcher))),
        Err(refusal) => Some((Err(refusal.into()), None)),
    }
}

struct Watcher {
    region: Arc<Region>,
    namespace: NamespaceId,
    name: String,
    prefix: Bytes,
    /// The first revision that has not been delivered.
    next: u64,
    opened: Instant,
    ready: VecDeque<WatchResponse>,
    subscription: Subscription,
    stop: CancellationToken,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// Why a watcher woke.
enum Wake {
    /// The namespace changed.
    Changed,
    /// The replica was confirmed to hold everything.
    Confirmed,
}

impl Watcher {
    async fn next(&mut self) -> Result<WatchResponse, Refusal> {
        loop {
            if let Some(response) = self.ready.pop_front() {
                return Ok(response);
            }
            // Seen before the read: a change during the read wakes the wait behind it.
            self.subscription.changes.mark_unchanged();
            if self.read().await? {
                continue;
            }
            if let Wake::Confirmed = self.wait().await?
                && !self.drain().await?
            {
                return self.progress();
            }
        }
    }

    /// Reads what follows; whether there is something to deliver or more to read.
    async fn read(&mut self) -> Result<bool, Refusal> {
        let (state, namespace) = (self.region.state.clone(), self.namespace);
        let (prefix, from) = (self.prefix.clone(), self.next);
        let read = move || state.events(namespace, &prefix, from, BATCH);
        let batch = off_the_reactor(&self.name, read).await?;
        let advanced = batch.next > self.next;
        self.next = self.next.max(batch.next);
        self.ready.extend(batch.revisions.into_iter().map(response));
        Ok(advanced)
    }

    /// After a confirmation, delivers what came before it; whether there was something.
    async fn drain(&mut self) -> Result<bool, Refusal> {
        // An idle watcher costs no read: what was applied before the confirmation has woken it before.
        if !self.subscription.changes.has_changed().unwrap_or(true) {
            return Ok(false);
        }
        while self.read().await? {
            if !self.ready.is_empty() {
                // What is left comes before the next wait.
                self.subscription.contact.mark_changed();
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Says how far the delivery is. A watch that starts in the future has got no further than the namespace.
    fn progress(&self) -> Result<WatchResponse, Refusal> {
        let newest = self.region.known(&self.name)?.revision;
        Ok(WatchResponse { revision: newest.min(self.next.saturating_sub(1)), events: Vec::new() })
    }

    async fn wait(&mut self) -> Result<Wake, Refusal> {
        let lost_at = self.subscription.contact.borrow().unwrap_or(self.opened) + CONTACT_LOST;
        let Subscription { changes, contact } = &mut self.subscription;
        tokio::select! {
            () = self.stop.cancelled() => Err(Refusal::Unavailable("this node serves no more".to_owned())),
            confirmed = timeout_at(lost_at, contact.changed()) => match confirmed {
                Ok(Ok(())) => Ok(Wake::Confirmed),
                Ok(Err(_closed)) => Err(Refusal::Unavailable("this replica has stopped".to_owned())),
                Err(_elapsed) => Err(self.lost()),
            },
            changed = changes.changed() => match changed {
                Ok(()) => Ok(Wake::Changed),
                Err(_closed) => Err(Refusal::NoNamespace(self.name.clone())),
            },
        }
    }

    fn lost(&self) -> Refusal {
        let seconds = CONTACT_LOST.as_secs();
        Refusal::Unavailable(format!("this node has had no leader for {seconds} s; watch at another one"))
    }
}

fn response(revision: RevisionEvents) -> WatchResponse {
    let events = revision
        .events
        .into_iter()
        .map(|event| WatchEvent {
            key: event.key,
            value: event.value,
            previous_version: event.previous_version,
        })
        .collect();
    WatchResponse { revision: revision.revision, events }
}
