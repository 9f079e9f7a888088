//! What the harness must know of a replicated store to break it: how a node is started, who leads, how members change,
//! what its clients do and what must hold of their notes. Everything else (network, nemesis, history, checks, report)
//! is one for all.

use std::{fmt::Debug, process::ExitStatus, time::Duration};

use anyhow::{Result, bail};

use super::{
    cluster::{Cluster, Disks, Folders, Member},
    history::Recorder,
    nemesis::{Arena, Fault, Proof, name_of},
    verdict::Verdict,
};
use crate::wait::wait_for;

const PROGRESS_AT_MOST: Duration = Duration::from_secs(30);

/// A replicated store under test.
pub(super) trait Subject: Debug + Sized {
    /// Its clients.
    type Load: Load<Self>;

    /// The words after `cargo xtask e2e` that choose it.
    const NAME: &'static str;
    /// The faults that it is put to.
    const FAULTS: &'static [Fault];
    /// What is worth keeping from a node's disk when something did not hold: a file below its slot's.
    const KEPT: Option<&'static str>;

    /// Whether a node that was asked to end did so in order.
    fn ended_well(status: ExitStatus) -> bool {
        status.success()
    }

    /// Makes what all nodes have in common, e.g. certificates.
    ///
    /// # Errors
    /// When something that is needed is missing.
    fn new(folders: &Folders, disks: Disks) -> Result<Self>;

    /// The words that start a node; without members, it waits to be added or is added already.
    ///
    /// # Errors
    /// When a file that it needs cannot be written.
    fn prepare(&self, folders: &Folders, node: Member, members: &[Member]) -> Result<Vec<String>>;

    /// Makes what the clients need in a new cluster.
    ///
    /// # Errors
    /// When the cluster refuses.
    async fn furnish(cluster: &Cluster<Self>) -> Result<()>;

    /// Why the node in a slot is not ready, in its own words; empty: it is.
    ///
    /// # Errors
    /// When it does not answer in time.
    async fn doubts(&self, slot: usize) -> Result<String>;

    /// What the node in a slot says of its replica.
    ///
    /// # Errors
    /// When it does not answer in time, or has none.
    async fn standing(&self, slot: usize) -> Result<Standing>;

    /// A linearizable read at this slot and no other.
    ///
    /// # Errors
    /// When it is not answered in time.
    async fn read(cluster: &Cluster<Self>, slot: usize, timeout: Duration) -> Result<()>;

    /// The words with which a write is refused for lack of space; `None`: it was not, or for another reason. It must
    /// change nothing if there is room.
    async fn refused_for_space(cluster: &Cluster<Self>, timeout: Duration) -> Option<String>;

    /// What a node's wall clock tells, in milliseconds since 1970; `None`: it does not say.
    ///
    /// # Errors
    /// When it does not answer in time.
    async fn clock_ms(cluster: &Cluster<Self>, slot: usize) -> Result<Option<u64>>;

    /// How many snapshots of its leader a node has installed since it was started; `None`: it does not say.
    ///
    /// # Errors
    /// When it does not answer.
    async fn snapshots(cluster: &Cluster<Self>, slot: usize) -> Result<Option<u64>>;

    /// Asks the leader to let the node in this slot lead; what comes of it is looked at by the caller.
    ///
    /// # Errors
    /// When it is refused for now.
    async fn hand_over(cluster: &Cluster<Self>, slot: usize) -> Result<()>;

    /// Starts a new node in a spare slot, and makes it a learner; returns its id.
    ///
    /// # Errors
    /// When it is refused for too long.
    async fn welcome(cluster: &mut Cluster<Self>, slot: usize) -> Result<u64>;

    /// Gives a learner a vote.
    ///
    /// # Errors
    /// When it is refused for too long.
    async fn promote(cluster: &Cluster<Self>, id: u64) -> Result<()>;

    /// Removes a member.
    ///
    /// # Errors
    /// When it is refused for too long.
    async fn remove(cluster: &Cluster<Self>, id: u64) -> Result<()>;

    /// The ids of those that vote.
    ///
    /// # Errors
    /// When they are not told in time.
    async fn voters(cluster: &Cluster<Self>) -> Result<Vec<u64>>;

    /// A fault that means something to this store only.
    ///
    /// # Errors
    /// When it had no effect, or the store did not do what it must.
    async fn suffer(_arena: &mut Arena<Self>, fault: Fault) -> Result<Proof> {
        bail!("{} is not put to {}", Self::NAME, name_of(fault))
    }

    /// Stops the clients, lets the replicas settle, and holds everything that is there against the notes, which are
    /// written to the run's folder.
    ///
    /// # Errors
    /// When the cluster does not let itself be read back.
    async fn judge(arena: &mut Arena<Self>) -> Result<Verdict>;
}

/// What a node says of its replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    /// What it does.
    pub(super) role: Role,
    /// The term.
    pub(super) term: u64,
    /// The last entry of its log.
    pub(super) last_log_index: u64,
    /// Entries up to here are no longer in its log; `None`: it does not say.
    pub(super) purged_index: Option<u64>,
    /// Entries up to here are committed, as far as it knows.
    pub(super) committed_index: u64,
    /// Entries up to here are in its state.
    pub(super) applied_index: u64,
}

/// What a replica does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// It leads.
    Leader,
    /// It follows, with a vote or without.
    Follower,
    /// Something else, e.g. it asks for votes.
    Other,
}

/// The running clients.
pub(super) trait Load<S: Subject>: Debug + Sized {
    /// Starts them.
    ///
    /// # Errors
    /// When a client's configuration is refused.
    fn start(cluster: &Cluster<S>, seed: u64) -> Result<Self>;

    /// The notes.
    fn recorder(&self) -> &Recorder;

    /// Reads are for these nodes from now on.
    fn members_are(&self, members: Vec<usize>);

    /// Reads so often at one slot, at once, beside everything else; with this patience.
    ///
    /// # Errors
    /// When the client's configuration is refused.
    fn read_at(&mut self, cluster: &Cluster<S>, slot: usize, times: u32, patience: Duration) -> Result<()>;

    /// How long from `since_ms` until a write was acknowledged that was sent later than that.
    ///
    /// # Errors
    /// When there was none in time.
    async fn resumed(&self, since_ms: u64) -> Result<Duration> {
        let recorder = self.recorder();
        let sent_later = async || (recorder.acknowledged_call_ms() > since_ms).then_some(());
        wait_for("an acknowledged write", PROGRESS_AT_MOST, sent_later).await?;
        Ok(Duration::from_millis(recorder.now_ms().saturating_sub(since_ms)))
    }

    /// Waits until so many more requests were noted.
    ///
    /// # Errors
    /// When they were not in time.
    async fn goes_on(&self, requests: usize) -> Result<()> {
        let wanted = self.recorder().count() + requests;
        let reached = async || (self.recorder().count() >= wanted).then_some(());
        wait_for("more requests", PROGRESS_AT_MOST, reached).await
    }
}
