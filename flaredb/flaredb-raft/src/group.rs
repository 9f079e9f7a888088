//! This node's replica of one region: propose, read, change the membership, watch.
//!
//! A [`Group`] is a cheap handle; the replica lives until it is shut down. What happens here happens on the
//! leader, except for reads, which any replica can serve.

pub(crate) mod checkpoint;
pub(crate) mod forward;
mod inspect;
mod membership;
pub(crate) mod propose;
pub(crate) mod read;
mod status;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use openraft::{
    BasicNode,
    async_runtime::watch::WatchReceiver as _,
    errors::{ForwardToLeader, InitializeError as Refused, RaftError},
};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::inspect::{EntrySummary, LogSummary};
pub(crate) use self::status::leadership as status_of;
pub use self::status::{GroupStatus, Leadership, MemberStatus, Role};
use crate::{
    config::Timing,
    entry::COMMAND_BYTES_MAX,
    error::{InitializeError, ProposeError, ReadError},
    fatal::FatalHook,
    log::{region::RegionLog, store::LogStore},
    machine,
    metrics::Metrics,
    node::Regions,
    planted::{self, Bug},
    transport::{client::Network, incoming::Incoming},
    types::{Raft, RaftMetrics, TypeConfig},
};

/// Everything of one region on this node.
pub(crate) struct Replica {
    pub(crate) region_id: u64,
    pub(crate) node_id: u64,
    pub(crate) raft: Raft,
    pub(crate) machine: Arc<machine::Shared>,
    pub(crate) network: Network,
    pub(crate) incoming: Incoming,
    pub(crate) log: LogStore,
    pub(crate) region_log: Arc<RegionLog>,
    /// Entries that a purge leaves.
    pub(crate) entries_kept: u64,
    pub(crate) reads: read::Waiting,
    pub(crate) proposals: propose::Waiting,
    pub(crate) forwards: forward::Forwards,
    pub(crate) leadership: watch::Receiver<Leadership>,
    pub(crate) metrics: Metrics,
    pub(crate) fatal: FatalHook,
    /// Tasks of this replica, and the word that ends them.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    pub(crate) regions: Arc<Regions>,
    pub(crate) started: Instant,
    /// Milliseconds from `started` to the last word of a leader.
    pub(crate) leader_heard_ms: AtomicU64,
}

impl std::fmt::Debug for Replica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replica").field("region_id", &self.region_id).finish_non_exhaustive()
    }
}

impl Replica {
    pub(crate) fn heard_from_leader(&self) {
        self.leader_heard_ms.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    /// Starts what runs beside the Raft core.
    pub(crate) fn spawn_tasks(
        self: &Arc<Self>,
        reads: read::Queue,
        proposals: propose::Queue,
        changes: watch::Sender<Leadership>,
        checkpoint_interval: Duration,
    ) {
        self.tasks.spawn(read::serve(Arc::clone(self), reads));
        self.tasks.spawn(propose::serve(Arc::clone(self), proposals));
        self.tasks.spawn(status::follow_leadership(Arc::clone(self), changes));
        self.tasks.spawn(checkpoint::run(Arc::clone(self), checkpoint_interval));
    }

    fn timing(&self) -> &Timing {
        &self.network.timing
    }

    /// Stops the replica and writes what its log still had in mind.
    pub(crate) async fn shutdown(&self) {
        self.stop.cancel();
        self.machine.end_waits();
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!(region_id = self.region_id, %error, "the Raft core did not end in order");
        }
        self.tasks.close();
        self.tasks.wait().await;
        if let Err(error) = self.log.settle().await {
            tracing::debug!(region_id = self.region_id, %error, "the log had stopped before the replica");
        }
        self.region_log.close();
        self.regions.remove(self.region_id);
    }
}

