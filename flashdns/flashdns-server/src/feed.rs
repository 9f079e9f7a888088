//! Keeps the data plane as the metadata store says: lists, then watches, and publishes after each revision.
//!
//! It is a reconciler: the catalog is a function of the records, computed by [`state`]; this file only moves
//! things. A revision is published whole or not at all. When the store is away, what was published stays, and
//! [`Served`] says how old it is; when the store has forgotten what was missed, everything is listed again while
//! the old catalog goes on answering. Every few seconds of change, and at the end, the zones are saved.

pub(crate) mod state;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt as _;
use metadata_store::{MetadataStore as _, Revision, StoreError, Version};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use self::state::{Loading, Merge, State};
use crate::{
    answerer::Answerer,
    checkpoint::{Checkpoint, Shelf},
    clock,
    metadata::{FlareDbMetadataStore, keys},
    served::Served,
};

/// Records of one page of the list.
const LIST_RECORDS: usize = 1000;

/// First and longest pause after the store could not be followed.
const PAUSE_MS: (u64, u64) = (50, 2_000);

/// The store says at least this often that it is there; a watch that is silent for longer is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Follows the store for the data plane.
#[derive(Debug)]
pub(crate) struct Feed {
    store: FlareDbMetadataStore,
    answerer: Answerer,
    served: Served,
    shelf: Shelf,
    checkpoint_every: Duration,
    state: Option<State>,
    saved: (Version, Instant),
}

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    /// The store's error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It ended or fell silent.
    #[error("the watch {0}")]
    Watch(&'static str),
}

impl Feed {
    pub(crate) fn new(
        store: FlareDbMetadataStore,
        answerer: Answerer,
        served: Served,
        shelf: Shelf,
        checkpoint_every: Duration,
    ) -> Feed {
        let saved = (Version(0), Instant::now());
        Feed { store, answerer, served, shelf, checkpoint_every, state: None, saved }
    }

    /// Serves what was saved last, until the store is heard of.
    pub(crate) fn restore(&mut self, checkpoint: Checkpoint) {
        let age = u64::try_from(clock::unix_ms() - checkpoint.written_unix_ms).unwrap_or(0);
        let revision = checkpoint.revision;
        let state = State::restore(checkpoint);
        self.served.note_zones(state.statuses());
        self.answerer.publish(state.catalog());
        self.served.note_checkpoint(revision, Duration::from_millis(age));
        tracing::info!(revision = revision.0, age_ms = age, "serving from the checkpoint until the store is there");
    }

    /// Follows until `shutdown`, then saves.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut pause_ms = PAUSE_MS.0;
        while let Some(lost) = shutdown.run_until_cancelled(self.follow(&mut pause_ms)).await {
            if matches!(lost, Lost::Store(StoreError::TooOld { .. })) {
                self.state = None;
            }
            tracing::warn!(error = %lost, "metadata store is not followed; answering from what is there");
            self.served.note_error(lost.to_string());
            let pause = tokio::time::sleep(Duration::from_millis(pause_ms));
            pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        self.save().await;
    }

    /// Follows until something goes wrong, and says what.
    async fn follow(&mut self, pause_ms: &mut u64) -> Lost {
        match self.try_follow(pause_ms).await {
            Err(lost) => lost,
            Ok(()) => Lost::Watch("ended"),
        }
    }

    async fn try_follow(&mut self, pause_ms: &mut u64) -> Result<(), Lost> {
        let state = match self.state.take() {
            Some(state) => state,
            None => self.load().await?,
        };
        let from = Version(state.version().0 + 1);
        let state = self.state.insert(state);
        let mut revisions = self.store.watch(keys::PREFIX, from).await?;
        let _ = state;
        loop {
            let next = timeout(SILENCE_MAX, revisions.next()).await.map_err(|_elapsed| Lost::Watch("fell silent"))?;
            let Some(revision) = next else { return Ok(()) };
            self.apply(revision?).await;
            *pause_ms = PAUSE_MS.0;
        }
    }
}
