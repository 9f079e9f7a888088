//! What a node knows of one region's log: its bounds, its vote, and its recent entries in memory.
//!
//! Entries are readable from the moment they are handed over; those that the writer thread has not written yet
//! are never evicted. Reads of evicted entries go to the engine. The state changes only under its lock; the
//! engine is read outside of it.

use std::{
    collections::VecDeque,
    io,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use openraft::entry::RaftEntry as _;
use prost::Message as _;

use super::Engine;
use crate::{
    codec::invalid,
    entry::Entry,
    proto::v1,
    simulation,
    types::{LogId, Vote},
};

pub(super) const VOTE_KEY: &[u8] = b"vote";
pub(super) const COMMITTED_KEY: &[u8] = b"committed";
pub(super) const PURGED_KEY: &[u8] = b"purged";

/// One region's log.
#[derive(Debug)]
pub(crate) struct RegionLog {
    pub(super) id: u64,
    cache_bytes_max: usize,
    state: RwLock<State>,
}

struct State {
    /// `None` once closed, so that the engine's files are released.
    engine: Option<Arc<Engine>>,
    /// The newest entries, without a gap, up to `last`.
    recent: VecDeque<Entry>,
    recent_bytes: usize,
    /// Entries below this index are in the engine.
    written_end: u64,
    /// Counts the times at which entries were taken back, so that a late report of the writer about entries
    /// that are gone is not taken for one about their successors.
    epoch: u64,
    /// Index of the oldest entry, or of the one that will be.
    first: u64,
    purged: Option<LogId>,
    last: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
    committed_unwritten: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("purged", &self.purged)
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
}

/// What belongs to a region's row of values in the engine.
pub(super) struct Values {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    pub(super) purged: Option<LogId>,
}

/// Part of a range of entries.
struct Split {
    /// Entries that must come from the engine first.
    evicted: std::ops::Range<u64>,
    recent: Vec<Entry>,
}

fn next(log_id: Option<&LogId>) -> u64 {
    log_id.map_or(0, |id| id.index + 1)
}

fn stored<T: prost::Message + Default>(engine: &Engine, region: u64, key: &[u8]) -> io::Result<Option<T>> {
    engine.value(region, key).map(|value| T::decode(&value[..]).map_err(io::Error::other)).transpose()
}

fn read_engine(
    engine: &Engine,
    region: u64,
    range: std::ops::Range<u64>,
    bytes_max: usize,
) -> io::Result<Vec<Entry>> {
    let records = engine.entries(region, range, bytes_max)?;
    records.into_iter().map(|record| Entry::decode(record.into_bytes())).collect()
}

impl RegionLog {
    /// Reads the bounds and the vote of a region; a region without any is an empty one.
    pub(crate) fn open(engine: Arc<Engine>, id: u64, cache_bytes_max: usize) -> io::Result<Self> {
        let purged: Option<LogId> = stored::<v1::LogId>(&engine, id, PURGED_KEY)?.map(Into::into);
        let committed = stored::<v1::LogId>(&engine, id, COMMITTED_KEY)?.map(Into::into);
        let vote = stored::<v1::Vote>(&engine, id, VOTE_KEY)?.map(Into::into);
        let last = match engine.last_index(id) {
            Some(index) if index >= next(purged.as_ref()) => {
                read_engine(&engine, id, index..index + 1, usize::MAX)?.pop().map(|entry| entry.log_id())
            }
            _ => purged,
        };
        let first = engine.first_index(id).unwrap_or_default();
        if purged.is_some() && last > purged && first > next(purged.as_ref()) {
            return Err(invalid("the log of a region has a hole after its purged part"));
        }
        let state = State {
            engine: Some(engine),
            recent: VecDeque::new(),
            recent_bytes: 0,
            written_end: next(last.as_ref()),
            epoch: 0,
            first: first.max(next(purged.as_ref())),
            purged,
            last,
            vote,
            committed,
            committed_unwritten: false,
        };
        Ok(Self { id, cache_bytes_max, state: RwLock::new(state) })
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Releases the engine; reads of evicted entries fail from now on.
    pub(crate) fn close(&self) {
        self.write().engine = None;
    }

    pub(super) fn bounds(&self) -> (Option<LogId>, Option<LogId>) {
        let state = self.read();
        (state.purged, state.last)
    }

    /// The position up to which the log is gone.
    pub(crate) fn purged_position(&self) -> u64 {
        next(self.read().purged.as_ref())
    }

    /// The position up to which entries have been written.
    pub(crate) fn written_position(&self) -> u64 {
        self.read().written_end
    }

    /// The position up to which entries are known to be committed. Known before any of them is applied.
    pub(crate) fn committed_position(&self) -> u64 {
        next(self.read().committed.as_ref())
    }

    pub(super) fn vote(&self) -> Option<Vote> {
        self.read().vote
    }

    pub(super) fn set_vote(&self, vote: Vote) {
        self.write().vote = Some(vote);
    }

    pub(super) fn committed(&self) -> Option<LogId> {
        self.read().committed
    }

    /// Remembers the committed position; the next write of this region takes it along.
    pub(super) fn set_committed(&self, committed: Option<LogId>) {
        let mut state = self.write();
        state.committed_unwritten |= state.committed != committed;
        state.committed = committed;
    }

    /// The committed position, if it has not been written yet and all entries up to it are, once those below `end`
    /// that were handed over in `epoch` are written.
    ///
    /// The position may be ahead of this node's own disk, when a quorum without it has committed. Written before its
    /// entries, it would name ones that a crash has taken, or others in their place that were taken back since.
    pub(super) fn take_committed(&self, epoch: u64, end: u64) -> Option<LogId> {
        let mut state = self.write();
        let end = if epoch == state.epoch { end.max(state.written_end) } else { state.written_end };
        let committed =
            state.committed.filter(|committed| state.committed_unwritten && committed.index < end)?;
        state.committed_unwritten = false;
        Some(committed)
    }

    pub(super) fn values(&self) -> Values {
        let state = self.read();
        Values { vote: state.vote, committed: state.committed, purged: state.purged }
    }

    /// Makes entries readable; returns the epoch that the writer must report them under.
    pub(super) fn append(&self, entries: &[Entry]) -> io::Result<u64> {
        let mut state = self.write();
        if let (Some(entry), None) = (entries.first(), &state.last) {
            // A log that has never had an entry may begin anywhere.
            state.first = entry.index();
        }
        for entry in entries {
            if state.last.is_some_and(|last| last.index + 1 != entry.index()) {
                return Err(invalid("an append would leave a hole in the log"));
            }
            state.last = Some(entry.log_id());
            state.recent_bytes += entry.record().len();
            state.recent.push_back(entry.clone());
        }
        state.evict(self.cache_bytes_max);
        Ok(state.epoch)
    }

    /// Takes back everything after `last`.
    pub(super) fn truncate_after(&self, last: Option<LogId>) {
        let mut state = self.write();
        if last >= state.last {
            return;
        }
        let end = next(last.as_ref());
        while let Some(entry) = state.recent.pop_back_if(|entry| entry.index() >= end) {
            state.recent_bytes -= entry.record().len();
        }
        state.last = last.max(state.purged);
        state.written_end = state.written_end.min(end);
        state.epoch += 1;
    }

    /// Forgets everything up to `upto`; true if nothing is left of the log.
    pub(super) fn purge(&self, upto: LogId) -> bool {
        let mut state = self.write();
        if Some(upto) <= state.purged {
            return false;
        }
        while let Some(entry) = state.recent.pop_front_if(|entry| entry.index() <= upto.index) {
            state.recent_bytes -= entry.record().len();
        }
        state.purged = Some(upto);
        state.first = upto.index + 1;
        let emptied = next(state.last.as_ref()) <= upto.index + 1;
        if emptied {
            state.recent.clear();
            state.recent_bytes = 0;
            state.last = Some(upto);
            state.written_end = upto.index + 1;
            state.epoch += 1;
        }
        emptied
    }

    /// The writer has written the entries below `end`.
    pub(super) fn mark_written(&self, epoch: u64, end: u64) {
        let mut state = self.write();
        if epoch == state.epoch {
            state.written_end = state.written_end.max(end);
            state.evict(self.cache_bytes_max);
        }
    }

    /// Reads entries of a range as far as they exist, at least one and at most about `bytes_max` bytes of them.
    pub(crate) async fn entries(
        self: &Arc<Self>,
        range: std::ops::Range<u64>,
        bytes_max: usize,
    ) -> io::Result<Vec<Entry>> {
        let split = self.read().split(range.clone(), bytes_max);
        if split.evicted.is_empty() {
            return Ok(split.recent);
        }
        let log = Arc::clone(self);
        let evicted = split.evicted.clone();
        let read = simulation::blocking(move || log.read_evicted(evicted, bytes_max));
        let mut entries = read.await.map_err(io::Error::other)??;
        let complete = u64::try_from(entries.len()).ok() == Some(split.evicted.end - split.evicted.start);
        let bytes: usize = entries.iter().map(|entry| entry.record().len()).sum();
        if complete && bytes < bytes_max {
            entries.extend(limit(split.recent.into_iter(), bytes_max - bytes));
        }
        Ok(entries)
    }

    fn read_evicted(&self, range: std::ops::Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        let engine = self.read().engine.clone();
        let engine = engine.ok_or_else(|| io::Error::other("the log is closed"))?;
        read_engine(&engine, self.id, range, bytes_max)
    }
}

impl State {
    fn evict(&mut self, bytes_max: usize) {
        while self.recent_bytes > bytes_max {
            let end = self.written_end;
            let Some(entry) = self.recent.pop_front_if(|entry| entry.index() < end) else { return };
            self.recent_bytes -= entry.record().len();
        }
    }

    fn split(&self, range: std::ops::Range<u64>, bytes_max: usize) -> Split {
        let start = range.start.max(self.first);
        let end = range.end.min(next(self.last.as_ref())).max(start);
        let first_recent =
            self.recent.front().map_or_else(|| next(self.last.as_ref()), |entry| entry.index());
        let recent_start = first_recent.max(start);
        let skipped = usize::try_from(recent_start - first_recent).unwrap_or(usize::MAX);
        let taken = usize::try_from(end.saturating_sub(recent_start)).unwrap_or(usize::MAX);
        let recent = self.recent.iter().skip(skipped).take(taken).cloned();
        Split { evicted: start..first_recent.clamp(start, end), recent: limit(recent, bytes_max) }
    }
}

/// The first entry and as many more as fit.
fn limit(entries: impl Iterator<Item = Entry>, bytes_max: usize) -> Vec<Entry> {
    let mut bytes = 0;
    entries
        .take_while(|entry| {
            let first = bytes == 0;
            bytes += entry.record().len();
            first || bytes <= bytes_max
        })
        .collect()
}

/// The values of a row as they are written.
pub(super) fn encode_log_id(log_id: &LogId) -> Vec<u8> {
    v1::LogId::from(log_id).encode_to_vec()
}

/// The vote as it is written.
pub(super) fn encode_vote(vote: &Vote) -> Vec<u8> {
    v1::Vote::from(vote).encode_to_vec()
}

#[cfg(test)]
mod tests {
    use openraft::entry::RaftPayload as _;

    use super::*;
    use crate::{
        LogConfig,
        entry::{Command, Payload},
        types::CommittedLeaderId,
    };

    fn log_id(term: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId { term, node_id: 1 }, index)
    }

    fn entries(term: u64, range: std::ops::Range<u64>) -> Vec<Entry> {
        range.map(|index| Entry::new(log_id(term, index), Payload::normal(Command::new(b"x")))).collect()
    }

    fn region(dir: &std::path::Path) -> RegionLog {
        RegionLog::open(super::super::open(dir, &LogConfig::default()).unwrap(), 1, 1 << 20).unwrap()
    }

    #[test]
    fn committed_position_waits_until_its_entries_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let log = region(&dir.path().join("log"));
        let epoch = log.append(&entries(1, 0..6)).unwrap();
        log.set_committed(Some(log_id(1, 4)));
        assert_eq!(log.take_committed(epoch, 3), None);
        assert_eq!(log.take_committed(epoch, 5), Some(log_id(1, 4)));
        assert_eq!(log.take_committed(epoch, 6), None);
    }

    #[test]
    fn committed_position_is_not_written_with_entries_that_were_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let log = region(&dir.path().join("log"));
        let old = log.append(&entries(1, 0..6)).unwrap();
        log.truncate_after(Some(log_id(1, 1)));
        let new = log.append(&entries(2, 2..6)).unwrap();
        log.set_committed(Some(log_id(2, 4)));
        assert_eq!(log.take_committed(old, 6), None);
        log.mark_written(new, 6);
        assert_eq!(log.take_committed(old, 6), Some(log_id(2, 4)));
    }
}