/// The present metrics, cloned out of their lock.
pub(crate) fn metrics_of(raft: &Raft) -> RaftMetrics {
    raft.metrics().borrow_watched().clone()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

type Leader = (Option<u64>, Option<String>);

fn leader_of(forward: ForwardToLeader<TypeConfig>) -> Leader {
    (forward.leader_id, forward.leader_node.map(|node| node.addr))
}

/// A handle on this node's replica of a region.
#[derive(Clone, Debug)]
pub struct Group(pub(crate) Arc<Replica>);

impl Group {
    /// The region.
    pub fn region_id(&self) -> u64 {
        self.0.region_id
    }

    /// Begins a region with its first members (id and endpoint). Every one of them may call it with the same
    /// members; whoever comes first wins.
    ///
    /// # Errors
    /// [`InitializeError::AlreadyInitialized`] if the region has a log already.
    pub async fn initialize(
        &self,
        members: impl IntoIterator<Item = (u64, String)>,
    ) -> Result<(), InitializeError> {
        let members = members.into_iter().map(|(id, endpoint)| (id, BasicNode::new(endpoint)));
        let members: BTreeMap<u64, BasicNode> = members.collect();
        self.0.raft.initialize(members).await.map_err(|error| match error {
            RaftError::APIError(Refused::NotAllowed(_)) => InitializeError::AlreadyInitialized,
            RaftError::APIError(Refused::NotInMembers(_)) => InitializeError::NotAMember,
            RaftError::Fatal(_) => InitializeError::Stopped,
        })
    }

    /// Whether the region has members.
    pub fn is_initialized(&self) -> bool {
        metrics_of(&self.0.raft).membership_config.nodes().next().is_some()
    }

    /// Replicates a command and returns what the state machine answered. Leader only.
    ///
    /// # Errors
    /// [`ProposeError::Indeterminate`] leaves open whether the command takes effect; all others say that it did
    /// not, except [`ProposeError::Stopped`].
    pub async fn propose(&self, command: Bytes) -> Result<Bytes, ProposeError> {
        if command.len() > COMMAND_BYTES_MAX {
            return Err(ProposeError::TooLarge { bytes: command.len(), bytes_max: COMMAND_BYTES_MAX });
        }
        if self.0.log.space().log_waits() {
            return Err(ProposeError::NoSpace);
        }
        self.0.metrics.proposals.inc();
        if planted::has(Bug::RetryProposal) {
            return self.propose_again_and_again(&command).await;
        }
        self.0.propose(&command).await
    }

    /// The planted bug.
    async fn propose_again_and_again(&self, command: &Bytes) -> Result<Bytes, ProposeError> {
        loop {
            let outcome = tokio::time::timeout(self.0.timing().heartbeat, self.0.propose(command)).await;
            if let Ok(outcome) = outcome {
                return outcome;
            }
        }
    }

    /// Waits until this replica may serve a read that sees everything acknowledged before the call; returns the
    /// index that it sees. Any replica.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if no leader with a quorum is found in time.
    pub async fn read_index(&self) -> Result<u64, ReadError> {
        self.0.read_index().await
    }

    /// Waits until this replica has caught up with the cluster after a start: with everything that it may have
    /// served before. Reads that are not linearizable should wait for it once.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] if the cluster has no quorum within `timeout`.
    pub async fn recovered(&self, timeout: Duration) -> Result<(), ReadError> {
        let recovered = self.0.raft.wait_for_recovery(Some(timeout)).await;
        recovered.map(drop).map_err(|error| match error {
            openraft::metrics::WaitError::Timeout(..) => ReadError::Unavailable,
            openraft::metrics::WaitError::ShuttingDown => ReadError::Stopped,
        })
    }

    /// Follows the index that this replica has applied.
    pub fn watch_applied(&self) -> watch::Receiver<u64> {
        self.0.machine.watch_applied()
    }

    /// Whether this replica leads the region, as far as it knows.
    pub fn leads(&self) -> bool {
        self.0.leadership.borrow().role == Role::Leader
    }

    /// Whether another node could lead the region.
    pub fn has_followers(&self) -> bool {
        self.status().members.iter().filter(|member| member.voter).count() > 1
    }

    /// Follows who leads the region.
    pub fn watch_leadership(&self) -> watch::Receiver<Leadership> {
        self.0.leadership.clone()
    }

    /// Makes the state durable now and lets the log before it be purged, unless somebody still needs it.
    ///
    /// # Errors
    /// [`ReadError::Stopped`] if this replica has stopped.
    pub async fn checkpoint(&self) -> Result<(), ReadError> {
        let applied = *self.0.machine.watch_applied().borrow();
        self.0.checkpoint(applied).await.map(drop)
    }

    /// Stops this replica; it goes on from its log when the region is opened again.
    pub async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}
