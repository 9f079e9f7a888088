//! The engine that holds the log's files, and how it is read where a process has several of them.
//!
//! raft-engine keeps the block that a thread has read last, and knows it by its place in the files alone: file number,
//! offset and length. Another engine of the process (another node of a test or a simulation, or this node started
//! again after its unsynced tail was lost) can have a different block at that place. It would be given the first one's
//! entries, and would copy them into its own files when it collects them. A thread that has read for one engine is
//! therefore never used to read for another.

use std::{
    cell::Cell,
    fmt, io,
    ops::Range,
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use raft_engine::{Config, LogBatch};

use super::{
    files::Files,
    record::{Record, Records},
};

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The engine that this thread has read for.
    static READS_FOR: Cell<Option<u64>> = const { Cell::new(None) };
}

/// An open log engine.
pub(crate) struct Engine {
    files: raft_engine::Engine<Files>,
    /// Unlike that of any other engine of the process, open or not.
    number: u64,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("number", &self.number).finish_non_exhaustive()
    }
}

impl Engine {
    pub(super) fn open(config: Config, files: Files) -> io::Result<Self> {
        let files = raft_engine::Engine::open_with_file_system(config, Arc::new(files));
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        Ok(Self { files: files.map_err(engine_error)?, number })
    }

    /// Writes a batch. Panics when a sync fails.
    pub(super) fn write(&self, batch: &mut LogBatch, sync: bool) -> io::Result<()> {
        self.files.write(batch, sync).map(drop).map_err(engine_error)
    }

    pub(super) fn value(&self, region: u64, key: &[u8]) -> Option<Vec<u8>> {
        self.files.get(region, key)
    }

    pub(super) fn first_index(&self, region: u64) -> Option<u64> {
        self.files.first_index(region)
    }

    pub(super) fn last_index(&self, region: u64) -> Option<u64> {
        self.files.last_index(region)
    }

    /// Reads entries, at least one and at most about `bytes_max` bytes of them. All of the range must be there.
    pub(super) fn entries(
        &self,
        region: u64,
        range: Range<u64>,
        bytes_max: usize,
    ) -> io::Result<Vec<Record>> {
        self.read(|files| {
            let mut records = Vec::new();
            files.fetch_entries_to::<Records>(
                region,
                range.start,
                range.end,
                Some(bytes_max),
                &mut records,
            )?;
            Ok(records)
        })
    }

    /// Removes files that nobody needs, copying what little of them is needed; returns the regions that hold the
    /// oldest ones. Panics when a sync fails.
    pub(crate) fn collect(&self) -> io::Result<Vec<u64>> {
        self.read(raft_engine::Engine::purge_expired_files)
    }

    #[cfg(test)]
    pub(super) fn used_bytes(&self) -> usize {
        self.files.get_used_size()
    }

    fn read<T: Send>(
        &self,
        read: impl FnOnce(&raft_engine::Engine<Files>) -> raft_engine::Result<T> + Send,
    ) -> io::Result<T> {
        if READS_FOR.get().is_none_or(|number| number == self.number) {
            READS_FOR.set(Some(self.number));
            return read(&self.files).map_err(engine_error);
        }
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("raft-log-read".to_owned());
            let reading = thread.spawn_scoped(scope, || read(&self.files))?;
            reading.join().unwrap_or_else(|panic| resume_unwind(panic)).map_err(engine_error)
        })
    }
}

pub(super) fn engine_error(error: raft_engine::Error) -> io::Error {
    match error {
        raft_engine::Error::Io(error) => error,
        // It met a full disk, made room by its own means, and met it again.
        raft_engine::Error::TryAgain(words) => io::Error::new(io::ErrorKind::StorageFull, words),
        other => io::Error::other(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{LogConfig, log::open};

    const ENTRIES: u64 = 20;

    fn record(index: u64, content: u8) -> Record {
        let body = [content; 1 << 10];
        Record::new(Bytes::from([&index.to_be_bytes()[..], &body[..]].concat()))
    }

    /// An engine with entries at the same places as all others that this makes.
    fn filled(dir: &tempfile::TempDir, content: u8) -> Arc<Engine> {
        let (segment_bytes, retained_bytes) = (4 << 10, 8 << 10);
        let config = LogConfig { segment_bytes, retained_bytes, prefill_bytes: 0, cache_bytes_max: 0 };
        let engine = open(dir.path(), &config).unwrap();
        for index in 1..=ENTRIES {
            let mut batch = LogBatch::default();
            batch.add_entries::<Records>(1, &[record(index, content)]).unwrap();
            engine.write(&mut batch, true).unwrap();
        }
        engine
    }

    fn read_first(engine: &Engine) -> Record {
        engine.entries(1, 1..2, usize::MAX).unwrap().remove(0)
    }

    #[test]
    fn thread_that_read_for_one_engine_reads_the_entries_of_another_as_they_are() {
        let (one_dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (filled(&one_dir, b'1'), filled(&other_dir, b'2'));
        for _turn in 0..2 {
            assert_eq!(read_first(&one), record(1, b'1'));
            assert_eq!(read_first(&other), record(1, b'2'));
        }
    }

    #[test]
    fn engine_collects_its_own_entries_on_a_thread_that_read_for_another() {
        let (one_dir, other_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (one, other) = (filled(&one_dir, b'1'), filled(&other_dir, b'2'));
        assert_eq!(read_first(&one), record(1, b'1'));
        let before = other.used_bytes();
        other.collect().unwrap();
        assert_ne!(other.used_bytes(), before, "nothing was collected");
        drop(other);
        let config = LogConfig { prefill_bytes: 0, ..LogConfig::default() };
        let other = open(other_dir.path(), &config).unwrap();
        assert_eq!(read_first(&other), record(1, b'2'));
    }
}
