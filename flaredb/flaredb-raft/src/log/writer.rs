//! The one thread of a node that writes its log.
//!
//! It takes whatever waits, of all regions, into one write with one sync; while that sync runs the next batch
//! gathers. There is no timer: the running sync is the batching window. Completions are reported in the order in
//! which the writes were handed over.
//!
//! A failed write or sync is never retried: the fatal hook is called, and every write from then on fails. The one
//! exception is a write that found the disk full, which the engine takes back whole: it is repeated until there is
//! room, and nothing is reported meanwhile.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread::JoinHandle,
    time::Instant,
};

use openraft::{entry::RaftEntry as _, storage::IOFlushed};
use raft_engine::{Command, LogBatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::{
    Engine, engine_error,
    record::{Record, Records},
    region::{COMMITTED_KEY, PURGED_KEY, RegionLog, VOTE_KEY, encode_log_id, encode_vote},
};
use crate::{
    entry::Entry,
    fatal::{FatalError, FatalHook},
    metrics::Metrics,
    planted::{self, Bug},
    simulation::SimulatedDisk,
    space::Space,
    types::{TypeConfig, Vote},
};

/// Writes that may wait; a full queue holds the regions back.
const QUEUE_WRITES_MAX: usize = 1024;
/// KiB of entries that may wait.
const QUEUE_KIB_MAX: u32 = 64 << 10;
/// Bytes after which a batch takes no more writes.
const BATCH_BYTES_MAX: usize = 4 << 20;

/// One change to a region's log.
pub(super) enum Write {
    Append {
        region: Arc<RegionLog>,
        epoch: u64,
        entries: Vec<Entry>,
        done: IOFlushed<TypeConfig>,
        _budget: OwnedSemaphorePermit,
    },
    Vote {
        region: Arc<RegionLog>,
        vote: Vote,
        done: oneshot::Sender<io::Result<()>>,
    },
    Purge {
        region: Arc<RegionLog>,
        emptied: bool,
    },
    /// Writes the committed position of a region that goes to rest.
    Settle {
        region: Arc<RegionLog>,
        done: oneshot::Sender<io::Result<()>>,
    },
    Stop,
}

impl Write {
    fn bytes(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.iter().map(|entry| entry.record().len()).sum(),
            _ => 0,
        }
    }

    fn entries(&self) -> usize {
        match self {
            Self::Append { entries, .. } => entries.len(),
            _ => 0,
        }
    }

    fn needs_sync(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Vote { .. })
    }

    fn complete(self, result: io::Result<()>) {
        match self {
            Self::Append { region, epoch, entries, done, .. } => {
                if let (Ok(()), Some(last)) = (&result, entries.last()) {
                    region.mark_written(epoch, last.index() + 1);
                }
                done.io_completed(result);
            }
            Self::Vote { region, vote, done } => {
                if result.is_ok() {
                    region.set_vote(vote);
                }
                // The region may have stopped waiting; then nobody acts on the vote.
                let _unheard = done.send(result);
            }
            Self::Settle { done, .. } => {
                let _unheard = done.send(result);
            }
            Self::Purge { .. } | Self::Stop => {}
        }
    }
}

/// Hands writes to the thread.
#[derive(Clone, Debug)]
pub(crate) struct WriterHandle {
    queue: mpsc::Sender<Write>,
    budget: Arc<Semaphore>,
    space: Space,
}

impl WriterHandle {
    pub(super) async fn send(&self, write: Write) -> io::Result<()> {
        self.queue.send(write).await.map_err(|_closed| stopped())
    }

    /// Waits until this many bytes of entries may be queued.
    pub(super) async fn budget(&self, bytes: usize) -> io::Result<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(QUEUE_KIB_MAX);
        Arc::clone(&self.budget).acquire_many_owned(kib).await.map_err(|_closed| stopped())
    }

    /// Whether there is room to write.
    pub(crate) fn space(&self) -> &Space {
        &self.space
    }

    /// Lets the thread finish what waits and end. What waits for room on the disk fails.
    pub(crate) async fn stop(&self) {
        self.space.end();
        // An error means that it has ended already.
        let _ended = self.queue.send(Write::Stop).await;
    }
}

fn stopped() -> io::Error {
    io::Error::other("the log writer has stopped")
}

/// Starts the thread.
pub(crate) fn spawn(
    engine: Arc<Engine>,
    fatal: FatalHook,
    metrics: Metrics,
) -> io::Result<(WriterHandle, JoinHandle<()>)> {
    let (handle, writer) = new(engine, fatal, metrics);
    let thread = std::thread::Builder::new().name("raft-log".to_owned()).spawn(move || writer.run())?;
    Ok((handle, thread))
}

/// Makes a writer that runs as a task, for a simulation.
pub(crate) fn simulated(
    engine: Arc<Engine>,
    fatal: FatalHook,
    metrics: Metrics,
    disk: Arc<dyn SimulatedDisk>,
) -> (WriterHandle, impl Future<Output = ()>) {
    let (handle, writer) = new(engine, fatal, metrics);
    (handle, writer.run_simulated(disk))
}

fn new(engine: Arc<Engine>, fatal: FatalHook, metrics: Metrics) -> (WriterHandle, Writer) {
    let (queue, waiting) = mpsc::channel(QUEUE_WRITES_MAX);
    let budget = Arc::new(Semaphore::new(QUEUE_KIB_MAX as usize));
    let space = Space::default();
    let writer = Writer { engine, waiting, fatal, metrics, space: space.clone(), failed: false };
    (WriterHandle { queue, budget, space }, writer)
}

