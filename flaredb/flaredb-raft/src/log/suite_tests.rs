//! openraft's own storage suite on the real log, and what closing, tearing and failing do to the log.

use std::{path::Path, sync::Arc, sync::Mutex, thread::JoinHandle};

use openraft::{
    RaftLogReader as _, StorageError,
    entry::{RaftEntry as _, RaftPayload as _},
    storage::{IOFlushed, RaftLogStorage as _},
    testing::log::{StoreBuilder, Suite},
    type_config::TypeConfigExt as _,
};
use tempfile::TempDir;

use super::{
    open,
    region::RegionLog,
    store::LogStore,
    writer::{self, WriterHandle},
};
use crate::{
    FatalHook, LogConfig, Metrics,
    entry::{Command, Entry, Payload},
    journal::Journal,
    machine::Machine,
    types::{CommittedLeaderId, LogId, TypeConfig, Vote},
};

const CACHE_BYTES: usize = 1 << 20;

fn small() -> LogConfig {
    LogConfig {
        segment_bytes: 1 << 20,
        retained_bytes: 4 << 20,
        prefill_bytes: 0,
        cache_bytes_max: CACHE_BYTES,
    }
}

/// A node's log as a process has it.
struct Log {
    writer: WriterHandle,
    thread: Option<JoinHandle<()>>,
    engine: Option<Arc<super::Engine>>,
    regions: Mutex<Vec<Arc<RegionLog>>>,
    metrics: Metrics,
    cache_bytes_max: usize,
}

impl Log {
    fn open(dir: &Path) -> Self {
        Self::open_with(dir, CACHE_BYTES)
    }

    fn open_with(dir: &Path, cache_bytes_max: usize) -> Self {
        Self::over(open(dir, &small()).unwrap(), cache_bytes_max)
    }

    fn over(engine: Arc<super::Engine>, cache_bytes_max: usize) -> Self {
        let metrics = Metrics::default();
        let (writer, thread) =
            writer::spawn(Arc::clone(&engine), FatalHook::abort(), metrics.clone()).unwrap();
        let (thread, engine) = (Some(thread), Some(engine));
        Self { writer, thread, engine, regions: Mutex::default(), metrics, cache_bytes_max }
    }

    fn region(&self, id: u64) -> LogStore {
        let engine = Arc::clone(self.engine.as_ref().unwrap());
        let region = Arc::new(RegionLog::open(engine, id, self.cache_bytes_max).unwrap());
        self.regions.lock().unwrap().push(Arc::clone(&region));
        LogStore::new(region, self.writer.clone())
    }

    async fn close(mut self) {
        self.writer.stop().await;
        self.thread.take().unwrap().join().unwrap();
        self.regions.lock().unwrap().iter().for_each(|region| region.close());
        self.engine = None;
    }
}

fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(CommittedLeaderId { term, node_id: 1 }, index)
}

fn entry(term: u64, index: u64, body: &[u8]) -> Entry {
    Entry::new(log_id(term, index), Payload::normal(Command::new(body)))
}

fn entries(term: u64, indexes: std::ops::Range<u64>) -> Vec<Entry> {
    indexes.map(|index| entry(term, index, format!("{term}/{index}").as_bytes())).collect()
}

async fn append(store: &mut LogStore, entries: Vec<Entry>) {
    let (done, flushed) = TypeConfig::oneshot();
    store.append(entries, IOFlushed::signal(done)).await.unwrap();
    flushed.await.unwrap().unwrap();
}

