//! Watches of the embedded store: read from the engine's history, woken by the writer.
//!
//! A watch holds no events but one bounded batch. One that is slower than the writers reads later from history, and
//! is told when what it needs has left it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use flaredb_engine::{EventBatch, EventLimits, EventRecord, RevisionEvents};
use futures::{StreamExt as _, stream};
use tokio::{sync::watch::Receiver, time::timeout};

use super::Inner;
use crate::{Event, Revision, StoreError, Version, Watch, wire};

/// One read of history.
const LIMITS: EventLimits = EventLimits { revisions_max: 1_024, bytes_max: 4 << 20 };

/// While nothing happens, a watch says so often that it is alive.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

struct Watching {
    store: Arc<Inner>,
    prefix: String,
    /// The first revision that was not read.
    next: u64,
    newest: Receiver<Version>,
    batch: VecDeque<RevisionEvents>,
    /// Progress is due as soon as everything has been read.
    is_due: bool,
}

/// Opens a watch of `prefix`, which has been checked. The first read is made here, so that a revision that has left
/// history is refused before there is a stream.
pub(super) async fn open(store: Arc<Inner>, prefix: String, from: Version) -> Result<Watch, StoreError> {
    let newest = store.writer.newest();
    let next = if from == Version(0) { newest.borrow().next().0 } else { from.0 };
    let mut watching = Watching { store, prefix, next, newest, batch: VecDeque::new(), is_due: true };
    watching.read().await?;
    Ok(stream::try_unfold(watching, Watching::step).boxed())
}

impl Watching {
    async fn step(mut self) -> Result<Option<(Revision, Watching)>, StoreError> {
        loop {
            if let Some(revision) = self.batch.pop_front() {
                self.is_due = false;
                return Ok(Some((delivered(revision)?, self)));
            }
            let newest = *self.newest.borrow_and_update();
            if self.next <= newest.0 {
                self.read().await?;
            } else if std::mem::take(&mut self.is_due) {
                // A watch that starts in the future has got no further than the store.
                let version = newest.min(Version(self.next.saturating_sub(1)));
                return Ok(Some((Revision { version, events: Vec::new() }, self)));
            } else {
                match timeout(PROGRESS_EVERY, self.newest.changed()).await {
                    Ok(Ok(())) => {}
                    Ok(Err(closed)) => return Err(StoreError::unavailable(closed)),
                    Err(_elapsed) => self.is_due = true,
                }
            }
        }
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        let (store, prefix, from) = (Arc::clone(&self.store), self.prefix.clone(), self.next);
        let read = move || store.region.events(store.id, prefix.as_bytes(), from, LIMITS);
        let EventBatch { revisions, next } = self.store.reads.run(read).await?;
        self.batch.extend(revisions);
        self.next = next;
        Ok(())
    }
}

fn delivered(revision: RevisionEvents) -> Result<Revision, StoreError> {
    let events = revision.events.into_iter().map(event).collect::<Result<_, _>>()?;
    Ok(Revision { version: Version(revision.revision), events })
}

fn event(event: EventRecord) -> Result<Event, StoreError> {
    let EventRecord { key, value, previous_version } = event;
    Ok(Event { key: wire::text(&key)?, value, previous: Version(previous_version) })
}
