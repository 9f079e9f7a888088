//! Disks without room. Nothing acknowledged may be lost, reads go on, and writes do so by themselves once there is
//! room again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::{Arena, Proof};
use crate::{
    faults::subject::{Load as _, Subject},
    wait::wait_for,
};

/// Less than a write's overhead.
const NO_ROOM_BYTES: u64 = 64 << 10;
/// Less than a node needs for a flush, more than makes it give up its ballast.
const LAST_BYTES: u64 = 24 << 20;
const BEFORE_THE_LAST: Duration = Duration::from_millis(500);
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// A read waits for the writes before it, of which the last may be waiting for the room that the ballast gives: RocksDB
/// looks for it every 5 s.
const READ_AT_MOST: Duration = Duration::from_secs(15);
const REFUSED_AT_MOST: Duration = Duration::from_secs(15);
const RESUMED_AT_MOST: Duration = Duration::from_secs(10);

impl<S: Subject> Arena<S> {
    pub(super) async fn disk_full_one(&mut self) -> Result<Proof> {
        let victim = self.any_member()?;
        let (leader, _) = self.cluster.leader().await?;
        let (before, length) = (self.load.recorder().totals(), self.length(2_500, 5_000));
        let filled = self.fill(victim).await?;
        self.last(length).await;
        let reads = self.reads_go_on(victim).await;
        let resumed = self.free_and_resume(&[victim]).await?;
        reads?;
        let after = self.load.recorder().totals();
        let role = if victim == leader { "the leader" } else { "a follower" };
        Ok(Proof {
            what: format!("{filled} on {role}, {}, for {} ms", self.name(victim), length.as_millis()),
            effect: format!(
                "{} writes acknowledged, {} requests refused or unanswered; reads went on there; next write {} ms \
                 after there was room",
                after.0 - before.0,
                after.1 - before.1,
                resumed.as_millis()
            ),
        })
    }

    pub(super) async fn disk_full_all(&mut self) -> Result<Proof> {
        let members = self.cluster.members();
        let mut filled = Vec::new();
        for &slot in &members {
            filled.push(format!("{}: {}", self.name(slot), self.fill(slot).await?));
        }
        let refused = self.refused_for_space().await;
        let mut reads = Ok(());
        for &slot in &members {
            reads = reads.and(self.reads_go_on(slot).await);
        }
        let resumed = self.free_and_resume(&members).await?;
        let refused = refused?;
        reads?;
        Ok(Proof {
            what: filled.join(", "),
            effect: format!(
                "writes were refused ({refused}); reads went on everywhere; next write {} ms after there was room",
                resumed.as_millis()
            ),
        })
    }

    /// Not at the speed of memory, at which no disk is filled: what a node had begun to write in good faith has ended
    /// when the last of the room goes.
    async fn fill(&self, slot: usize) -> Result<String> {
        let disk = &self.cluster.slot(slot)?.disk;
        let mut bytes = disk.fill(LAST_BYTES)?;
        self.last(BEFORE_THE_LAST).await;
        bytes += disk.fill(0)?;
        let left = disk.free_bytes()?;
        ensure!(left < NO_ROOM_BYTES, "the disk has {left} bytes left");
        Ok(format!("{} MiB filled, {left} bytes left", bytes >> 20))
    }

    /// The words with which a write is refused that is certain not to have happened.
    async fn refused_for_space(&self) -> Result<String> {
        let refused = async || S::refused_for_space(&self.cluster, PROBE_TIMEOUT).await;
        wait_for("a write to be refused for lack of space", REFUSED_AT_MOST, refused).await
    }

    async fn reads_go_on(&self, slot: usize) -> Result<()> {
        let read = S::read(&self.cluster, slot, READ_AT_MOST).await;
        read.with_context(|| format!("{} does not answer reads", self.name(slot)))
    }

    /// How long after there was room a write was acknowledged that was sent after that.
    async fn free_and_resume(&self, slots: &[usize]) -> Result<Duration> {
        for &slot in slots {
            self.cluster.slot(slot)?.disk.free()?;
        }
        let since = self.now_ms();
        let resumed = self.load.resumed(since).await?;
        ensure!(resumed <= RESUMED_AT_MOST, "writes resumed only after {} ms", resumed.as_millis());
        Ok(resumed)
    }
}
