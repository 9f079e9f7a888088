//! Keeps the data plane as the metadata store says: follows it, and publishes after each revision.
//!
//! It is a reconciler: the catalog is a function of the records, computed by [`state`]; this file only moves
//! things. A revision is published whole or not at all, and so is a list. When the store is away, what was
//! published stays, and [`Served`] says how old it is; when everything has to be listed again, the old catalog
//! goes on answering until the list is complete. Every few seconds of change, and at the end, the zones are saved.

mod serving;
pub(crate) mod state;

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::OptionFuture;
use metadata_store::{Follow, Lost, Page, Revision, Update, Version};
use photon_runtime::errors::chain;
use tokio::task::{JoinError, JoinSet, block_in_place};
use tokio_util::sync::CancellationToken;

use self::state::{Loading, Merged, State, Touched};
use crate::{
    answerer::Answerer,
    checkpoint::{Checkpoint, CheckpointError, Shelf},
    clock,
    metadata::{FlareDbMetadataStore, keys},
    served::Served,
};

/// Follows the store for the data plane.
#[derive(Debug)]
pub(crate) struct Feed {
    store: FlareDbMetadataStore,
    follow: Follow,
    answerer: Answerer,
    served: Served,
    shelf: Shelf,
    checkpoint_every: Duration,
    /// A list that is not complete, of which nothing is served.
    loading: Loading,
    state: Option<State>,
    merges: JoinSet<Merged>,
    /// The one save that may be under way, which answers the revision that it saved.
    saving: JoinSet<Result<Version, CheckpointError>>,
    saved: Version,
    save_due: Instant,
}

/// What a feed does next.
enum Next {
    Update(Update),
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
            follow: Follow::new(Arc::new(store.clone()), keys::PREFIX),
            store,
            answerer,
            served,
            shelf,
            checkpoint_every,
            loading: Loading::default(),
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
        if shutdown.run_until_cancelled(self.store.opened()).await.is_none() {
            return;
        }
        while let Some(next) = shutdown.run_until_cancelled(self.next()).await {
            self.take(next);
        }
        self.save_last().await;
    }

    async fn next(&mut self) -> Next {
        let wants_save =
            self.saving.is_empty() && self.state.as_ref().is_some_and(|s| s.version() != self.saved);
        let save_due = tokio::time::Instant::from_std(self.save_due);
        let save_due: OptionFuture<_> = wants_save.then(|| tokio::time::sleep_until(save_due)).into();
        tokio::select! {
            update = self.follow.next() => Next::Update(update),
            Some(merged) = self.merges.join_next() => Next::Merged(merged),
            Some(saved) = self.saving.join_next() => Next::Saved(saved),
            Some(()) = save_due => Next::SaveDue,
        }
    }

    fn take(&mut self, next: Next) {
        match next {
            Next::Update(Update::Page(page)) => self.load(page),
            Next::Update(Update::Revision(revision)) => self.apply(&revision),
            Next::Update(Update::Lost(lost)) => self.note_lost(&lost),
            Next::Merged(Ok(merged)) => self.finish_merge(merged),
            Next::Merged(Err(error)) => {
                tracing::error!(%error, "merging a zone failed; it is served unmerged")
            }
            Next::Saved(saved) => self.note_saved(saved),
            Next::SaveDue => self.begin_save(),
        }
    }

    /// Takes a page of the list; the complete list is published in one go.
    fn load(&mut self, page: Page) {
        let Page { records, revision, next } = page;
        block_in_place(|| records.into_iter().for_each(|record| self.loading.add(record)));
        if next.is_none() {
            let loaded = mem::take(&mut self.loading);
            self.replace(block_in_place(|| loaded.finish(revision)));
        }
    }

    fn replace(&mut self, state: State) {
        // Merges of the state before belong to nobody any more.
        self.merges = JoinSet::new();
        self.answerer.publish(state.catalog());
        self.served.forget_zones();
        self.served.note_zones(state.statuses());
        self.served.note_loaded(state.version());
        let (revision, zones) = (state.version().0, self.served.zone_count());
        tracing::info!(revision, zones, "zones loaded from the metadata store");
        self.state = Some(state);
    }

    fn note_lost(&mut self, lost: &Lost) {
        tracing::warn!(error = %chain(lost), "metadata store is not followed; answering from what is there");
        self.served.note_error(chain(lost).to_string());
        self.loading = Loading::default();
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
