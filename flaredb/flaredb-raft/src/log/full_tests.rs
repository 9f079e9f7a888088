//! A log on a disk that is full: nothing is acknowledged, nothing is lost, and it goes on by itself.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use openraft::{
    entry::{RaftEntry as _, RaftPayload as _},
    storage::{IOFlushed, RaftLogStorage as _},
    type_config::TypeConfigExt as _,
};

use super::{
    open,
    region::RegionLog,
    store::LogStore,
    writer::{self, WriterHandle},
};
use crate::{
    FatalHook, LogConfig, Metrics,
    disk::Disk,
    entry::{Command, Entry, Payload},
    types::{CommittedLeaderId, LogId, TypeConfig, Vote},
};

const CACHE_BYTES: usize = 64 << 10;

struct Log {
    store: LogStore,
    region: Arc<RegionLog>,
    writer: WriterHandle,
    thread: JoinHandle<()>,
}

impl Log {
    fn open(disk: &Disk, prefill_bytes: u64) -> Self {
        let (segment_bytes, retained_bytes) = (256 << 10, 16 << 20);
        let config = LogConfig { segment_bytes, retained_bytes, prefill_bytes, cache_bytes_max: CACHE_BYTES };
        // Another test's `mount` may have inherited the lock of a log that is closed, until it ends.
        let retry = |_attempt| open(&disk.path().join("log"), &config).inspect_err(|_held| yield_long()).ok();
        let engine = (0..500).find_map(retry).unwrap();
        let fatal = FatalHook::new(|error| panic!("{error}"));
        let (writer, thread) = writer::spawn(Arc::clone(&engine), fatal, Metrics::default()).unwrap();
        let region = Arc::new(RegionLog::open(engine, 1, CACHE_BYTES).unwrap());
        Self { store: LogStore::new(Arc::clone(&region), writer.clone()), region, writer, thread }
    }

    /// Appends one entry; whether it was acknowledged, or waits for room.
    async fn append(&mut self, index: u64) -> bool {
        let (done, mut flushed) = TypeConfig::oneshot();
        self.store.append([entry(index)], IOFlushed::signal(done)).await.unwrap();
        loop {
            match tokio::time::timeout(Duration::from_millis(20), &mut flushed).await {
                Ok(flushed) => break flushed.unwrap().map(|()| true).unwrap(),
                Err(_late) if self.writer.space().log_waits() => break false,
                Err(_late) => {}
            }
        }
    }

    async fn close(self) {
        self.writer.stop().await;
        self.thread.join().unwrap();
        self.region.close();
    }
}

fn yield_long() {
    std::thread::sleep(Duration::from_millis(10));
}

fn entry(index: u64) -> Entry {
    let log_id = LogId::new(CommittedLeaderId { term: 1, node_id: 1 }, index);
    Entry::new(log_id, Payload::normal(Command::new(&[7; 16 << 10])))
}

/// Appends until the disk is met; returns how many entries were acknowledged.
async fn append_until_full(log: &mut Log) -> u64 {
    for index in 0.. {
        if !log.append(index).await {
            return index;
        }
    }
    unreachable!()
}

async fn check(disk: &Disk, prefill_bytes: u64) {
    let mut log = Log::open(disk, prefill_bytes);
    disk.fill();
    let acknowledged = append_until_full(&mut log).await;
    assert!(log.writer.space().log_waits() && log.writer.space().is_short());
    disk.free();
    // Behind what waits.
    log.store.save_vote(&Vote::new(2, 1)).await.unwrap();
    assert!(!log.writer.space().log_waits());
    for index in acknowledged + 1..acknowledged + 50 {
        assert!(log.append(index).await);
    }
    log.close().await;
    let mut log = Log::open(disk, prefill_bytes);
    let last = log.store.get_log_state().await.unwrap().last_log_id.unwrap();
    assert_eq!(last.index, acknowledged + 49);
    assert_eq!(log.store.region_entries().await, acknowledged + 50);
    log.close().await;
}

impl LogStore {
    async fn region_entries(&mut self) -> u64 {
        use openraft::RaftLogReader as _;
        self.try_get_log_entries(..).await.unwrap().len() as u64
    }
}

#[tokio::test]
async fn writes_that_meet_a_full_disk_wait_for_room_and_are_acknowledged_then() {
    check(&Disk::of_mib(8), 0).await;
}

#[tokio::test]
async fn files_written_ahead_are_used_up_before_a_write_waits() {
    check(&Disk::of_mib(8), 1 << 20).await;
}

#[tokio::test]
async fn log_that_ends_on_a_full_disk_has_what_it_acknowledged() {
    let disk = Disk::of_mib(8);
    let mut log = Log::open(&disk, 0);
    disk.fill();
    let acknowledged = append_until_full(&mut log).await;
    log.close().await;
    disk.free();
    let mut log = Log::open(&disk, 0);
    assert_eq!(log.store.region_entries().await, acknowledged);
    log.close().await;
}
