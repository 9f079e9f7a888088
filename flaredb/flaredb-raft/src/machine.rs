//! Puts a [`StateMachine`] under openraft.
//!
//! Committed entries are applied in batches, whatever is ready, on a thread that may block, while the Raft core
//! goes on appending. A snapshot is a handle on a consistent view and never a copy; it is handed out only after
//! everything that it shows has been flushed, because openraft purges the log up to it.

mod applier;
pub(crate) mod spool;

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{FutureExt as _, Stream, StreamExt as _};
use openraft::{
    RaftSnapshotBuilder,
    entry::RaftEntry as _,
    storage::{ApplyResponder, EntryResponder, RaftStateMachine},
};
use tokio::sync::{Notify, watch};

use self::applier::Applier;
use crate::{
    codec::{HostState, invalid},
    entry::Entry,
    error::ProposeError,
    fatal::{FatalError, FatalHook},
    metrics::Metrics,
    planted::{self, Bug},
    simulation,
    state_machine::{Applied, CommandEntry, SnapshotReader, SnapshotWriter, StateMachine},
    types::{LogId, Snapshot, SnapshotMeta, StoredMembership, TypeConfig, position},
};

/// Bytes of entries applied in one batch, unless a single entry is larger.
const APPLY_BYTES_MAX: usize = 1 << 20;
/// Entries applied in one batch.
const APPLY_ENTRIES_MAX: usize = 1024;
/// How often a flush that found the disk full is tried again, where something waits for it.
const FLUSH_RETRY_DELAY: Duration = Duration::from_millis(200);
/// Bytes asked of the state machine for one piece of a snapshot.
pub(crate) const SNAPSHOT_CHUNK_BYTES: usize = 1 << 20;

/// What travels through openraft in the name of a snapshot.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// A view of this node's state machine.
    View(Box<dyn SnapshotReader>),
    /// Chunks that a peer has sent.
    Received(spool::Spool),
}

/// A state machine with what the host keeps beside it.
#[derive(Debug)]
pub(crate) struct Shared {
    region_id: u64,
    inner: Arc<dyn StateMachine>,
    applier: Applier,
    state: Mutex<HostState>,
    applied: watch::Sender<u64>,
    /// Bytes of log applied since the last checkpoint.
    unflushed_bytes: AtomicU64,
    checkpoint_bytes: u64,
    pub(crate) checkpoint_due: Notify,
    ending: AtomicBool,
    fatal: FatalHook,
    metrics: Metrics,
}

/// The state machine of one region as openraft sees it.
#[derive(Clone, Debug)]
pub(crate) struct Machine(pub(crate) Arc<Shared>);

impl Machine {
    /// Reads the position of a state machine. Blocks.
    pub(crate) fn open(
        region_id: u64,
        inner: Arc<dyn StateMachine>,
        checkpoint_bytes: u64,
        fatal: FatalHook,
        metrics: Metrics,
    ) -> io::Result<Self> {
        let state = HostState::from_applied(&inner.applied()?)?;
        let (applied, _) = watch::channel(position(state.last_applied.as_ref()));
        Ok(Self(Arc::new(Shared {
            region_id,
            inner,
            applier: Applier::start(region_id)?,
            state: Mutex::new(state),
            applied,
            unflushed_bytes: AtomicU64::new(0),
            checkpoint_bytes,
            checkpoint_due: Notify::new(),
            ending: AtomicBool::new(false),
            fatal,
            metrics,
        })))
    }
}

impl Shared {
    pub(crate) fn watch_applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// Whether the state machine lets a forwarded command in.
    pub(crate) fn admit(&self, command: &[u8]) -> Result<(), ProposeError> {
        self.inner.admit(command)
    }

    pub(crate) fn flushed_index(&self) -> u64 {
        self.inner.flushed_index()
    }

    fn state(&self) -> HostState {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn advance(&self, state: HostState) {
        let index = position(state.last_applied.as_ref());
        *self.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        self.applied.send_replace(index);
    }

    /// Lets flushes that wait for room on the disk fail.
    pub(crate) fn end_waits(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }

    /// A view of the state machine all of which is on disk, as soon as there is room for it.
    pub(crate) async fn flushed(self: &Arc<Self>) -> io::Result<Snapshot> {
        let mut told = false;
        loop {
            if let Some(view) = self.blocking(|shared| when_there_is_room(shared.flushed_view())).await? {
                return Ok(view);
            }
            if self.ending.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if !std::mem::replace(&mut told, true) {
                tracing::warn!(region_id = self.region_id, "the disk is full; the state is flushed later");
            }
            tokio::time::sleep(FLUSH_RETRY_DELAY).await;
        }
    }

    /// Reports an error of the state machine: the replica is at its end.
    fn fail(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::StorageFull && self.ending.load(Ordering::Relaxed) {
            return error;
        }
        let copy = io::Error::new(error.kind(), error.to_string());
        self.fatal.trip(&FatalError::StateMachine { region_id: self.region_id, source: copy });
        error
    }

    /// Runs a blocking call of the state machine.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        call: impl FnOnce(&Self) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let shared = Arc::clone(self);
        match simulation::blocking(move || call(&shared)).await {
            Ok(called) => called.map_err(|error| self.fail(error)),
            // The runtime is going down and took the call with it.
            Err(ended) if ended.is_cancelled() => Err(io::Error::other(ended)),
            Err(panicked) => Err(self.fail(io::Error::other(panicked))),
        }
    }

