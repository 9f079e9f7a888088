//! The backend `embedded`: FlareDB's engine in the process, for one machine without a database to run.
//!
//! Same state machine, same semantics as a cluster: a commit is the command that a replica would apply. In place of
//! the Raft log stands RocksDB's own, synced before any commit of a batch is answered. One thread writes
//! ([`writer`]); reads and watches go beside it, straight to the engine.

mod history;
mod read;
mod watch;
mod writer;

use std::{fmt, path::Path, sync::Arc, time::Duration};

use async_trait::async_trait;
use flaredb_engine::{Durability, Engine, NamespaceId, NamespaceInfo, Options, Region, RegionId, ScanRange};
use flaredb_proto::{
    prefix_end,
    v1::{CasCommit, CompactHistory, CreateNamespaceRequest, NamespaceMode, flare_request::Command},
};

use self::writer::Writer;
use crate::{
    Cause, Commit, MetadataStore, Namespace, OpenError, Page, Record, StoreError, Token, Version, Watch,
    check, wire,
};

/// The only region: nothing is sharded on one machine.
const REGION: RegionId = RegionId(1);

/// A service's metadata in a folder of this machine. Clones share it.
#[derive(Clone)]
pub struct EmbeddedStore(Arc<Inner>);

struct Inner {
    namespace: Namespace,
    id: NamespaceId,
    region: Region,
    reads: read::Gate,
    writer: Writer,
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").field("namespace", &self.0.namespace.name).finish_non_exhaustive()
    }
}

impl EmbeddedStore {
    /// Opens the store in `folder`, which is made if it is not there. One process at a time can have it open.
    ///
    /// # Errors
    /// When another process has it open, it is damaged, or it is another service's.
    pub async fn open(
        folder: &Path,
        namespace: Namespace,
        timeout: Duration,
    ) -> Result<EmbeddedStore, OpenError> {
        let path = folder.to_owned();
        let wrong = |source| OpenError::Folder { path: folder.to_owned(), source };
        let opened = tokio::task::spawn_blocking(move || open(&path)).await;
        let region = opened.map_err(|died| wrong(died.into()))?.map_err(wrong)?;
        let writer =
            Writer::start(region.clone(), namespace, timeout).map_err(|error| wrong(error.into()))?;
        let info = own_namespace(&region, &writer, namespace).await?;
        let reads = read::Gate::new(timeout);
        Ok(EmbeddedStore(Arc::new(Inner { namespace, id: info.id, region, reads, writer })))
    }

    /// Forgets revisions up to and including `up_to`, with the idempotency ids of those. The store does it by itself
    /// as history grows; this is for tests and operators.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn compact(&self, up_to: Version) -> Result<(), StoreError> {
        let compact = CompactHistory { namespace_id: self.0.id.0, revision: up_to.0 };
        let mut oldest = 0;
        loop {
            // One command forgets a bounded part.
            let reached = self.0.writer.done(Command::CompactHistory(compact), None).await?;
            if reached.0 > up_to.0 || reached.0 <= oldest {
                return Ok(());
            }
            oldest = reached.0;
        }
    }

    fn scan_range(prefix: &str, limit: usize, token: Option<&Token>) -> ScanRange {
        ScanRange {
            start: token.map_or_else(|| prefix.as_bytes().to_vec(), |token| token.start.clone()).into(),
            end: prefix_end(prefix.as_bytes()).map(Into::into),
            limit,
            revision: token.map(|token| token.revision.0),
            ..ScanRange::default()
        }
    }
}

fn open(folder: &Path) -> Result<Region, Cause> {
    std::fs::create_dir_all(folder)?;
    let options = Options { durability: Durability::Synced, ..Options::default() };
    Ok(Engine::open(folder, options)?.region(REGION)?)
}

/// The service's namespace, made if the folder is new.
async fn own_namespace(region: &Region, writer: &Writer, own: Namespace) -> Result<NamespaceInfo, OpenError> {
    if region.namespace(own.name).is_none() {
        let create = CreateNamespaceRequest {
            name: own.name.to_owned(),
            mode: NamespaceMode::Strong.into(),
            key_prefix: own.prefix.into(),
            ..CreateNamespaceRequest::default()
        };
        writer.create(create).await?;
    }
    let problem = |problem: String| OpenError::Namespace { name: own.name.to_owned(), problem };
    let info = region.namespace(own.name).ok_or_else(|| problem("it was not created".to_owned()))?;
    if info.mode != NamespaceMode::Strong || info.key_prefix != own.prefix {
        let prefix = String::from_utf8_lossy(&info.key_prefix);
        return Err(problem(format!(
            "found {:?} with keys under {prefix:?}; it is not this service's",
            info.mode
        )));
    }
    Ok(info)
}

#[async_trait]
impl MetadataStore for EmbeddedStore {
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError> {
        check::key(&self.0.namespace, key)?;
        let (store, wanted) = (Arc::clone(&self.0), key.to_owned());
        let (found, revision) =
            self.0.reads.run(move || store.region.get(store.id, wanted.as_bytes())).await?;
        check::reached(at_least, Version(revision))?;
        found.map(|found| wire::record(key.as_bytes(), found.value, found.version)).transpose()
    }

    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        check::prefix(&self.0.namespace, prefix)?;
        token.map_or(Ok(()), |token| check::token(prefix, token))?;
        let (store, range) = (Arc::clone(&self.0), Self::scan_range(prefix, limit, token));
        let page = self.0.reads.run(move || store.region.scan(store.id, range)).await?;
        let revision = Version(page.revision);
        let records =
            page.records.into_iter().map(|found| wire::record(&found.key, found.value, found.version));
        let next = page.next.map(|start| Token { revision, start: start.to_vec() });
        Ok(Page { records: records.collect::<Result<_, _>>()?, revision, next })
    }

    async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        check::commit(&self.0.namespace, &commit)?;
        let Commit { compares, writes, idempotency_id } = commit;
        let command = CasCommit {
            namespace_id: self.0.id.0,
            compares: wire::compares(compares),
            writes: wire::writes(writes),
            idempotency_id: wire::id(idempotency_id.as_ref()),
            ..CasCommit::default()
        };
        self.0.writer.done(Command::CasCommit(command), idempotency_id).await
    }

    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError> {
        check::prefix(&self.0.namespace, prefix)?;
        watch::open(Arc::clone(&self.0), prefix.to_owned(), from).await
    }
}
