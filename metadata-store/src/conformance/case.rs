//! What every promise works with: a folder of its own, stores on it, and the patience of a real caller.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use rand::{SeedableRng as _, rngs::StdRng};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

use super::{Cause, Harness, MetadataStore, StoreError, Version};
use crate::{Commit, IdempotencyId, Record, Revision, Watch, Write, error::chain};

/// How long errors that pass by themselves are waited out.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between attempts.
pub(super) const PAUSE: Duration = Duration::from_millis(25);
/// How long an event may take to come.
const EVENT_TIMEOUT: Duration = Duration::from_secs(30);

/// How a promise was broken.
#[derive(Debug)]
pub(super) struct Violation(String);

/// Whether a promise was kept.
pub(super) type Kept = Result<(), Violation>;

impl Violation {
    pub(super) fn new(how: impl Into<String>) -> Violation {
        Violation(how.into())
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<StoreError> for Violation {
    fn from(error: StoreError) -> Violation {
        Violation(format!("unexpected error: {}", chain(&error)))
    }
}

impl From<Cause> for Violation {
    fn from(error: Cause) -> Violation {
        Violation(format!("the harness failed: {}", chain(error.as_ref())))
    }
}

/// Breaks the promise unless the condition holds.
macro_rules! keep {
    ($condition:expr, $($how:tt)+) => {
        if !$condition {
            return Err($crate::conformance::case::Violation::new(format!($($how)+)));
        }
    };
}
pub(super) use keep;

/// One promise under test.
pub(super) struct Case<'a> {
    pub(super) harness: &'a dyn Harness,
    /// A store that is connected from the start.
    pub(super) store: Arc<dyn MetadataStore>,
    /// Prefix of this promise's keys in this run.
    pub(super) folder: String,
    seed: u64,
}

impl<'a> Case<'a> {
    pub(super) async fn new(
        harness: &'a dyn Harness,
        seed: u64,
        promise: &str,
    ) -> Result<Case<'a>, Violation> {
        let run = Uuid::new_v4().simple();
        let folder = format!("{}conformance/{run}/{promise}/", harness.namespace().prefix);
        Ok(Case { store: harness.connect().await?, harness, folder, seed })
    }

    pub(super) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.folder)
    }

    pub(super) fn random(&self) -> StdRng {
        StdRng::seed_from_u64(self.seed)
    }

    /// Another store on the same data.
    pub(super) async fn connect(&self) -> Result<Arc<dyn MetadataStore>, Violation> {
        Ok(self.harness.connect().await?)
    }

    /// The same case with a store that is connected now.
    pub(super) async fn reconnected(&self) -> Result<Case<'a>, Violation> {
        let (store, folder) = (self.connect().await?, self.folder.clone());
        Ok(Case { harness: self.harness, store, folder, seed: self.seed })
    }

    pub(super) async fn put(&self, key: &str, value: &str) -> Result<Version, Violation> {
        self.write(vec![put(key, value)]).await
    }

    /// Commits writes without compares.
    pub(super) async fn write(&self, writes: Vec<Write>) -> Result<Version, Violation> {
        Ok(commit(self.store.as_ref(), plain(writes)).await?)
    }

    pub(super) async fn get(&self, key: &str) -> Result<Option<Record>, Violation> {
        get(self.store.as_ref(), key, Version::ABSENT).await
    }

    /// Every record of the folder, at the newest revision.
    pub(super) async fn all(&self) -> Result<Vec<Record>, Violation> {
        all(self.store.as_ref(), &self.folder, 0).await
    }
}

/// Writes under an id of their own.
pub(super) fn plain(writes: Vec<Write>) -> Commit {
    Commit { compares: Vec::new(), writes, idempotency_id: Some(IdempotencyId::random()) }
}

pub(super) fn put(key: &str, value: &str) -> Write {
    Write::Put { key: key.to_owned(), value: json(value) }
}

pub(super) fn delete(key: &str) -> Write {
    Write::Delete { key: key.to_owned() }
}

/// A text as a JSON string. The texts here have nothing to escape.
pub(super) fn json(text: &str) -> Bytes {
    Bytes::from(format!("\"{text}\""))
}

/// Commits, and sends the same commit again while it is not known or known not to have happened.
pub(super) async fn commit(store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.commit(commit.clone()).await {
            Err(error) if error.is_passing() && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            other => return other,
        }
    }
}

pub(super) async fn get(
    store: &dyn MetadataStore,
    key: &str,
    at_least: Version,
) -> Result<Option<Record>, Violation> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.get(key, at_least).await {
            Err(error) if error.is_passing() && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            other => return Ok(other?),
        }
    }
}

/// Every record under `prefix`, in pages of `limit`, all of the first page's revision.
pub(super) async fn all(
    store: &dyn MetadataStore,
    prefix: &str,
    limit: usize,
) -> Result<Vec<Record>, Violation> {
    let deadline = Instant::now() + PATIENCE;
    let (mut records, mut token, mut revision) = (Vec::new(), None, None);
    loop {
        let page = match store.scan(prefix, limit, token.as_ref()).await {
            Err(error) if error.is_passing() && Instant::now() < deadline => {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            other => other?,
        };
        let first = *revision.get_or_insert(page.revision);
        keep!(page.revision == first, "a page of revision {} follows one of {first}", page.revision);
        keep!(limit == 0 || page.records.len() <= limit, "{} records, {limit} asked", page.records.len());
        records.extend(page.records);
        token = page.next;
        if token.is_none() {
            return Ok(records);
        }
    }
}

/// The next revision that changed something.
pub(super) async fn next(watch: &mut Watch) -> Result<Option<Result<Revision, StoreError>>, Violation> {
    let changed = async {
        loop {
            match watch.next().await {
                Some(Ok(revision)) if revision.events.is_empty() => {}
                other => return other,
            }
        }
    };
    let late = |_elapsed| Violation::new(format!("no event came within {} s", EVENT_TIMEOUT.as_secs()));
    timeout(EVENT_TIMEOUT, changed).await.map_err(late)
}

/// Opens a watch, with patience.
pub(super) async fn watch(
    store: &dyn MetadataStore,
    prefix: &str,
    from: Version,
) -> Result<Watch, StoreError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match store.watch(prefix, from).await {
            Err(error) if error.is_passing() && Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
            other => return other,
        }
    }
}

/// The next revision that changed something; anything else breaks the promise.
pub(super) async fn revision(watch: &mut Watch) -> Result<Revision, Violation> {
    let next = next(watch).await?;
    let next = next.ok_or_else(|| Violation::new("the watch ended without an error"))?;
    Ok(next?)
}
