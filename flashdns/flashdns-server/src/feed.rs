//! Keeps the data plane as the metadata store says: lists, then watches, and publishes after each revision.
//!
//! It is a reconciler: the catalog is a function of the records, computed by [`state`]; this file only moves
//! things. A revision is published whole or not at all. When the store is away, what was published stays, and
//! [`Served`] says how old it is; when the store has forgotten what was missed, everything is listed again while
//! the old catalog goes on answering. Every few seconds of change, and at the end, the zones are saved.

mod serving;
pub(crate) mod state;

use std::time::{Duration, Instant};

use futures::{StreamExt as _, future::OptionFuture};
use metadata_store::{MetadataStore as _, Revision, StoreError, Version};
use photon_runtime::errors::chain;
use tokio::{
    task::{JoinError, JoinSet, block_in_place},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::state::{Loading, Merged, State, Touched};
use crate::{
    answerer::Answerer,
    checkpoint::{Checkpoint, CheckpointError, Shelf},
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
    merges: JoinSet<Merged>,
    /// The one save that may be under way, which answers the revision that it saved.
    saving: JoinSet<Result<Version, CheckpointError>>,
    saved: Version,
    save_due: Instant,
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

/// What a feed does next.
enum Next {
    Revision(Revision),
    Merged(Result<Merged, JoinError>),
    Saved(Result<Result<Version, CheckpointError>, JoinError>),
    SaveDue,
}

impl Feed {
    pub(crate) fn new(
        store: FlareDbMetadataStore,
        answerer: Answerer,
        served: Served,
        shelf: Shelf,
        checkpoint_every: Duration,
    ) -> Feed {
        Feed {
            store,
            answerer,
            served,
            shelf,
            checkpoint_every,
            state: None,
            merges: JoinSet::new(),
            saving: JoinSet::new(),
            saved: Version(0),
            save_due: Instant::now(),
        }
    }

    /// Serves what was saved last, until the store is heard of.
    pub(crate) fn restore(&mut self, checkpoint: Checkpoint) {
        let age = u64::try_from(clock::unix_ms() - checkpoint.written_unix_ms).unwrap_or(0);
        let revision = checkpoint.revision;
        let state = State::restore(checkpoint);
        self.served.note_zones(state.statuses());
        self.answerer.publish(state.catalog());
        self.served.note_checkpoint(revision, Duration::from_millis(age));
        tracing::info!(
            revision = revision.0,
            age_ms = age,
            "serving from the checkpoint until the store is there"
        );
    }

    /// Follows until `shutdown`, then saves.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let mut pause_ms = PAUSE_MS.0;
        if shutdown.run_until_cancelled(self.store.opened()).await.is_none() {
            return;
        }
        while let Some(lost) = shutdown.run_until_cancelled(self.follow(&mut pause_ms)).await {
            if matches!(lost, Lost::Store(StoreError::TooOld { .. })) {
                self.state = None;
            }
            tracing::warn!(error = %chain(&lost), "metadata store is not followed; answering from what is there");
            self.served.note_error(chain(&lost).to_string());
            let pause = tokio::time::sleep(Duration::from_millis(pause_ms));
            pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
            if shutdown.run_until_cancelled(pause).await.is_none() {
                break;
            }
        }
        self.save_last().await;
    }

    /// Follows until something goes wrong, and says what.
    async fn follow(&mut self, pause_ms: &mut u64) -> Lost {
        match self.try_follow(pause_ms).await {
            Err(lost) => lost,
            Ok(()) => Lost::Watch("ended"),
        }
    }

    async fn try_follow(&mut self, pause_ms: &mut u64) -> Result<(), Lost> {
        let version = match &self.state {
            Some(state) => state.version(),
            None => self.load().await?,
        };
        let mut revisions = self.store.watch(keys::PREFIX, version.next()).await?;
        let mut silent_since = Instant::now();
        loop {
            let silence = SILENCE_MAX.saturating_sub(silent_since.elapsed());
            let Some(next) = self.next(timeout(silence, revisions.next())).await? else { return Ok(()) };
            if let Next::Revision(_) = &next {
                silent_since = Instant::now();
                *pause_ms = PAUSE_MS.0;
            }
            self.take(next);
        }
    }

    /// Waits for what is next; `None` when the watch ended.
    async fn next(
        &mut self,
        revision: impl Future<Output = Result<Option<Result<Revision, StoreError>>, tokio::time::error::Elapsed>>,
    ) -> Result<Option<Next>, Lost> {
        let wants_save =
            self.saving.is_empty() && self.state.as_ref().is_some_and(|s| s.version() != self.saved);
        let save_due = tokio::time::Instant::from_std(self.save_due);
        let save_due: OptionFuture<_> = wants_save.then(|| tokio::time::sleep_until(save_due)).into();
        tokio::select! {
            revision = revision => match revision.map_err(|_elapsed| Lost::Watch("fell silent"))? {
                Some(revision) => Ok(Some(Next::Revision(revision?))),
                None => Ok(None),
            },
            Some(merged) = self.merges.join_next() => Ok(Some(Next::Merged(merged))),
            Some(saved) = self.saving.join_next() => Ok(Some(Next::Saved(saved))),
            Some(()) = save_due => Ok(Some(Next::SaveDue)),
        }
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Revision(revision) => self.apply(&revision),
            Next::Merged(Ok(merged)) => self.finish_merge(merged),
            Next::Merged(Err(error)) => {
                tracing::error!(%error, "merging a zone failed; it is served unmerged")
            }
            Next::Saved(saved) => self.note_saved(saved),
            Next::SaveDue => self.begin_save(),
        }
    }

    /// Lists everything, and publishes it in one go.
    async fn load(&mut self) -> Result<Version, Lost> {
        let started = Instant::now();
        let (mut loading, mut token) = (Loading::default(), None);
        let version = loop {
            let page = self.store.scan(keys::PREFIX, LIST_RECORDS, token.as_ref()).await?;
            block_in_place(|| page.records.into_iter().for_each(|record| loading.add(record)));
            token = page.next;
            if token.is_none() {
                break page.revision;
            }
        };
        let state = block_in_place(|| loading.finish(version));
        // Merges of the state before belong to nobody any more.
        self.merges = JoinSet::new();
        self.answerer.publish(state.catalog());
        self.served.forget_zones();
        self.served.note_zones(state.statuses());
        self.served.note_loaded(version);
        let (zones, took_ms) = (self.served.zone_count(), started.elapsed().as_millis());
        tracing::info!(revision = version.0, zones, took_ms, "zones loaded from the metadata store");
        self.state = Some(state);
        Ok(version)
    }

    fn apply(&mut self, revision: &Revision) {
        let Some(state) = &mut self.state else { return };
        let touched = match state.is_heavy(revision) {
            true => block_in_place(|| state.apply(revision)),
            false => state.apply(revision),
        };
        for merge in state.begin_merges(&touched) {
            self.merges.spawn_blocking(|| merge.run());
        }
        let version = state.version();
        self.publish(touched);
        self.served.note_applied(version);
    }

    fn finish_merge(&mut self, merged: Merged) {
        if let Some(state) = &mut self.state {
            state.finish_merge(merged);
            self.publish(Vec::new());
        }
    }

    fn publish(&self, touched: Touched) {
        if let Some(state) = &self.state {
            self.answerer.publish(state.catalog());
            self.served.note_zones(touched);
        }
    }

    fn begin_save(&mut self) {
        let Some(state) = &self.state else { return };
        self.save_due = Instant::now() + self.checkpoint_every;
        let (zones, version) = (state.zones(), state.version());
        let shelf = self.shelf.clone();
        self.saving.spawn_blocking(move || {
            shelf.save_zones(version, clock::unix_ms(), &zones)?;
            Ok(version)
        });
    }

    fn note_saved(&mut self, saved: Result<Result<Version, CheckpointError>, JoinError>) {
        match saved {
            Ok(Ok(version)) => {
                self.saved = version;
                self.served.note_saved(version);
            }
            Ok(Err(error)) => tracing::error!(error = %chain(&error), "zones are not saved for a restart"),
            Err(error) => tracing::error!(%error, "zones are not saved for a restart"),
        }
    }

    async fn save_last(&mut self) {
        while let Some(saved) = self.saving.join_next().await {
            self.note_saved(saved);
        }
        if self.state.as_ref().is_some_and(|state| state.version() != self.saved) {
            self.begin_save();
        }
        while let Some(saved) = self.saving.join_next().await {
            self.note_saved(saved);
        }
    }
}
