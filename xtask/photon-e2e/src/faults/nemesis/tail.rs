//! The end of the log after a power cut: of what was written and not synced, nothing is there, or a part.
//!
//! A killed process loses nothing that it has written, because the kernel keeps it. So the node's syncs are made to
//! wait, it is killed while one of them does, and what it had written to its log since the last finished sync is taken
//! out of the file, whole or up to a byte in the middle of a record. Nothing of that was acknowledged by this node.

use std::{collections::BTreeMap, fs::File, os::unix::fs::FileExt as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rand::RngExt as _;

use super::{
    Arena, Proof,
    trace::{SYNCS, Tracer},
};
use crate::{
    faults::subject::{Load as _, Subject},
    wait::wait_for,
};

const WRITTEN_AT_MOST: Duration = Duration::from_secs(15);
/// Longer than the node lives once a sync waits.
const HELD: &str = "delay_enter=60000000";
const WRITES: &str = ",pwrite64";
const LOG_FILE: &str = ".raftlog>";

/// A range of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Written {
    file: PathBuf,
    offset: u64,
    bytes: u64,
}

impl<S: Subject> Arena<S> {
    pub(super) async fn torn_tail(&mut self) -> Result<Proof> {
        self.power_cut(true).await
    }

    pub(super) async fn lost_tail(&mut self) -> Result<Proof> {
        self.power_cut(false).await
    }

    async fn power_cut(&mut self, torn: bool) -> Result<Proof> {
        let victim = self.any_member()?;
        let (leader, _) = self.cluster.leader().await?;
        let tracer = Tracer::attach(&self.cluster, victim, HELD, WRITES).await?;
        let held = wait_for("a sync of the log to wait", WRITTEN_AT_MOST, async || {
            tracer.calls().ok().filter(|calls| !unsynced(calls).is_empty() && waits(calls)).map(drop)
        })
        .await;
        self.cluster.strike(victim)?;
        let calls = tracer.kill()?;
        let died = self.cluster.kill_9(victim)?;
        let since = self.now_ms();
        held?;
        let lost = unsynced(&calls);
        let (first, last) = lost.first().zip(lost.last()).context("nothing was written")?;
        ensure!(first.bytes > 1, "the first write had no middle");
        let kept = if torn { self.random.random_range(1..first.bytes) } else { 0 };
        tear(&lost, kept)?;
        let resumed = self.load.resumed(since).await?;
        self.cluster.run(victim, &[])?;
        let role = if victim == leader { "the leader" } else { "a follower" };
        let bytes: u64 = lost.iter().map(|written| written.bytes).sum();
        Ok(Proof {
            what: format!(
                "{role}, {}: {died}; of {} writes with {bytes} bytes at the log's end (up to {}) {kept} bytes were left",
                self.name(victim),
                lost.len(),
                last.offset + last.bytes
            ),
            effect: format!("next write after {} ms; it opened its log again", resumed.as_millis()),
        })
    }
}

/// Whether a sync of the log was entered and has not ended.
fn waits(calls: &str) -> bool {
    calls.lines().rev().take_while(|line| !line.contains("pwrite64")).any(|line| {
        line.contains(LOG_FILE) && SYNCS.split(',').any(|name| line.contains(&format!("{name}(")))
    })
}

/// What was written to the log, in order. One thread writes and syncs it in turns, and no sync has ended since strace
/// was there, so none of it was ever synced.
fn unsynced(calls: &str) -> Vec<Written> {
    calls.lines().filter_map(written).collect()
}

/// `PID pwrite64(FD<PATH>, ""..., LENGTH, OFFSET) = WRITTEN`.
fn written(line: &str) -> Option<Written> {
    let (_, rest) = line.split_once("pwrite64(")?;
    let (_, rest) = rest.split_once('<')?;
    let (path, rest) = rest.split_once('>')?;
    path.ends_with(LOG_FILE.trim_end_matches('>')).then_some(())?;
    let (arguments, _) = rest.split_once(')').or_else(|| rest.split_once(" <unfinished"))?;
    let mut numbers = arguments.rsplit(", ");
    let (offset, bytes) = (numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?);
    Some(Written { file: path.into(), offset, bytes })
}

/// Takes everything out but so many bytes of the first write.
fn tear(lost: &[Written], kept: u64) -> Result<()> {
    let mut files = BTreeMap::new();
    let mut spared = kept;
    for Written { file, offset, bytes } in lost {
        if !files.contains_key(file) {
            let opened = File::options().write(true).open(file);
            files.insert(file, opened.with_context(|| format!("{} cannot be opened", file.display()))?);
        }
        let zeros = vec![0; usize::try_from(bytes - spared)?];
        files[file].write_all_at(&zeros, offset + spared)?;
        spared = 0;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: &str = "71 pwrite64(12</d/log/0000000000000001.raftlog>, \"\"..., 300, 4096) = 300\n\
                         72 pwrite64(9</d/state/000012.sst>, \"\"..., 50, 0) = 50\n\
                         71 fdatasync(12</d/log/0000000000000001.raftlog> <unfinished ...>\n";

    #[test]
    fn what_was_written_to_the_log_is_read_from_the_calls() {
        let log = Written { file: "/d/log/0000000000000001.raftlog".into(), offset: 4096, bytes: 300 };
        assert_eq!(unsynced(CALLS), [log]);
        assert!(waits(CALLS));
        assert!(!waits(CALLS.rsplit_once("71 fdatasync").unwrap().0));
    }

    #[test]
    fn torn_write_keeps_its_beginning_and_later_ones_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        std::fs::write(&file, [7; 10]).unwrap();
        let written = |offset, bytes| Written { file: file.clone(), offset, bytes };
        tear(&[written(2, 4), written(6, 3)], 1).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), [7, 7, 7, 0, 0, 0, 0, 0, 0, 7]);
    }
}
