//! A region: the part of the state that one consensus group replicates.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use flaredb_proto::v1::FlareResponse;

use crate::{
    Durability, Engine, EngineError, Install, NamespaceId, NamespaceInfo, ReadError, RegionId, Snapshot,
    apply,
    batch::Batch,
    codec::take_u64,
    engine::META,
    install,
    namespace::Table,
    recent::{Known, Recents},
    transaction::Transaction,
};

const APPLIED: u8 = b'a';
const INSTALLING: u8 = b'i';
const NAMESPACE: u8 = b'n';
const COUNTERS: u8 = b'c';
const STAGED: u8 = b's';

/// How far a region has applied its log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Index of the last applied entry; 0: none.
    pub index: u64,
    /// The host's own part, opaque here.
    pub host: Bytes,
}

/// One entry to apply.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Position of the entry, rising by one.
    pub index: u64,
    /// Its encoded command, for [`Region::apply`] a `FlareRequest`; `None` for entries that only move the position.
    pub command: Option<&'a Bytes>,
}

type Listener = Box<dyn Fn(&[NamespaceId]) + Send + Sync>;

struct Inner {
    engine: Engine,
    id: RegionId,
    /// What reads see; replaced entry by entry after each write.
    table: RwLock<Table>,
    applied: RwLock<Applied>,
    flushed: AtomicU64,
    /// Odd while the state is being replaced. What is read before and after a change of it is no state at all.
    installs: AtomicU64,
    /// The part of what was written lately that readers use as well.
    known: Arc<Known>,
    /// Held while the state changes; there is one writer at a time, and what it has written lately.
    writer: Mutex<Recents>,
    listener: RwLock<Option<Listener>>,
}

/// A region of the node's database. Clones share it.
#[derive(Clone)]
pub struct Region(Arc<Inner>);

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region").field("id", &self.0.id).field("applied", &self.applied().index).finish()
    }
}

/// A row of `meta` that belongs to a region.
pub(crate) fn meta_key(region: RegionId, kind: u8, rest: &[u8]) -> Vec<u8> {
    let mut key = region.0.to_be_bytes().to_vec();
    key.push(kind);
    key.extend_from_slice(rest);
    key
}

/// The row of a namespace.
pub(crate) fn namespace_key(region: RegionId, id: NamespaceId) -> Vec<u8> {
    meta_key(region, NAMESPACE, &id.0.to_be_bytes())
}

/// The row of a namespace whose restore has not finished.
pub(crate) fn staged_key(region: RegionId, id: NamespaceId) -> Vec<u8> {
    meta_key(region, STAGED, &id.0.to_be_bytes())
}

/// Where the rows of staged namespaces are.
pub(crate) fn staged_range(region: RegionId) -> (Vec<u8>, Vec<u8>) {
    (meta_key(region, STAGED, &[]), meta_key(region, STAGED + 1, &[]))
}

/// Whether a row of `meta` is part of the region's state, which its position is not: that is where the state is, not
/// what.
pub(crate) fn is_state(region: RegionId, key: &[u8]) -> bool {
    let kind = key.strip_prefix(&region.0.to_be_bytes()).and_then(<[u8]>::first);
    matches!(kind, Some(&(NAMESPACE | COUNTERS | STAGED)))
}

/// The row of the counters that outlive every namespace.
pub(crate) fn counters_key(region: RegionId) -> Vec<u8> {
    meta_key(region, COUNTERS, &[])
}

/// The mark of an installation that has not finished.
pub(crate) fn installing_key(region: RegionId) -> Vec<u8> {
    meta_key(region, INSTALLING, &[])
}

/// The row that says how far the region is.
pub(crate) fn applied_row(region: RegionId, applied: &Applied) -> (Vec<u8>, Vec<u8>) {
    let mut row = applied.index.to_be_bytes().to_vec();
    row.extend_from_slice(&applied.host);
    (meta_key(region, APPLIED, &[]), row)
}

impl Region {
    pub(crate) fn load(engine: Engine, id: RegionId) -> Result<Self, EngineError> {
        install::wipe_unfinished(&engine, id)?;
        let (table, applied) = (read_table(&engine, id)?, read_applied(&engine, id)?);
        let recents = Recents::new(engine.recent_bytes_max);
        Ok(Self(Arc::new(Inner {
            flushed: AtomicU64::new(applied.index),
            table: RwLock::new(table),
            applied: RwLock::new(applied),
            installs: AtomicU64::new(0),
            known: Arc::clone(&recents.strong),
            writer: Mutex::new(recents),
            listener: RwLock::new(None),
            engine,
            id,
        })))
    }