struct Writer {
    engine: Arc<Engine>,
    waiting: mpsc::Receiver<Write>,
    fatal: FatalHook,
    metrics: Metrics,
    space: Space,
    failed: bool,
}

impl Writer {
    fn run(mut self) {
        while let Some(first) = self.waiting.blocking_recv() {
            let writes = self.gather(first);
            let stop = writes.iter().any(|write| matches!(write, Write::Stop));
            self.write(writes);
            if stop {
                return;
            }
        }
    }

    async fn run_simulated(mut self, disk: Arc<dyn SimulatedDisk>) {
        while let Some(first) = self.waiting.recv().await {
            let writes = self.gather(first);
            let stop = writes.iter().any(|write| matches!(write, Write::Stop));
            tokio::time::sleep(disk.write_delay()).await;
            self.write(writes);
            if stop {
                return;
            }
        }
    }

    fn gather(&mut self, first: Write) -> Vec<Write> {
        let mut bytes = first.bytes();
        let mut writes = vec![first];
        while bytes < BATCH_BYTES_MAX {
            let Ok(write) = self.waiting.try_recv() else { break };
            bytes += write.bytes();
            writes.push(write);
        }
        writes
    }

    fn write(&mut self, writes: Vec<Write>) {
        let result = match self.failed {
            true => Err(stopped()),
            false => self.write_when_there_is_room(&writes),
        };
        if let (Err(error), false) = (&result, self.failed) {
            self.failed = true;
            // Only a node that is ending gives up waiting for room.
            if error.kind() != io::ErrorKind::StorageFull {
                self.fatal.trip(&FatalError::Log(copy(error)));
            }
        }
        for write in writes {
            write.complete(result.as_ref().map(|_written| ()).map_err(copy));
        }
    }

    fn write_when_there_is_room(&self, writes: &[Write]) -> io::Result<()> {
        loop {
            match self.write_batch(writes) {
                Err(error) if error.kind() == io::ErrorKind::StorageFull => {
                    self.metrics.log_full.inc();
                    if !self.space.wait() {
                        return Err(error);
                    }
                }
                written => {
                    self.space.written();
                    return written;
                }
            }
        }
    }

    fn write_batch(&self, writes: &[Write]) -> io::Result<()> {
        let sync = writes.iter().any(Write::needs_sync);
        let mut batch = LogBatch::with_capacity(writes.len() * 2);
        for write in writes {
            add(&mut batch, write)?;
        }
        let started = Instant::now();
        // raft-engine panics when a sync fails.
        catch_unwind(AssertUnwindSafe(|| {
            self.engine.write(&mut batch, sync && !planted::has(Bug::SkipFsync))
        }))
        .map_err(|_panic| io::Error::other("the log engine panicked while writing"))??;
        if sync {
            self.count(writes, started);
        }
        Ok(())
    }

    fn count(&self, writes: &[Write], started: Instant) {
        let entries: usize = writes.iter().map(Write::entries).sum();
        let bytes: usize = writes.iter().map(Write::bytes).sum();
        self.metrics.syncs.inc();
        self.metrics.sync_seconds.observe(started.elapsed().as_secs_f64());
        self.metrics.log_entries.inc_by(entries as u64);
        self.metrics.log_bytes.inc_by(bytes as u64);
        self.metrics.sync_entries.observe(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
    }
}

fn copy(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn add(batch: &mut LogBatch, write: &Write) -> io::Result<()> {
    match write {
        Write::Append { region, epoch, entries, .. } => {
            let records: Vec<Record> =
                entries.iter().map(|entry| Record::new(entry.record().clone())).collect();
            batch.add_entries::<Records>(region.id, &records).map_err(engine_error)?;
            add_committed(batch, region, *epoch, entries.last().map_or(0, |last| last.index() + 1))
        }
        Write::Vote { region, vote, .. } => put(batch, region.id, VOTE_KEY, encode_vote(vote)),
        Write::Purge { region, emptied } => add_purge(batch, region, *emptied),
        Write::Settle { region, .. } => add_committed(batch, region, 0, 0),
        Write::Stop => Ok(()),
    }
}

fn add_committed(batch: &mut LogBatch, region: &RegionLog, epoch: u64, end: u64) -> io::Result<()> {
    match region.take_committed(epoch, end) {
        Some(committed) => put(batch, region.id, COMMITTED_KEY, encode_log_id(&committed)),
        None => Ok(()),
    }
}

/// Removes what is purged. An emptied log is cleaned altogether: entries that were taken back may still be in
/// the engine, which does not accept the hole that an installed snapshot leaves before the next entry.
fn add_purge(batch: &mut LogBatch, region: &RegionLog, emptied: bool) -> io::Result<()> {
    let values = region.values();
    let Some(purged) = values.purged else { return Ok(()) };
    if emptied {
        batch.add_command(region.id, Command::Clean);
        if let Some(vote) = values.vote {
            put(batch, region.id, VOTE_KEY, encode_vote(&vote))?;
        }
        if let Some(committed) = values.committed.filter(|committed| *committed <= purged) {
            put(batch, region.id, COMMITTED_KEY, encode_log_id(&committed))?;
        }
    } else {
        batch.add_command(region.id, Command::Compact { index: purged.index + 1 });
    }
    put(batch, region.id, PURGED_KEY, encode_log_id(&purged))
}

fn put(batch: &mut LogBatch, region: u64, key: &[u8], value: Vec<u8>) -> io::Result<()> {
    batch.put(region, key.to_vec(), value).map_err(engine_error)
}