    async fn apply(self: &Arc<Self>, batch: Batch) -> io::Result<()> {
        let Batch { state, commands, responders, bytes } = batch;
        let count = commands.len();
        let applied = state.to_applied();
        let shared = Arc::clone(self);
        let applying = self.applier.run(move || shared.inner.apply(commands, applied));
        let responses =
            applying.await.map_err(io::Error::other).flatten().map_err(|error| self.fail(error))?;
        if responses.len() != count {
            return Err(self.fail(invalid("the state machine has not answered every entry")));
        }
        self.advance(state);
        self.metrics.apply_batches.inc();
        self.metrics.applied_entries.inc_by(count as u64);
        for (responder, response) in responders.into_iter().zip(responses) {
            if let Some(responder) = responder {
                responder.send(response);
            }
        }
        self.count_bytes(bytes as u64);
        Ok(())
    }

    fn count_bytes(&self, bytes: u64) {
        let before = self.unflushed_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before < self.checkpoint_bytes && before + bytes >= self.checkpoint_bytes {
            self.checkpoint_due.notify_one();
        }
    }

    /// A view of the state machine all of which is on disk. Blocks.
    fn flushed_view(&self) -> io::Result<Snapshot> {
        self.unflushed_bytes.store(0, Ordering::Relaxed);
        let view = self.inner.snapshot()?;
        let applied = view.applied();
        let flushes = !planted::has(Bug::PurgeBeforeFlush);
        if flushes && self.inner.flushed_index() < applied.index && self.inner.flush()? < applied.index {
            return Err(invalid("a flush has not covered what was applied before it"));
        }
        let state = HostState::from_applied(&applied)?;
        let meta = SnapshotMeta { last_log_id: state.last_applied, last_membership: state.membership };
        Ok(Snapshot { meta, snapshot: SnapshotData::View(view) })
    }

    /// Replaces the state machine's data. Blocks.
    fn install(&self, applied: Applied, data: SnapshotData) -> io::Result<()> {
        let mut writer = self.inner.install()?;
        match data {
            SnapshotData::View(view) => copy_view(&*view, &mut *writer)?,
            SnapshotData::Received(spool) => {
                for chunk in spool.chunks()? {
                    writer.write(chunk?)?;
                }
            }
        }
        writer.finish(applied)
    }
}

/// What a flush brought, or nothing if it found the disk full; that changes nothing and may be repeated.
fn when_there_is_room<T>(flushed: io::Result<T>) -> io::Result<Option<T>> {
    match flushed {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(None),
        other => other.map(Some),
    }
}

fn copy_view(view: &dyn SnapshotReader, writer: &mut dyn SnapshotWriter) -> io::Result<()> {
    let mut cursor = Some(Vec::new());
    while let Some(at) = cursor {
        let chunk = view.read(&at, SNAPSHOT_CHUNK_BYTES)?;
        writer.write(chunk.data)?;
        cursor = chunk.next;
    }
    Ok(())
}

/// Entries to apply in one call.
struct Batch {
    /// The host state after the batch.
    state: HostState,
    commands: Vec<CommandEntry>,
    responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    bytes: usize,
}

impl Batch {
    fn after(state: HostState) -> Self {
        Self { state, commands: Vec::new(), responders: Vec::new(), bytes: 0 }
    }

    fn push(&mut self, entry: &Entry, responder: Option<ApplyResponder<TypeConfig>>) {
        let log_id = entry.log_id();
        if let Some(membership) = entry.get_membership() {
            self.state.membership = StoredMembership::new(Some(log_id), membership);
        }
        self.state.last_applied = Some(log_id);
        self.bytes += entry.record().len();
        self.commands.push(CommandEntry { index: position(Some(&log_id)), command: entry.command() });
        self.responders.push(responder);
    }

    fn is_ended(&self, machine: &dyn StateMachine) -> bool {
        self.commands.last().is_some_and(|last| machine.ends_batch(&last.command))
    }

    fn is_full(&self) -> bool {
        self.bytes >= APPLY_BYTES_MAX || self.commands.len() >= APPLY_ENTRIES_MAX
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        let state = self.0.state();
        Ok((state.last_applied, state.membership))
    }

    async fn apply<Strm>(&mut self, entries: Strm) -> io::Result<()>
    where
        Strm: Stream<Item = io::Result<EntryResponder<TypeConfig>>> + Unpin + Send,
    {
        let mut entries = entries.fuse();
        while let Some(first) = entries.next().await {
            let mut batch = Batch::after(self.0.state());
            let (entry, responder) = first?;
            batch.push(&entry, responder);
            while !batch.is_full() && !batch.is_ended(&*self.0.inner) {
                let Some(Some(next)) = entries.next().now_or_never() else { break };
                let (entry, responder) = next?;
                batch.push(&entry, responder);
            }
            self.0.apply(batch).await?;
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, snapshot: SnapshotData) -> io::Result<()> {
        let state = HostState { last_applied: meta.last_log_id, membership: meta.last_membership.clone() };
        let applied = state.to_applied();
        self.0.blocking(move |shared| shared.install(applied, snapshot)).await?;
        self.0.metrics.snapshots_installed.inc();
        self.0.advance(state);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Snapshot>> {
        let view = self.0.flushed().await?;
        Ok(view.meta.last_log_id.is_some().then_some(view))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> io::Result<Snapshot> {
        self.0.flushed().await
    }
}

#[cfg(test)]
mod tests;
