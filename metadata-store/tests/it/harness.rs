//! The embedded backend as the suite's harness: a crash is what a copy of the folder holds at that moment.

use std::{
    fs, io,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use futures::StreamExt as _;
use metadata_store::{
    Cause, Commit, EmbeddedStore, MetadataStore, Namespace, Page, Record, StoreError, Token, Version, Watch,
    conformance::Harness,
};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::broken::{Broken, Bug};

pub(crate) const OURS: Namespace = Namespace { name: "suite", prefix: "/suite/" };
pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// One life of the store, from start to crash.
#[derive(Clone)]
struct Life {
    folder: Arc<TempDir>,
    store: EmbeddedStore,
    dead: CancellationToken,
}

impl Life {
    async fn start(folder: TempDir) -> Result<Life, Cause> {
        let store = EmbeddedStore::open(folder.path(), OURS, TIMEOUT).await?;
        Ok(Life { folder: Arc::new(folder), store, dead: CancellationToken::new() })
    }
}

pub(crate) struct Embedded {
    life: Mutex<Life>,
    bug: Option<Arc<dyn Bug>>,
}

impl Embedded {
    pub(crate) async fn start() -> Embedded {
        let life = Life::start(TempDir::new().unwrap()).await.unwrap();
        Embedded { life: Mutex::new(life), bug: None }
    }

    pub(crate) async fn broken(bug: impl Bug + 'static) -> Embedded {
        Embedded { bug: Some(Arc::new(bug)), ..Embedded::start().await }
    }

    fn life(&self) -> Life {
        self.life.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[async_trait]
impl Harness for Embedded {
    fn namespace(&self) -> Namespace {
        OURS
    }

    async fn connect(&self) -> Result<Arc<dyn MetadataStore>, Cause> {
        let life = self.life();
        let store: Arc<dyn MetadataStore> = Arc::new(Mortal { store: life.store, dead: life.dead });
        Ok(match &self.bug {
            Some(bug) => Arc::new(Broken { store, bug: Arc::clone(bug) }),
            None => store,
        })
    }

    async fn crash(&self) -> Result<(), Cause> {
        let old = self.life();
        old.dead.cancel();
        let folder = TempDir::new()?;
        copy(old.folder.path(), folder.path())?;
        if self.bug.as_ref().is_some_and(|bug| bug.loses_the_tail()) {
            cut(folder.path())?;
        }
        let new = Life::start(folder).await?;
        *self.life.lock().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    async fn compact(&self, up_to: Version) -> Result<(), Cause> {
        Ok(self.life().store.compact(up_to).await?)
    }
}

/// The files as they are, in whatever state the writer has them.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        match fs::copy(entry.path(), to.join(entry.file_name())) {
            // Gone since the folder was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => drop(other?),
        }
    }
    Ok(())
}

/// Takes the end off the log, as a crash does with what was not synced.
fn cut(folder: &Path) -> io::Result<()> {
    let logs = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let newest = logs.filter(|path| path.extension().is_some_and(|kind| kind == "log")).max();
    let file = fs::OpenOptions::new().write(true).open(newest.unwrap())?;
    let bytes = file.metadata()?.len();
    file.set_len(bytes.saturating_sub(16))
}

/// A store of one life: after it, nothing is answered any more.
struct Mortal {
    store: EmbeddedStore,
    dead: CancellationToken,
}

fn died() -> StoreError {
    StoreError::unavailable("the store has died")
}

impl Mortal {
    /// An answer counts only if it came before the death: what was written after that is not in the copy.
    async fn alive<T>(
        &self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<Result<T, StoreError>> {
        self.dead.run_until_cancelled(answer).await.filter(|_answer| !self.dead.is_cancelled())
    }
}

#[async_trait]
impl MetadataStore for Mortal {
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError> {
        self.alive(self.store.get(key, at_least)).await.unwrap_or_else(|| Err(died()))
    }

    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        self.alive(self.store.scan(prefix, limit, token)).await.unwrap_or_else(|| Err(died()))
    }

    async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        if self.dead.is_cancelled() {
            return Err(died());
        }
        let id = commit.idempotency_id.clone();
        let answer = self.alive(self.store.commit(commit)).await;
        answer.unwrap_or_else(|| Err(StoreError::Indeterminate { id, source: "the store has died".into() }))
    }

    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError> {
        let watch = self.alive(self.store.watch(prefix, from)).await.unwrap_or_else(|| Err(died()))?;
        Ok(watch.take_until(self.dead.clone().cancelled_owned()).boxed())
    }
}
