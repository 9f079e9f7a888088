//! What a replica's log holds, for checks that compare replicas.

use std::io;

use openraft::entry::RaftEntry as _;

use super::Group;

/// The id and the content of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntrySummary {
    /// Its position, from 1.
    pub index: u64,
    /// The term in which it was proposed.
    pub term: u64,
    /// Who proposed it.
    pub leader: u64,
    /// CRC-32 of its record.
    pub checksum: u32,
}

/// A replica's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogSummary {
    /// The position up to which it is gone.
    pub purged_index: u64,
    /// The position up to which it has been written.
    pub written_index: u64,
    /// The position up to which it was known to be committed before any of it was applied. Of what a snapshot brought,
    /// the log is not told.
    pub committed_index: u64,
    /// What is there, without a gap.
    pub entries: Vec<EntrySummary>,
}

impl Group {
    /// Describes the entries of this replica's log from position `from` on.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn log_summary(&self, from: u64) -> io::Result<LogSummary> {
        let log = &self.0.region_log;
        let (purged_index, written_index) = (log.purged_position(), log.written_position());
        let committed_index = log.committed_position();
        let start = from.max(1) - 1;
        let entries = log.entries(start..u64::MAX, usize::MAX).await?;
        let summary = |entry: &crate::entry::Entry| {
            let log_id = entry.log_id();
            EntrySummary {
                index: log_id.index + 1,
                term: log_id.leader_id.term,
                leader: log_id.leader_id.node_id,
                checksum: crc32fast::hash(entry.record()),
            }
        };
        let entries = entries.iter().map(summary).collect();
        Ok(LogSummary { purged_index, written_index, committed_index, entries })
    }
}