async fn indexes(store: &mut LogStore) -> Vec<(u64, u64)> {
    let entries = store.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| (entry.log_id().leader_id.term, entry.index())).collect()
}

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, (Log, TempDir)> for Builder {
    async fn build(&self) -> Result<((Log, TempDir), LogStore, Machine), StorageError<TypeConfig>> {
        let dir = tempfile::tempdir().unwrap();
        let log = Log::open(dir.path());
        let store = log.region(7);
        let machine =
            Machine::open(7, Arc::new(Journal::default()), 1 << 20, FatalHook::abort(), Metrics::default());
        Ok(((log, dir), store, machine.unwrap()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn storage_passes_the_suite_of_openraft() {
    Suite::test_all(Builder).await.unwrap();
}

#[tokio::test]
async fn reopened_log_has_its_entries_vote_and_committed_position() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path());
    let mut store = log.region(1);
    append(&mut store, entries(1, 0..50)).await;
    store.save_vote(&Vote::new(3, 2)).await.unwrap();
    store.save_committed(Some(log_id(1, 40))).await.unwrap();
    append(&mut store, entries(2, 50..60)).await;
    store.purge(log_id(1, 9)).await.unwrap();
    store.settle().await.unwrap();
    log.close().await;

    let log = Log::open(dir.path());
    let mut store = log.region(1);
    assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new(3, 2)));
    assert_eq!(store.read_committed().await.unwrap(), Some(log_id(1, 40)));
    let state = store.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1, 9)), Some(log_id(2, 59))));
    let read = store.try_get_log_entries(..).await.unwrap();
    assert_eq!(read, [entries(1, 10..50), entries(2, 50..60)].concat());
    log.close().await;
}

#[tokio::test]
async fn overwritten_tail_stays_overwritten_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path());
    let mut store = log.region(1);
    append(&mut store, entries(1, 0..10)).await;
    store.truncate_after(Some(log_id(1, 4))).await.unwrap();
    append(&mut store, entries(2, 5..7)).await;
    let expected = [(1, 0), (1, 1), (1, 2), (1, 3), (1, 4), (2, 5), (2, 6)];
    assert_eq!(indexes(&mut store).await, expected);
    log.close().await;

    let log = Log::open(dir.path());
    assert_eq!(indexes(&mut log.region(1)).await, expected);
    log.close().await;
}

#[tokio::test]
async fn log_goes_on_after_the_hole_that_an_installed_snapshot_leaves() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path());
    let mut store = log.region(1);
    store.save_vote(&Vote::new(2, 1)).await.unwrap();
    append(&mut store, entries(1, 0..10)).await;
    store.truncate_after(Some(log_id(1, 5))).await.unwrap();
    store.purge(log_id(2, 100)).await.unwrap();
    append(&mut store, entries(2, 101..103)).await;
    log.close().await;

    let log = Log::open(dir.path());
    let mut store = log.region(1);
    assert_eq!(indexes(&mut store).await, [(2, 101), (2, 102)]);
    assert_eq!(store.read_vote().await.unwrap(), Some(Vote::new(2, 1)));
    assert_eq!(store.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(2, 100)));
    log.close().await;
}

#[tokio::test]
async fn entries_that_left_the_cache_are_read_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open_with(dir.path(), 200);
    let mut store = log.region(1);
    for start in (0..100).step_by(10) {
        append(&mut store, entries(1, start..start + 10)).await;
    }
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries(1, 0..100));
    assert_eq!(store.try_get_log_entries(37..39).await.unwrap(), entries(1, 37..39));
    assert_eq!(store.try_get_log_entries(95..200).await.unwrap(), entries(1, 95..100));
    log.close().await;
}

#[tokio::test]
async fn torn_last_write_is_cut_off_and_the_rest_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path());
    let mut store = log.region(1);
    for index in 0..20 {
        append(&mut store, entries(1, index..index + 1)).await;
    }
    log.close().await;
    let file = newest_log_file(dir.path());
    let length = std::fs::metadata(&file).unwrap().len();
    // The last write is longer than this, so it is torn and those before it are whole.
    std::fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(length - 5).unwrap();

    let log = Log::open(dir.path());
    let mut store = log.region(1);
    assert_eq!(store.try_get_log_entries(..).await.unwrap(), entries(1, 0..19));
    append(&mut store, entries(2, 19..21)).await;
    log.close().await;

    let log = Log::open(dir.path());
    let expected = [entries(1, 0..19), entries(2, 19..21)].concat();
    assert_eq!(log.region(1).try_get_log_entries(..).await.unwrap(), expected);
    log.close().await;
}

