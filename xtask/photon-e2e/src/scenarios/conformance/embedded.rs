//! A folder as what keeps the data.
//!
//! A crash is what would be in the folder after SIGKILL: a copy of it in the middle of its work, in which the store
//! goes on under another name. Whoever still has the old store gets no more answers from it.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use futures::{FutureExt as _, StreamExt as _, stream};
use metadata_store::{
    Cause, Commit, EmbeddedStore, MetadataStore, Namespace, Page, Record, StoreError, Token, Version, Watch,
    conformance::Harness,
};
use tokio::sync::{Mutex, watch};

use super::NAMESPACE;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Copies that may be disturbed by files that come and go.
const COPIES_MAX: u32 = 50;

/// The folder and its store.
#[derive(Debug)]
pub(super) struct Embedded {
    root: PathBuf,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    /// How many crashes there were; names the folder.
    generation: u32,
    store: Option<Mortal>,
}

/// A store until its crash.
#[derive(Clone, Debug)]
struct Mortal {
    store: EmbeddedStore,
    crashed: watch::Sender<bool>,
}

impl Embedded {
    /// A store below `root`, opened when it is asked for.
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), running: Mutex::default() }
    }

    fn folder(&self, generation: u32) -> PathBuf {
        self.root.join(format!("store-{generation}"))
    }

    async fn store(&self) -> Result<Mortal, Cause> {
        let mut running = self.running.lock().await;
        if let Some(store) = &running.store {
            return Ok(store.clone());
        }
        let folder = self.folder(running.generation);
        let store = EmbeddedStore::open(&folder, NAMESPACE, CALL_TIMEOUT).await?;
        Ok(running.store.insert(Mortal { store, crashed: watch::Sender::new(false) }).clone())
    }
}

#[async_trait]
impl Harness for Embedded {
    fn namespace(&self) -> Namespace {
        NAMESPACE
    }

    async fn connect(&self) -> Result<Arc<dyn MetadataStore>, Cause> {
        Ok(Arc::new(self.store().await?))
    }

    async fn crash(&self) -> Result<(), Cause> {
        let mut running = self.running.lock().await;
        // Whatever is answered from now on need not be in the copy.
        if let Some(store) = running.store.take() {
            store.crashed.send_replace(true);
        }
        copy(&self.folder(running.generation), &self.folder(running.generation + 1))?;
        running.generation += 1;
        Ok(())
    }

    async fn compact(&self, up_to: Version) -> Result<(), Cause> {
        Ok(self.store().await?.store.compact(up_to).await?)
    }
}

/// Copies a folder while it is written to: files only grow, so a copy during which none came or went is one moment.
fn copy(from: &Path, to: &Path) -> Result<()> {
    for _ in 0..COPIES_MAX {
        fs::create_dir_all(to)?;
        let names = files(from)?;
        // The manifest comes before what it names, which may then be newer but not older.
        let copied: io::Result<()> =
            names.iter().rev().try_for_each(|name| fs::copy(from.join(name), to.join(name)).map(drop));
        match copied {
            Ok(()) if files(from)? == names => return Ok(()),
            Ok(()) => fs::remove_dir_all(to)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => fs::remove_dir_all(to)?,
            Err(error) => return Err(error).with_context(|| format!("{} cannot be copied", from.display())),
        }
    }
    bail!("files came and went during each of {COPIES_MAX} copies of {}", from.display())
}

/// The names of the store's files.
fn files(folder: &Path) -> Result<BTreeSet<OsString>> {
    let names = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.file_name()));
    Ok(names.filter(|name| !name.as_ref().is_ok_and(|name| name == "LOCK")).collect::<io::Result<_>>()?)
}

impl Mortal {
    fn is_crashed(&self) -> bool {
        *self.crashed.borrow()
    }

    async fn read<T>(&self, answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        let answer = answer.await;
        if self.is_crashed() { Err(gone()) } else { answer }
    }
}

fn gone() -> StoreError {
    StoreError::unavailable("the store has crashed")
}

#[async_trait]
impl MetadataStore for Mortal {
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError> {
        self.read(self.store.get(key, at_least)).await
    }

    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        self.read(self.store.scan(prefix, limit, token)).await
    }

    async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        if self.is_crashed() {
            return Err(gone());
        }
        let id = commit.idempotency_id.clone();
        let answer = self.store.commit(commit).await;
        if self.is_crashed() { Err(StoreError::Indeterminate { id, source: gone().into() }) } else { answer }
    }

    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError> {
        let revisions = self.read(self.store.watch(prefix, from)).await?;
        let mut crashed = self.crashed.subscribe();
        let crash = async move { crashed.wait_for(|crashed| *crashed).await.map(drop).ok() };
        let end = stream::once(async { Err(gone()) });
        Ok(revisions.take_until(crash.boxed()).chain(end).boxed())
    }
}
