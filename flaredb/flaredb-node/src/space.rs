//! Room on the disk: writes are refused before it is used up, and go on by themselves when there is some again.
//!
//! A node looks at its disk a few times a second. Below `storage.space_low_bytes` it is *short of space*: as a leader
//! it hands over to a voter that is not, and where no quorum has room it refuses what would need some. So in normal
//! operation neither the log nor RocksDB ever meets a full disk. When somebody else fills it, the [`ballast`] gives way,
//! so that what was taken in by then can be written. If even that is used up, the log waits, and no flush is begun,
//! because RocksDB stands still after one that found no room: a write that found the disk full has changed nothing and
//! may be repeated, unlike one whose sync failed. Nothing is acknowledged meanwhile, and reads go on.

mod ballast;
mod decision;
mod room;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use flaredb_raft::{Group, Role, Space};
use photon_runtime::Condition;
use tokio::time::{MissedTickBehavior, interval};

pub use self::room::{Closed, Room};
use self::{
    ballast::Ballast,
    decision::{Decision, decide},
};
use crate::metrics::Metrics;

/// How often the disk is looked at.
const EVERY: Duration = Duration::from_millis(200);
/// Looks between two attempts to hand leadership over.
const LOOKS_PER_ATTEMPT: u32 = 10;
/// Attempts after which callers are told that there is no room, instead of to look for another leader.
const ATTEMPTS_MAX: u32 = 3;
/// What a look at the disk found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Free {
    /// Bytes that are free for this process.
    pub free_bytes: u64,
    /// Bytes of the whole disk.
    pub total_bytes: u64,
}

/// The disk of a data folder.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    low_bytes: u64,
}

impl Disk {
    /// The disk that holds `folder`, of which `low_bytes` are to stay free.
    pub fn new(folder: PathBuf, low_bytes: u64) -> Self {
        Self { folder, low_bytes }
    }

    /// Looks how much is free.
    ///
    /// # Errors
    /// When the file system does not say.
    pub fn look(&self) -> io::Result<Free> {
        let found = nix::sys::statvfs::statvfs(&self.folder)?;
        let block_bytes = found.fragment_size();
        let bytes = |blocks: u64| blocks.saturating_mul(block_bytes);
        Ok(Free { free_bytes: bytes(found.blocks_available()), total_bytes: bytes(found.blocks()) })
    }

    /// Where the data is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Below so many free bytes, nothing new is written.
    pub fn low_bytes(&self) -> u64 {
        self.low_bytes
    }

    /// Whether not even a flush has room. The ballast makes more room than that.
    fn is_full(&self) -> bool {
        self.look().is_ok_and(|free| free.free_bytes < self.low_bytes / 2)
    }

    /// Whether the disk is too full. Once it is, a quarter more must be free before it is not any more.
    fn is_short(&self, free_bytes: u64, was_short: bool) -> bool {
        let enough =
            if was_short { self.low_bytes.saturating_add(self.low_bytes / 4) } else { self.low_bytes };
        free_bytes < enough
    }
}

/// Watches over the room of one node.
pub(crate) struct Watcher {
    /// The node's disk.
    pub(crate) disk: Arc<Disk>,
    /// Where writes find what this found.
    pub(crate) room: Arc<Room>,
    /// Where the Raft host finds it.
    pub(crate) space: Space,
    /// The region whose writes are let in or not.
    pub(crate) group: Group,
    /// Where the amounts are shown.
    pub(crate) metrics: Metrics,
    /// Whether the node is ready, as far as its room goes.
    pub(crate) ready: Condition,
}