/// A copy of the files as a kill leaves them: the log has not been closed.
fn after_kill(dir: &Path) -> TempDir {
    let left = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), left.path().join(file.file_name())).unwrap();
    }
    left
}

#[tokio::test]
async fn kill_after_kill_leaves_all_that_was_acknowledged_in_files_that_were_written_ahead() {
    let mut dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let config = LogConfig { segment_bytes: 64 << 10, prefill_bytes: 256 << 10, ..small() };
        let engine = open(dir.path(), &config).unwrap();
        let log = Log::over(engine, CACHE_BYTES);
        let mut store = log.region(1);
        let body = |index: u64| entry(1, index, &index.to_be_bytes().repeat(512));
        for index in round * 25..(round + 1) * 25 {
            append(&mut store, vec![body(index)]).await;
        }
        let left = after_kill(dir.path());
        log.close().await;
        dir = left;
        let log = Log::over(open(dir.path(), &config).unwrap(), 0);
        let read = log.region(1).try_get_log_entries(..).await.unwrap();
        assert_eq!(read, (0..(round + 1) * 25).map(body).collect::<Vec<_>>());
        log.close().await;
    }
}

fn newest_log_file(dir: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|end| end == "raftlog")).max().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn writers_of_many_regions_share_syncs() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path());
    let mut writers = tokio::task::JoinSet::new();
    for region in 1..=64 {
        let mut store = log.region(region);
        writers.spawn(async move {
            for index in 0..20 {
                append(&mut store, entries(1, index..index + 1)).await;
            }
        });
    }
    writers.join_all().await;
    let (entries, syncs) = (log.metrics.log_entries.get(), log.metrics.syncs.get());
    assert_eq!(entries, 64 * 20);
    assert!(syncs * 4 < entries, "{syncs} syncs for {entries} entries");
    log.close().await;
}

#[tokio::test]
async fn append_that_would_leave_a_hole_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path());
    let mut store = log.region(1);
    append(&mut store, entries(1, 0..3)).await;
    assert!(store.append(entries(1, 4..5), IOFlushed::noop()).await.is_err());
    assert_eq!(indexes(&mut store).await, [(1, 0), (1, 1), (1, 2)]);
    log.close().await;
}

#[tokio::test]
async fn failed_write_is_fatal_and_nothing_is_acknowledged_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), &LogConfig { segment_bytes: 64 << 10, ..small() }).unwrap();
    let (sent, tripped) = std::sync::mpsc::sync_channel(8);
    let fatal = FatalHook::new(move |error| sent.send(error.to_string()).unwrap());
    let (writer, thread) = writer::spawn(Arc::clone(&engine), fatal, Metrics::default()).unwrap();
    let region = Arc::new(RegionLog::open(Arc::clone(&engine), 1, CACHE_BYTES).unwrap());
    let mut store = LogStore::new(region, writer.clone());
    // The next file of the log cannot be made.
    std::fs::remove_dir_all(dir.path()).unwrap();
    let mut failed = 0;
    for index in 0..40 {
        let (done, flushed) = TypeConfig::oneshot();
        store.append([entry(1, index, &[7; 8 << 10])], IOFlushed::signal(done)).await.unwrap();
        match flushed.await.unwrap() {
            Ok(()) => assert_eq!(failed, 0, "entry {index} was acknowledged after a failure"),
            Err(_) => failed += 1,
        }
    }
    assert!(failed > 0);
    assert!(store.save_vote(&Vote::new(2, 1)).await.is_err());
    assert_eq!(tripped.try_iter().collect::<Vec<_>>(), ["the Raft log could not be written"]);
    writer.stop().await;
    thread.join().unwrap();
}
