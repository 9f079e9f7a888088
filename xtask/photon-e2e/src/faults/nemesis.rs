//! The faults. Each is done to a cluster under load, is proved to have taken effect (a process that was seen dead, a
//! packet that was counted as dropped, a disk that had no byte left), and is undone; then the cluster must work again.

mod clock;
mod crash;
mod disk;
mod lag;
mod links;
mod membership;
mod pause;
mod sync;
mod tail;
mod trace;

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use rand::{RngExt as _, rngs::StdRng};

pub(super) use self::{lag::CAUGHT_UP_AT_MOST, links::both_ways, membership::CHANGED_AT_MOST};
use super::{
    cluster::Cluster,
    history::Recorder,
    subject::{Load as _, Subject},
};

/// Requests that must be answered, after a fault, before the next one.
const REQUESTS_BETWEEN: usize = 40;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// SIGKILL for the leader.
    KillLeader,
    /// SIGKILL for any node.
    KillAny,
    /// SIGKILL for all nodes at once.
    KillAll,
    /// SIGSTOP for the leader; it wakes as one that was deposed.
    PauseLeader,
    /// The leader is cut off from its peers, from clients as well or not.
    IsolateLeader,
    /// Packets pass in one direction only.
    OneWay,
    /// One packet in five is lost.
    Loss,
    /// One node's disk has no room.
    DiskFullOne,
    /// All disks have no room.
    DiskFullAll,
    /// Syncs end with EIO.
    SyncError,
    /// Syncs take long.
    SlowDisk,
    /// A power cut in the middle of a write to the log.
    TornTail,
    /// A power cut takes what was written to the log and not synced.
    LostTail,
    /// A wall clock jumps by an hour, forward or back.
    Clock,
    /// Every node is stopped and started again, one after the other.
    RollingRestart,
    /// A follower is away until the log no longer has what it lacks.
    SnapshotCatchUp,
    /// A node of another cluster takes part.
    ForeignNode,
    /// Two processes have one identity.
    TwinNode,
    /// A node is added, gets a vote, and another one is removed.
    Membership,
    /// The same, and the node that is added is cut off for a while: it must not get a vote before it has caught up.
    LaggingLearner,
    /// A follower is cut off while clients read timestamped records there.
    EventualCut,
}

/// A fault's name on the command line.
pub(super) fn name_of(fault: Fault) -> String {
    fault.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

/// That a fault took effect, and what came of it.
#[derive(Clone, Debug)]
pub(super) struct Proof {
    /// What proves that it happened.
    pub(super) what: String,
    /// What it did to clients.
    pub(super) effect: String,
}

/// Where the faults happen.
#[derive(Debug)]
pub(super) struct Arena<S: Subject> {
    /// The nodes.
    pub(super) cluster: Cluster<S>,
    /// The clients.
    pub(super) load: S::Load,
    /// Makes the choices.
    pub(super) random: StdRng,
    /// Whether there is time for faults of their full length.
    pub(super) long: bool,
}

impl<S: Subject> Arena<S> {
    /// Does one fault, undoes it, and waits until every node is ready and clients are served.
    ///
    /// # Errors
    /// When the fault had no effect, or the cluster did not get over it.
    pub(super) async fn suffer(&mut self, fault: Fault) -> Result<Proof> {
        self.get_over(async |arena| arena.strike(fault).await).await
    }

    /// Does something, and waits until every node is ready and clients are served.
    async fn get_over<T>(&mut self, breaking: impl AsyncFnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let since_ms = self.now_ms();
        let done = breaking(self).await;
        let ready = self.cluster.ready().await;
        self.load.recorder().note_broken(since_ms);
        let done = done?;
        ready.context("not every node was ready again")?;
        let since = self.now_ms();
        self.load.resumed(since).await.context("writes did not go on")?;
        self.load.goes_on(REQUESTS_BETWEEN).await?;
        Ok(done)
    }

    /// Kills the leader; returns how long it took from its end until a write was acknowledged that was sent after it.
    ///
    /// # Errors
    /// When there was no election, or the cluster did not get over it.
    pub(super) async fn lose_leader(&mut self) -> Result<Duration> {
        self.get_over(async |arena| arena.leader_dies().await).await.map(|(_, resumed)| resumed)
    }

    async fn strike(&mut self, fault: Fault) -> Result<Proof> {
        match fault {
            Fault::KillLeader => self.leader_dies().await.map(|(proof, _)| proof),
            Fault::KillAny => self.kill_any().await,
            Fault::KillAll => self.kill_all().await,
            Fault::PauseLeader => self.pause_leader().await,
            Fault::IsolateLeader => self.isolate_leader().await,
            Fault::OneWay => self.one_way().await,
            Fault::Loss => self.loss().await,
            Fault::DiskFullOne => self.disk_full_one().await,
            Fault::DiskFullAll => self.disk_full_all().await,
            Fault::SyncError => self.sync_error().await,
            Fault::SlowDisk => self.slow_disk().await,
            Fault::TornTail => self.torn_tail().await,
            Fault::LostTail => self.lost_tail().await,
            Fault::Clock => self.clock().await,
            Fault::RollingRestart => self.rolling_restart().await,
            Fault::SnapshotCatchUp => self.snapshot_catch_up().await,
            Fault::Membership => self.membership().await,
            Fault::ForeignNode | Fault::TwinNode | Fault::LaggingLearner | Fault::EventualCut => {
                S::suffer(self, fault).await
            }
        }
    }

    /// The notes of the clients.
    pub(super) fn recorder(&self) -> &Recorder {
        self.load.recorder()
    }

    /// Milliseconds since the start of the run.
    pub(super) fn now_ms(&self) -> u64 {
        self.load.recorder().now_ms()
    }

    /// One of the nodes.
    fn any_member(&mut self) -> Result<usize> {
        let members = self.cluster.members();
        members.get(self.random.random_range(0..members.len())).copied().context("there are no nodes")
    }

    /// A node that does not lead, and the leader.
    pub(super) async fn any_follower(&mut self) -> Result<(usize, usize)> {
        let (leader, _) = self.cluster.leader().await?;
        let followers: Vec<_> = self.others(leader);
        let picked = followers.get(self.random.random_range(0..followers.len()));
        Ok((*picked.context("there are no followers")?, leader))
    }

    /// All nodes but one.
    pub(super) fn others(&self, slot: usize) -> Vec<usize> {
        self.cluster.members().into_iter().filter(|&other| other != slot).collect()
    }

    /// A node's name for the report.
    pub(super) fn name(&self, slot: usize) -> String {
        self.cluster.id(slot).map_or_else(|_spare| format!("slot {slot}"), |id| format!("node {id}"))
    }

    /// Lets a fault last.
    pub(super) async fn last(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// A random length; a short run takes the shortest.
    fn length(&mut self, shortest_ms: u64, longest_ms: u64) -> Duration {
        let longest_ms = if self.long { longest_ms } else { shortest_ms };
        Duration::from_millis(self.random.random_range(shortest_ms..=longest_ms))
    }
}
