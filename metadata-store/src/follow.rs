//! The list-watch: how a copy of the records under a prefix is kept as the store has them.
//!
//! It lists, then watches from there on, for as long as it is asked. What goes wrong is told and waited out with
//! growing pauses: the watch is resumed after the last revision that was delivered, and where the store has forgotten
//! what was missed, everything is listed anew. What the records mean, and what is served meanwhile, is the follower's
//! business; so it keeps no records itself, and holds at most one page.

use std::{fmt, sync::Arc, time::Duration};

use futures::{FutureExt as _, StreamExt as _, future::BoxFuture};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{MetadataStore, Page, Revision, StoreError, Token, Version, Watch};

/// First and longest pause after the store could not be followed.
const PAUSE_MS: (u64, u64) = (50, 2_000);

/// Backends say at least every few seconds that they are there; a watch that is silent for longer is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// What happened to the records under the prefix.
#[derive(Debug)]
pub enum Update {
    /// The next page of a list; with the one that has no `next`, the list is complete and all else is gone. A list
    /// begins with the first page ever, and with the first after [`Update::Lost`] or [`Follow::list_anew`]: pages
    /// of one that was not complete by then are void.
    Page(Page),
    /// A revision, whole, after the complete list or the revision before; progress too. Versions never go back.
    Revision(Revision),
    /// The store is not followed at the moment. It goes on by itself, after a pause.
    Lost(Lost),
}

/// Why the store is not followed.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// It could not be listed or watched.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It ended the watch.
    #[error("the watch ended")]
    Ended,
    /// The watch said nothing for so long that it is taken for dead.
    #[error("the watch fell silent")]
    Silent,
}

/// Follows a prefix of a store.
pub struct Follow {
    store: Arc<dyn MetadataStore>,
    prefix: Arc<str>,
    /// Everything up to it was delivered; `None`: list first.
    version: Option<Version>,
    step: Step,
    pause_ms: u64,
    silence_max: Duration,
}

/// What is waited for. Everything is kept here, so that a [`Follow::next`] which is dropped loses nothing.
enum Step {
    Listing(BoxFuture<'static, Result<Page, StoreError>>),
    Opening(BoxFuture<'static, Result<Watch, StoreError>>),
    /// With the time from which on its next revision was waited for: a follower that is busy is no silence.
    Watching(Watch, Option<Instant>),
    /// Until then.
    Pausing(Instant),
}

impl fmt::Debug for Follow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Follow { prefix, version, pause_ms, .. } = self;
        let mut debug = f.debug_struct("Follow");
        debug.field("prefix", prefix).field("version", version).field("pause_ms", pause_ms);
        debug.finish_non_exhaustive()
    }
}

/// What was waited for came.
enum Came {
    Page(Page),
    Watch(Watch),
    Revision(Revision),
    EndOfPause,
}

impl Follow {
    /// Follows `prefix`, which ends with `/`. Nothing is asked before [`Follow::next`] is.
    pub fn new(store: Arc<dyn MetadataStore>, prefix: impl Into<Arc<str>>) -> Follow {
        let prefix = prefix.into();
        let step = list(Arc::clone(&store), Arc::clone(&prefix), None);
        Follow { store, prefix, version: None, step, pause_ms: PAUSE_MS.0, silence_max: SILENCE_MAX }
    }

    /// What is followed.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Waits for the next update. There is always one more, and a call that is dropped loses none.
    pub async fn next(&mut self) -> Update {
        loop {
            match self.step.wait(self.silence_max).await {
                Ok(came) => {
                    if let Some(update) = self.take(came) {
                        return update;
                    }
                }
                Err(lost) => return self.lose(lost),
            }
        }
    }

    /// What was delivered could not be taken: lists everything anew, after a pause.
    pub fn list_anew(&mut self) {
        self.version = None;
        self.pause();
    }

    fn take(&mut self, came: Came) -> Option<Update> {
        match came {
            Came::Page(page) => {
                self.version = page.next.is_none().then_some(page.revision);
                self.step = self.go_on(page.next.clone());
                Some(Update::Page(page))
            }
            Came::Watch(watch) => {
                self.step = Step::Watching(watch, None);
                None
            }
            Came::Revision(mut revision) => {
                // Progress of a replica that is behind.
                revision.version = self.version.map_or(revision.version, |known| known.max(revision.version));
                self.version = Some(revision.version);
                self.pause_ms = PAUSE_MS.0;
                Some(Update::Revision(revision))
            }
            Came::EndOfPause => {
                self.step = self.go_on(None);
                None
            }
        }
    }

    /// From the revision that is known, or else with the page of `token`.
    fn go_on(&self, token: Option<Token>) -> Step {
        let (store, prefix) = (Arc::clone(&self.store), Arc::clone(&self.prefix));
        match self.version {
            Some(version) => watch(store, prefix, version.next()),
            None => list(store, prefix, token),
        }
    }

    fn lose(&mut self, lost: Lost) -> Update {
        if let Lost::Store(StoreError::TooOld { .. }) = lost {
            self.version = None;
        }
        self.pause();
        Update::Lost(lost)
    }

    fn pause(&mut self) {
        self.step = Step::Pausing(Instant::now() + Duration::from_millis(self.pause_ms));
        self.pause_ms = (self.pause_ms * 2).min(PAUSE_MS.1);
    }
}

impl Step {
    /// May be dropped and called again until it has answered; then another step has to follow.
    async fn wait(&mut self, silence_max: Duration) -> Result<Came, Lost> {
        match self {
            Step::Listing(page) => Ok(Came::Page(page.await?)),
            Step::Opening(watch) => Ok(Came::Watch(watch.await?)),
            Step::Watching(watch, silent_since) => {
                let silent_after = *silent_since.get_or_insert_with(Instant::now) + silence_max;
                let revision =
                    timeout_at(silent_after, watch.next()).await.map_err(|_elapsed| Lost::Silent)?;
                *silent_since = None;
                Ok(Came::Revision(revision.ok_or(Lost::Ended)??))
            }
            Step::Pausing(until) => {
                sleep_until(*until).await;
                Ok(Came::EndOfPause)
            }
        }
    }
}

fn list(store: Arc<dyn MetadataStore>, prefix: Arc<str>, token: Option<Token>) -> Step {
    Step::Listing(async move { store.scan(&prefix, 0, token.as_ref()).await }.boxed())
}

fn watch(store: Arc<dyn MetadataStore>, prefix: Arc<str>, from: Version) -> Step {
    Step::Opening(async move { store.watch(&prefix, from).await }.boxed())
}

#[cfg(test)]
mod tests;