    /// Applies entries that hold FlareDB's commands and moves the position to `applied`, in one atomic write; one
    /// answer for each entry.
    ///
    /// Entries at or below the present position are passed over, so entries may be given again after a restart.
    ///
    /// # Errors
    /// When RocksDB fails or a command cannot be decoded: the replica can no longer be trusted.
    pub fn apply(&self, entries: &[Entry<'_>], applied: Applied) -> Result<Vec<FlareResponse>, EngineError> {
        let answers = self.apply_with(entries, applied, apply::command)?;
        Ok(answers.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// As [`Region::apply`], but what a command is and does, and what its answer is, is `apply`'s to say. It gets the
    /// position of the entry and its command; there is no answer for entries without one, and for those passed over.
    ///
    /// `apply` must depend on nothing but what it gets. After an error of it, nothing is written.
    ///
    /// # Errors
    /// When RocksDB or `apply` fails: the replica can no longer be trusted.
    pub fn apply_with<T>(
        &self,
        entries: &[Entry<'_>],
        applied: Applied,
        mut apply: impl FnMut(&mut Transaction<'_>, u64, &Bytes) -> Result<T, EngineError>,
    ) -> Result<Vec<Option<T>>, EngineError> {
        let mut recents = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let position = self.applied().index;
        if applied.index < position {
            return Ok(entries.iter().map(|_| None).collect());
        }
        let batch = Batch::new(&self.0.engine, &mut recents, self.table());
        let mut transaction = Transaction { batch, region: self.0.id };
        let mut answers = Vec::with_capacity(entries.len());
        for entry in entries {
            let command = entry.command.filter(|_| entry.index > position);
            let answer = command.map(|command| apply(&mut transaction, entry.index, command));
            answers.push(answer.transpose()?);
        }
        let row_of = |id| namespace_key(self.0.id, id);
        let written = transaction.batch.commit(row_of, applied_row(self.0.id, &applied))?;
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = written.table;
        if self.0.engine.durability == Durability::Synced {
            self.0.flushed.store(applied.index, Ordering::Release);
        }
        *self.0.applied.write().unwrap_or_else(PoisonError::into_inner) = applied;
        self.tell(&written.touched);
        Ok(answers)
    }

    fn tell(&self, touched: &[NamespaceId]) {
        let listener = self.0.listener.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(listener) = listener.as_ref().filter(|_| !touched.is_empty()) {
            listener(touched);
        }
    }

    /// How far the region is.
    pub fn applied(&self) -> Applied {
        self.0.applied.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes everything applied so far durable; returns the index up to which it is.
    ///
    /// # Errors
    /// When RocksDB fails.
    pub fn flush(&self) -> Result<u64, EngineError> {
        // Read first: what is applied while the flush runs may or may not be in it. But whatever a snapshot can show by
        // now is: the writer has written it before it says how far it is, and lets go of its lock afterwards.
        let writer = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let index = self.applied().index;
        drop(writer);
        self.0.engine.flush()?;
        self.0.flushed.fetch_max(index, Ordering::AcqRel);
        Ok(self.flushed_index())
    }

    /// The index up to which entries survive a power cut.
    pub fn flushed_index(&self) -> u64 {
        self.0.flushed.load(Ordering::Acquire)
    }

    /// The namespace of that name.
    pub fn namespace(&self, name: &str) -> Option<NamespaceInfo> {
        self.0
            .table
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .named(name)
            .map(|info| NamespaceInfo::clone(info))
    }

    /// All namespaces, by number.
    pub fn namespaces(&self) -> Vec<NamespaceInfo> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Calls `listener` after each apply with the namespaces that changed. It must not block.
    pub fn set_listener(&self, listener: Listener) {
        *self.0.listener.write().unwrap_or_else(PoisonError::into_inner) = Some(listener);
    }

    /// A consistent view of everything, to be read while later entries are applied.
    ///
    /// # Errors
    /// When its position cannot be read, or the state is just being replaced.
    pub fn snapshot(&self) -> Result<Snapshot, ReadError> {
        self.whole(|| Ok(Snapshot::take(&self.0.engine, self.0.id)?))
    }

    /// Begins to replace the whole state by a snapshot's.
    ///
    /// # Errors
    /// When RocksDB fails.
    pub fn install(&self) -> Result<Install, EngineError> {
        Install::begin(self.clone())
    }

    /// Bytes of memory for what was written lately.
    pub fn remembered_bytes(&self) -> u64 {
        let recents = self.0.writer.lock().unwrap_or_else(PoisonError::into_inner);
        u64::try_from(recents.bytes()).unwrap_or(u64::MAX)
    }

    /// Another number after each replacement of the whole state: what was known of it before is worth nothing.
    pub fn installs(&self) -> u64 {
        self.0.installs.load(Ordering::Acquire)
    }

    /// SHA-256 over every row: replicas at the same position have the same one.
    ///
    /// # Errors
    /// When RocksDB fails, or the state is just being replaced.
    pub fn state_hash(&self) -> Result<[u8; 32], ReadError> {
        Ok(self.snapshot()?.hash()?)
    }

    /// Reads something, unless what it brings may be of a state that is half replaced.
    pub(crate) fn whole<T>(&self, read: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
        let before = self.installs();
        if before % 2 == 1 {
            return Err(ReadError::Installing);
        }
        let found = read();
        if self.installs() == before { found } else { Err(ReadError::Installing) }
    }

    /// Says that reads are no good from now on.
    pub(crate) fn begin_install(&self) {
        self.0.installs.fetch_or(1, Ordering::AcqRel);
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    pub(crate) fn known(&self) -> &Known {
        &self.0.known
    }

    pub(crate) fn id(&self) -> RegionId {
        self.0.id
    }

    /// What is known about one namespace, without copying all of them.
    pub(crate) fn with_namespace<T>(
        &self,
        id: NamespaceId,
        read: impl FnOnce(&NamespaceInfo) -> T,
    ) -> Option<T> {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).get(id).map(|info| read(info))
    }

    pub(crate) fn table(&self) -> Table {
        self.0.table.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads everything anew after an installation, and tells the listener that all may have changed.
    pub(crate) fn reload(&self) -> Result<(), EngineError> {
        let (table, applied) =
            (read_table(&self.0.engine, self.0.id)?, read_applied(&self.0.engine, self.0.id)?);
        self.0.writer.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let before = self.table();
        let touched: BTreeMap<_, _> = before.iter().chain(table.iter()).map(|info| (info.id, ())).collect();
        *self.0.table.write().unwrap_or_else(PoisonError::into_inner) = table;
        self.0.flushed.store(applied.index, Ordering::Release);
        *self.0.applied.write().unwrap_or_else(PoisonError::into_inner) = applied;
        self.0.installs.fetch_add(1, Ordering::AcqRel);
        self.tell(&touched.into_keys().collect::<Vec<_>>());
        Ok(())
    }
}

fn read_applied(engine: &Engine, id: RegionId) -> Result<Applied, EngineError> {
    let Some(row) = engine.db.get_cf(engine.family(META)?, meta_key(id, APPLIED, &[]))? else {
        return Ok(Applied::default());
    };
    parse_applied(&row)
}

/// Reads the position's row back.
pub(crate) fn parse_applied(row: &[u8]) -> Result<Applied, EngineError> {
    let (index, host) = take_u64(row, "position")?;
    Ok(Applied { index, host: Bytes::copy_from_slice(host) })
}

/// The key of the position's row.
pub(crate) fn applied_key(region: RegionId) -> Vec<u8> {
    meta_key(region, APPLIED, &[])
}

fn read_table(engine: &Engine, id: RegionId) -> Result<Table, EngineError> {
    let prefix = meta_key(id, NAMESPACE, &[]);
    let mode = rocksdb::IteratorMode::From(&prefix, rocksdb::Direction::Forward);
    let mut table = Table::default();
    for item in engine.db.iterator_cf(engine.family(META)?, mode) {
        let (key, row) = item?;
        if !key.starts_with(&prefix) {
            break;
        }
        table.insert(NamespaceInfo::decode(&row)?);
    }
    Ok(table)
}

/// The key that a row of `meta` in a snapshot, perhaps of another region, has in this one.
pub(crate) fn meta_of_snapshot(region: RegionId, key: &[u8]) -> Result<Vec<u8>, EngineError> {
    let (_, rest) = take_u64(key, "snapshot row")?;
    match rest.split_first() {
        Some((&kind @ (COUNTERS | NAMESPACE | STAGED), rest)) => Ok(meta_key(region, kind, rest)),
        _ => Err(EngineError::Corrupt { what: "snapshot row" }),
    }
}
