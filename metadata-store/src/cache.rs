//! The list-watch cache: a local copy of the records under a prefix, kept as the store has them.
//!
//! It is fed by [`Follow`]. Readers take a [`Snapshot`], which is one whole revision and never changes; new revisions
//! are swapped in whole. While the store is away readers go on with what there is, and [`Cache::staleness`] says how
//! old it is; what has to be listed anew is listed beside the old snapshot. Only the watch writes the cache: a writer that wants to read its own write waits for its
//! version ([`Cache::wait_for`]).
//!
//! Memory is bounded: what is beyond [`CacheLimits`] is not taken, the cache stays at the last snapshot that fits and
//! says so.

mod snapshot;

use std::{
    error::Error,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures::FutureExt as _;
use tokio::{sync::watch, task::JoinSet, time::timeout};

pub use self::snapshot::{CacheLimits, Snapshot};
use self::snapshot::{Draft, Full};
use crate::{Follow, MetadataStore, Page, Update, Version, error::chain};

/// Updates that are swapped in together when several are there at once.
const UPDATES_MAX: usize = 256;

/// A local copy of the records under a prefix. It follows the store until it is dropped.
#[derive(Debug)]
pub struct Cache {
    shared: Arc<Shared>,
    /// Ends when it is dropped.
    _task: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    snapshot: ArcSwap<Snapshot>,
    version: watch::Sender<Version>,
    contact: Mutex<Staleness>,
}

/// How the copy stands to the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Staleness {
    /// When the copy was last known to be the store's newest; `None`: never yet.
    pub fresh_at: Option<Instant>,
    /// Why it is not kept up at the moment.
    pub problem: Option<String>,
}

impl Cache {
    /// Starts to follow `prefix` of the store. Needs a tokio runtime.
    pub fn start(store: Arc<dyn MetadataStore>, prefix: impl Into<String>, limits: CacheLimits) -> Cache {
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::default(),
            version: watch::Sender::new(Version::ABSENT),
            contact: Mutex::default(),
        });
        let follow = Follow::new(store, prefix.into());
        let mut task = JoinSet::new();
        task.spawn(Keeper::new(follow, limits, Arc::clone(&shared)).run());
        Cache { shared, _task: task }
    }

    /// The newest revision that is here, whole. Empty, at version 0, before the first list.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshot.load_full()
    }

    /// The version of the snapshot.
    pub fn version(&self) -> Version {
        *self.shared.version.borrow()
    }

    /// Tells of each new version, after its snapshot is here.
    pub fn versions(&self) -> watch::Receiver<Version> {
        self.shared.version.subscribe()
    }

    /// Waits until `version` is here, at most for `limit`; whether it is.
    pub async fn wait_for(&self, version: Version, limit: Duration) -> bool {
        let mut versions = self.versions();
        let reached = versions.wait_for(|here| *here >= version && *here > Version::ABSENT);
        matches!(timeout(limit, reached).await, Ok(Ok(_)))
    }

    /// How the copy stands to the store.
    pub fn staleness(&self) -> Staleness {
        self.shared.contact().clone()
    }
}

impl Shared {
    fn contact(&self) -> MutexGuard<'_, Staleness> {
        // Every change under the lock is one assignment, so a panic elsewhere left nothing half done.
        self.contact.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// First the snapshot, then its version: who sees the version finds the snapshot.
    fn publish(&self, snapshot: Snapshot) {
        let version = snapshot.version();
        self.snapshot.store(Arc::new(snapshot));
        self.version.send_replace(version);
        *self.contact() = Staleness { fresh_at: Some(Instant::now()), problem: None };
    }
}

/// Keeps the copy.
struct Keeper {
    follow: Follow,
    limits: CacheLimits,
    shared: Arc<Shared>,
    /// A list that is not complete.
    listing: Draft,
    /// What the next snapshot is made of.
    draft: Draft,
    /// Whether the draft is of a later time than the snapshot.
    is_due: bool,
}

impl Keeper {
    fn new(follow: Follow, limits: CacheLimits, shared: Arc<Shared>) -> Keeper {
        let draft = || Draft::new(limits);
        Keeper { follow, limits, shared, listing: draft(), draft: draft(), is_due: false }
    }

    async fn run(mut self) {
        loop {
            let first = self.follow.next().await;
            self.take(first);
            for _ in 1..UPDATES_MAX {
                let Some(update) = self.follow.next().now_or_never() else { break };
                self.take(update);
            }
            self.publish();
        }
    }

    fn take(&mut self, update: Update) {
        let taken = match update {
            Update::Page(page) => self.list(page),
            Update::Revision(revision) => {
                self.is_due = true;
                self.draft.apply(revision)
            }
            Update::Lost(lost) => {
                self.publish();
                return self.give_up(&lost);
            }
        };
        if let Err(full) = taken {
            // The change that did not fit may be in the draft in part.
            self.is_due = false;
            self.follow.list_anew();
            self.give_up(&full);
        }
    }

    fn list(&mut self, page: Page) -> Result<(), Full> {
        self.listing.list(page.records, page.revision)?;
        if page.next.is_none() {
            self.draft = std::mem::replace(&mut self.listing, Draft::new(self.limits));
            self.is_due = true;
        }
        Ok(())
    }

    fn publish(&mut self) {
        if std::mem::take(&mut self.is_due) {
            self.shared.publish(self.draft.snapshot());
        }
    }

    /// Until the follower goes on.
    fn give_up(&mut self, problem: &(dyn Error + 'static)) {
        self.listing = Draft::new(self.limits);
        let problem = chain(problem);
        tracing::warn!(
            prefix = self.follow.prefix(),
            problem,
            "metadata is not followed; the cache gets older"
        );
        self.shared.contact().problem = Some(problem);
    }
}
