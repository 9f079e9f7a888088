//! The room of a node as writes, applies and flushes see it.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use flaredb_engine::EngineError;

use super::Disk;

/// How often an apply that found the disk full is tried again.
const RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long no flush is asked for after one that found the disk full. RocksDB gets over that by itself, but not while a
/// flush is under way, and one that fails is under way for a second.
const FLUSH_REST: Duration = Duration::from_secs(3);

/// Why writes are refused at the moment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// There is no room where it would be needed.
    #[error("the disk is full, nothing was written: {0}")]
    NoRoom(String),
    /// Another node is to lead, which has room.
    #[error("another node is about to lead, which has room on its disk")]
    HandingOver,
}

/// The room of this node, as writes, applies and flushes see it.
#[derive(Debug)]
pub struct Room {
    closed: RwLock<Option<Closed>>,
    /// Whether there is a reason: looked at by every write.
    is_closed: AtomicBool,
    /// The database found the disk full and has not written since.
    state_waits: AtomicBool,
    /// Where flushes look for room.
    disk: Arc<Disk>,
    /// When the latest flush found the disk full, if none succeeded since.
    flush_failed: Mutex<Option<Instant>>,
    ending: AtomicBool,
}

impl Room {
    /// The room on this disk.
    pub fn on(disk: Arc<Disk>) -> Self {
        Self {
            closed: RwLock::default(),
            is_closed: AtomicBool::default(),
            state_waits: AtomicBool::default(),
            disk,
            flush_failed: Mutex::default(),
            ending: AtomicBool::default(),
        }
    }

    /// Lets a command in, unless it would need room that is not there. Nothing of it was written when it is refused.
    /// One that is small and lets something be forgotten `makes_room`: it is how an operator gets room back.
    ///
    /// # Errors
    /// [`Closed`], which says whether a node with room takes over.
    pub fn admit(&self, makes_room: bool) -> Result<(), Closed> {
        if !self.is_closed.load(Ordering::Relaxed) || makes_room {
            return Ok(());
        }
        match &*self.closed.read().unwrap_or_else(PoisonError::into_inner) {
            None => Ok(()),
            Some(closed) => Err(closed.clone()),
        }
    }

    /// Lets writes in from now on, or not.
    pub(super) fn close(&self, why: Option<Closed>) {
        let is_closed = why.is_some();
        *self.closed.write().unwrap_or_else(PoisonError::into_inner) = why;
        self.is_closed.store(is_closed, Ordering::Relaxed);
    }

    /// Whether the database found the disk full and has not written since.
    pub(super) fn state_waits(&self) -> bool {
        self.state_waits.load(Ordering::Relaxed)
    }

    /// Repeats `work` for as long as it finds the disk full. Blocks.
    pub fn patiently<T>(&self, mut work: impl FnMut() -> Result<T, EngineError>) -> io::Result<T> {
        loop {
            match work() {
                Err(error) if error.is_full() => {
                    if !self.state_waits.swap(true, Ordering::Relaxed) {
                        tracing::warn!("the disk of the database is full; applying waits for room");
                    }
                    if self.ending.load(Ordering::Relaxed) {
                        return Err(full(error));
                    }
                    std::thread::sleep(RETRY_DELAY);
                }
                done => {
                    if self.state_waits.load(Ordering::Relaxed) && done.is_ok() {
                        self.state_waits.store(false, Ordering::Relaxed);
                        tracing::info!("the database is written again");
                    }
                    return done.map_err(io::Error::other);
                }
            }
        }
    }

    /// Flushes, unless the disk is full or was so only a moment ago. Blocks.
    ///
    /// A flush that meets a full disk stops RocksDB: nothing can be applied any more, and with that no read is answered
    /// that has to wait for writes before it. Entries that are applied and not flushed need no room.
    pub fn flush<T>(&self, flush: impl FnOnce() -> Result<T, EngineError>) -> io::Result<T> {
        let mut failed = self.flush_failed.lock().unwrap_or_else(PoisonError::into_inner);
        if self.disk.is_full() {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk has no room for a flush"));
        }
        if failed.is_some_and(|at| rests(at, Instant::now())) {
            return Err(io::Error::new(io::ErrorKind::StorageFull, "the disk was full a moment ago"));
        }
        let flushed = flush();
        *failed = flushed.as_ref().is_err_and(EngineError::is_full).then(Instant::now);
        flushed.map_err(|error| if error.is_full() { full(error) } else { io::Error::other(error) })
    }

    /// Lets what waits for room fail, so that the process can end.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Relaxed);
    }
}

/// Whether a flush that failed at `failed` is too young for the next one.
fn rests(failed: Instant, now: Instant) -> bool {
    now.saturating_duration_since(failed) < FLUSH_REST
}

/// The error that tells the Raft host that nothing has changed.
fn full(error: EngineError) -> io::Error {
    io::Error::new(io::ErrorKind::StorageFull, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(low_bytes: u64) -> (Room, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        (Room::on(Arc::new(Disk::new(folder.path().to_owned(), low_bytes))), folder)
    }

    #[test]
    fn after_a_flush_that_found_the_disk_full_none_is_asked_for_while_a_failed_one_may_be_under_way() {
        let ((room, _folder), failed) = (room(0), Instant::now());
        assert!(rests(failed, failed + Duration::from_secs(2)), "one that fails is under way for a second");
        assert!(!rests(failed, failed + FLUSH_REST));
        assert_eq!(room.flush(|| Ok(7)).unwrap(), 7);
        *room.flush_failed.lock().unwrap() = Some(Instant::now());
        let refused = room.flush(|| -> Result<u64, EngineError> { panic!("RocksDB was asked") });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
        *room.flush_failed.lock().unwrap() = failed.checked_sub(FLUSH_REST);
        assert_eq!(room.flush(|| Ok(8)).unwrap(), 8);
    }

    #[test]
    fn a_disk_without_room_for_a_flush_is_not_shown_to_rocksdb() {
        let (full, _folder) = room(u64::MAX);
        let refused = full.flush(|| -> Result<u64, EngineError> { panic!("RocksDB was asked") });
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
        let (roomy, _folder) = room(0);
        assert_eq!(roomy.flush(|| Ok(7)).unwrap(), 7);
    }

    #[test]
    fn what_makes_room_is_let_in_when_there_is_none() {
        let (room, _folder) = room(0);
        room.close(Some(Closed::NoRoom("full".to_owned())));
        room.admit(true).unwrap();
        assert_eq!(room.admit(false), Err(Closed::NoRoom("full".to_owned())));
        room.close(None);
        room.admit(false).unwrap();
    }
}