impl Watcher {
    /// Looks, decides and acts for as long as it is polled.
    pub(crate) async fn watch(self) {
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut short, mut handing_over) = (false, HandingOver::default());
        let mut ballast = Ballast::new(&self.disk.folder, self.disk.low_bytes);
        loop {
            tick.tick().await;
            let held = ballast.is_held();
            ballast = self.weigh(ballast).await;
            // What the ballast has given back is not for new writes.
            short |= held && !ballast.is_held();
            let own = self.look(short);
            short = own.is_some();
            self.space.set_short(short);
            self.metrics.short_of_space(short || self.space.log_waits());
            let status = self.group.status();
            let decision = decide(own.as_deref(), status.role == Role::Leader, &status.members);
            self.report(own.as_deref(), &decision);
            let closed = match decision {
                Decision::Open => handing_over.reset(),
                Decision::Refuse(why) => Some(Closed::NoRoom(why)),
                Decision::HandOver { to, why } => handing_over.next(&self.group, to, why).await,
            };
            self.room.close(closed);
        }
    }

    /// Takes the ballast in where there is room for it, and gives it up where there is none.
    async fn weigh(&self, mut ballast: Ballast) -> Ballast {
        let Ok(Free { free_bytes, .. }) = self.disk.look() else { return ballast };
        if ballast.is_held() && (free_bytes < self.disk.low_bytes / 4 || self.waits()) {
            tracing::warn!(free_bytes, "the disk is full; the ballast gives way");
            if let Err(error) = ballast.release() {
                tracing::warn!(%error, "the ballast could not be released");
            }
            return ballast;
        }
        let wanted =
            ballast.bytes().saturating_add(self.disk.low_bytes).saturating_add(self.disk.low_bytes / 4);
        if ballast.is_held() || ballast.bytes() == 0 || free_bytes < wanted {
            return ballast;
        }
        let (folder, bytes) = (self.disk.folder.clone(), ballast.bytes());
        let taken = tokio::task::spawn_blocking(move || {
            if let Err(error) = ballast.take() {
                tracing::warn!(%error, "the ballast could not be taken in");
            }
            ballast
        });
        taken.await.unwrap_or_else(|_ending| Ballast::new(&folder, bytes))
    }

    /// Whether something waits for room already.
    fn waits(&self) -> bool {
        self.space.log_waits() || self.room.state_waits()
    }

    /// Why this node is short of space, if it is.
    fn look(&self, was_short: bool) -> Option<String> {
        if self.space.log_waits() {
            return Some("the disk of the Raft log is full".to_owned());
        }
        if self.room.state_waits() {
            return Some("the disk of the database is full".to_owned());
        }
        match self.disk.look() {
            Ok(free) => {
                self.metrics.disk(free);
                self.disk.is_short(free.free_bytes, was_short).then(|| self.words(free.free_bytes))
            }
            Err(error) => {
                tracing::warn!(folder = %self.disk.folder.display(), %error, "cannot see how much of the disk is free");
                None
            }
        }
    }

    fn words(&self, free_bytes: u64) -> String {
        let (free, low) = (Mib(free_bytes), Mib(self.disk.low_bytes));
        format!("{free} are free in {}, {low} must stay so", self.disk.folder.display())
    }

    fn report(&self, own: Option<&str>, decision: &Decision) {
        match (own, decision) {
            (_, Decision::Refuse(why)) => {
                self.ready.not_ready(format!("writes are refused, reads go on: {why}"))
            }
            (Some(why), _) => self.ready.not_ready(format!("short of space: {why}")),
            (None, _) => self.ready.ok(),
        }
    }
}

/// Leadership that is to go to a node with room.
#[derive(Default)]
struct HandingOver {
    looks: u32,
}

impl HandingOver {
    fn reset(&mut self) -> Option<Closed> {
        self.looks = 0;
        None
    }

    /// Tries at once and then now and then; what writers are told meanwhile.
    async fn next(&mut self, group: &Group, to: u64, why: String) -> Option<Closed> {
        let due = self.looks.is_multiple_of(LOOKS_PER_ATTEMPT);
        self.looks = self.looks.saturating_add(1);
        if due && let Err(error) = group.transfer_leader(Some(to)).await {
            tracing::warn!(to, %error, "short of space, but leadership was not handed over");
        }
        Some(match self.looks > LOOKS_PER_ATTEMPT * ATTEMPTS_MAX {
            true => Closed::NoRoom(why),
            false => Closed::HandingOver,
        })
    }
}

/// Bytes for people.
#[derive(Debug, Clone, Copy)]
pub struct Mib(pub u64);

impl fmt::Display for Mib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0 >> 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disk_that_was_short_needs_a_quarter_more() {
        let disk = Disk::new(PathBuf::from("/"), 1_000);
        assert!(!disk.is_short(1_000, false) && disk.is_short(999, false));
        assert!(disk.is_short(1_249, true) && !disk.is_short(1_250, true));
        assert!(!Disk::new(PathBuf::from("/"), 0).is_short(0, true), "0 keeps no reserve");
    }
}
