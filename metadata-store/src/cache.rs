//! The list-watch cache: a local copy of the records under a prefix, kept as the store has them.
//!
//! It lists, then watches from there on. Readers take a [`Snapshot`], which is one whole revision and never changes;
//! new revisions are swapped in whole. While the store is away readers go on with what there is, and
//! [`Cache::staleness`] says how old it is; when the store has forgotten what was missed, everything is listed anew
//! beside the old snapshot. Only the watch writes the cache: a writer that wants to read its own write waits for its
//! version ([`Cache::wait_for`]).
//!
//! Memory is bounded: what is beyond [`CacheLimits`] is not taken, the cache stays at the last snapshot that fits and
//! says so.

mod snapshot;

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use futures::{FutureExt as _, StreamExt as _};
use tokio::{sync::watch, task::JoinSet, time::timeout};

pub use self::snapshot::{CacheLimits, Snapshot};
use self::snapshot::{Draft, Full};
use crate::{MetadataStore, Revision, StoreError, Token, Version, Watch};

/// First and longest pause after the store could not be followed.
const PAUSE_MS: (u64, u64) = (50, 2_000);

/// Backends say at least every few seconds that they are there; a watch that is silent for longer is taken for dead.
const SILENCE_MAX: Duration = Duration::from_secs(15);

/// Revisions that are swapped in together when several are there at once.
const REVISIONS_MAX: usize = 256;

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

/// Why following ended.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("the watch {0}")]
    Watch(&'static str),
}

impl Cache {
    /// Starts to follow `prefix` of the store. Needs a tokio runtime.
    pub fn start(store: Arc<dyn MetadataStore>, prefix: impl Into<String>, limits: CacheLimits) -> Cache {
        let shared = Arc::new(Shared {
            snapshot: ArcSwap::default(),
            version: watch::Sender::new(Version::ABSENT),
            contact: Mutex::default(),
        });
        let follower =
            Follower { store, prefix: prefix.into(), limits, shared: Arc::clone(&shared), draft: None };
        let mut task = JoinSet::new();
        task.spawn(follower.run());
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
struct Follower {
    store: Arc<dyn MetadataStore>,
    prefix: String,
    limits: CacheLimits,
    shared: Arc<Shared>,
    /// What the last snapshot was made of; `None`: list anew.
    draft: Option<Draft>,
}

impl Follower {
    async fn run(mut self) {
        let mut pause_ms = PAUSE_MS.0;
        loop {
            let lost = self.follow(&mut pause_ms).await;
            // A change that did not fit is not in the draft, so there is nothing to go on from.
            if matches!(lost, Lost::Store(StoreError::TooOld { .. }) | Lost::Full(_)) {
                self.draft = None;
            }
            tracing::warn!(prefix = self.prefix, error = %lost, "metadata is not followed; the cache gets older");
            self.shared.contact().problem = Some(lost.to_string());
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            pause_ms = (pause_ms * 2).min(PAUSE_MS.1);
        }
    }

    /// Follows until something goes wrong, and says what.
    async fn follow(&mut self, pause_ms: &mut u64) -> Lost {
        match self.try_follow(pause_ms).await {
            Err(lost) => lost,
            Ok(()) => Lost::Watch("ended"),
        }
    }

    async fn try_follow(&mut self, pause_ms: &mut u64) -> Result<(), Lost> {
        let draft = match &mut self.draft {
            Some(draft) => draft,
            missing => {
                let draft = list(self.store.as_ref(), &self.prefix, self.limits).await?;
                self.shared.publish(draft.snapshot());
                missing.insert(draft)
            }
        };
        let mut watch = self.store.watch(&self.prefix, draft.version().next()).await?;
        loop {
            let Some(revisions) = next(&mut watch).await? else { return Ok(()) };
            for revision in revisions {
                draft.apply(revision?)?;
            }
            self.shared.publish(draft.snapshot());
            *pause_ms = PAUSE_MS.0;
        }
    }
}

async fn list(store: &dyn MetadataStore, prefix: &str, limits: CacheLimits) -> Result<Draft, Lost> {
    let (mut draft, mut token): (Draft, Option<Token>) = (Draft::new(limits), None);
    loop {
        let page = store.scan(prefix, 0, token.as_ref()).await?;
        draft.list(page.records, page.revision)?;
        token = page.next;
        if token.is_none() {
            return Ok(draft);
        }
    }
}

/// The next revision, with those that are there already behind it.
async fn next(watch: &mut Watch) -> Result<Option<Vec<Result<Revision, StoreError>>>, Lost> {
    let first = timeout(SILENCE_MAX, watch.next()).await.map_err(|_elapsed| Lost::Watch("fell silent"))?;
    let Some(first) = first else { return Ok(None) };
    let mut revisions = vec![first];
    while revisions.len() < REVISIONS_MAX
        && let Some(Some(more)) = watch.next().now_or_never()
    {
        revisions.push(more);
    }
    Ok(Some(revisions))
}
