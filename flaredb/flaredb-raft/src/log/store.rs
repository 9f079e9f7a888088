//! openraft's view of one region's log.
//!
//! `append` returns as soon as the entries are readable; the writer thread reports when they are on disk. Votes
//! are awaited. The committed position and purges ride along with later writes: losing them costs a little work
//! at the next start and nothing else.

use std::{
    fmt::Debug,
    io,
    ops::{Bound, Range, RangeBounds},
    sync::Arc,
};

use futures::{Stream, StreamExt as _, stream};
use openraft::{
    LogState, RaftLogReader,
    storage::{IOFlushed, RaftLogStorage},
};
use tokio::sync::oneshot;

use super::{
    region::RegionLog,
    writer::{Write, WriterHandle},
};
use crate::{
    entry::Entry,
    planted::{self, Bug},
    space::Space,
    types::{LogId, TypeConfig, Vote},
};

/// Bytes of entries read in one piece, for a peer or for the state machine.
const READ_BYTES_MAX: usize = 1 << 20;
/// Entries read in one piece for the state machine.
const READ_ENTRIES_MAX: u64 = 1024;

/// The log of one region. Clones read the same log.
#[derive(Clone, Debug)]
pub(crate) struct LogStore {
    region: Arc<RegionLog>,
    writer: WriterHandle,
}

impl LogStore {
    pub(crate) fn new(region: Arc<RegionLog>, writer: WriterHandle) -> Self {
        Self { region, writer }
    }

    /// Whether there is room to write.
    pub(crate) fn space(&self) -> &Space {
        self.writer.space()
    }

    /// Writes what rode along with nothing yet; for a region that is being closed.
    pub(crate) async fn settle(&self) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.writer.send(Write::Settle { region: Arc::clone(&self.region), done }).await?;
        written.await.map_err(io::Error::other)?
    }
}

fn bounds(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(start) => start + 1,
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(end) => end + 1,
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> io::Result<Vec<Entry>>
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.region.entries(bounds(&range), usize::MAX).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        self.region.entries(start..end, READ_BYTES_MAX).await
    }

    /// Reads piece by piece, so that a long catch-up never holds its whole range in memory.
    async fn entries_stream<RB>(&mut self, range: RB) -> impl Stream<Item = io::Result<Entry>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let region = Arc::clone(&self.region);
        let pieces = stream::unfold(bounds(&range), move |rest| {
            let region = Arc::clone(&region);
            async move { read_piece(&region, rest).await }
        });
        pieces.flat_map(stream::iter).boxed()
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        Ok(self.region.vote())
    }
}

/// The planted bug.
fn acknowledged(callback: IOFlushed<TypeConfig>) -> IOFlushed<TypeConfig> {
    callback.io_completed(Ok(()));
    IOFlushed::noop()
}

type Piece = Vec<io::Result<Entry>>;

async fn read_piece(region: &Arc<RegionLog>, rest: Range<u64>) -> Option<(Piece, Range<u64>)> {
    if rest.is_empty() {
        return None;
    }
    let end = rest.end.min(rest.start.saturating_add(READ_ENTRIES_MAX));
    match region.entries(rest.start..end, READ_BYTES_MAX).await {
        Ok(entries) if entries.is_empty() => None,
        Ok(entries) => {
            let start = rest.start + entries.len() as u64;
            Some((entries.into_iter().map(Ok).collect(), start..rest.end))
        }
        Err(error) => Some((vec![Err(error)], rest.end..rest.end)),
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<TypeConfig>> {
        let (last_purged_log_id, last_log_id) = self.region.bounds();
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        let (done, written) = oneshot::channel();
        self.writer.send(Write::Vote { region: Arc::clone(&self.region), vote: *vote, done }).await?;
        written.await.map_err(io::Error::other)?
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        self.region.set_committed(committed);
        Ok(())
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        Ok(self.region.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let epoch = self.region.append(&entries)?;
        let budget = self.writer.budget(entries.iter().map(|entry| entry.record().len()).sum()).await?;
        let region = Arc::clone(&self.region);
        let callback = match planted::has(Bug::AcknowledgeEarly) {
            true => acknowledged(callback),
            false => callback,
        };
        self.writer.send(Write::Append { region, epoch, entries, done: callback, _budget: budget }).await
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> io::Result<()> {
        // The engine drops the old tail when the next append overwrites it. If the node stops before, the tail
        // comes back, which is as if the truncation had not been heard of: nothing was acknowledged after it.
        self.region.truncate_after(last_log_id);
        Ok(())
    }

    async fn purge(&mut self, log_id: LogId) -> io::Result<()> {
        let emptied = self.region.purge(log_id);
        self.writer.send(Write::Purge { region: Arc::clone(&self.region), emptied }).await
    }
}
