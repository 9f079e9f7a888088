//! What a replica knows of its region: its role, its positions, its members.
//!
//! A snapshot of the moment for people and decisions that can be late; nothing linearizable hangs on it.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use openraft::{Instant as _, ServerState, async_runtime::watch::WatchReceiver as _};
use tokio::sync::watch;

use super::{Group, Replica, metrics_of, millis};
use crate::{
    fatal::FatalError,
    types::{RaftMetrics, position},
};

/// What a replica is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Replicates and does not vote.
    #[default]
    Learner,
    /// Follows the leader.
    Follower,
    /// Stands for election.
    Candidate,
    /// Leads the region.
    Leader,
    /// Has stopped.
    Stopped,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Learner => "learner",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Leader => "leader",
            Self::Stopped => "stopped",
        })
    }
}

/// Who leads the region, as far as this replica knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leadership {
    /// The term.
    pub term: u64,
    /// This replica's role.
    pub role: Role,
    /// The leader.
    pub leader: Option<u64>,
    /// Where the leader is.
    pub endpoint: Option<String>,
}

/// A member of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberStatus {
    /// The node.
    pub id: u64,
    /// Where it is reached.
    pub endpoint: String,
    /// Whether it votes.
    pub voter: bool,
    /// On the leader: the index up to which its log is known to match.
    pub matched_index: Option<u64>,
    /// Its disk is full or about to be: this node by itself, of others what they told this node while it led.
    pub short_of_space: bool,
}

/// What a replica knows of its region. Indexes count entries from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The region.
    pub region_id: u64,
    /// This node.
    pub node_id: u64,
    /// This replica's role.
    pub role: Role,
    /// The term.
    pub term: u64,
    /// The leader, if known.
    pub leader: Option<u64>,
    /// Where the leader is, if known.
    pub leader_endpoint: Option<String>,
    /// The last entry of this replica's log.
    pub last_log_index: u64,
    /// The last entry known to be committed.
    pub committed_index: u64,
    /// The last entry applied.
    pub applied_index: u64,
    /// The last entry whose effects are durable in the state machine.
    pub flushed_index: u64,
    /// The last entry purged from the log.
    pub purged_index: u64,
    /// On the leader: milliseconds since a quorum acknowledged its leadership.
    pub quorum_acked_ms: Option<u64>,
    /// Milliseconds since this replica last heard from a leader; on the leader, from its quorum.
    pub leader_contact_ms: u64,
    /// The members, by id.
    pub members: Vec<MemberStatus>,
}

fn role(metrics: &RaftMetrics) -> Role {
    match metrics.state {
        _ if metrics.running_state.is_err() => Role::Stopped,
        ServerState::Learner => Role::Learner,
        ServerState::Follower => Role::Follower,
        ServerState::Candidate => Role::Candidate,
        ServerState::Leader => Role::Leader,
        ServerState::Shutdown => Role::Stopped,
    }
}

fn leader_endpoint(metrics: &RaftMetrics) -> Option<String> {
    let node = metrics.membership_config.get_node(&metrics.current_leader?);
    node.map(|node| node.addr.clone())
}

fn members(replica: &Replica, metrics: &RaftMetrics) -> Vec<MemberStatus> {
    let membership = &metrics.membership_config;
    let voters: Vec<u64> = membership.voter_ids().collect();
    let matched = |id: &u64| metrics.replication.as_ref()?.get(id);
    let member = |(id, node): (&u64, &openraft::BasicNode)| MemberStatus {
        id: *id,
        endpoint: node.addr.clone(),
        voter: voters.contains(id),
        matched_index: matched(id).map(|log_id| position(log_id.as_ref())),
        short_of_space: match *id == replica.node_id {
            true => replica.log.space().is_short(),
            false => replica.network.addresses.is_short(*id),
        },
    };
    membership.nodes().map(member).collect()
}

pub(crate) fn leadership(metrics: &RaftMetrics) -> Leadership {
    Leadership {
        term: metrics.current_term,
        role: role(metrics),
        leader: metrics.current_leader,
        endpoint: leader_endpoint(metrics),
    }
}

/// Forwards changes of leadership until the replica stops. A replica that ends without having been stopped is
/// fatal: the node would go on as if it still had it.
pub(crate) async fn follow_leadership(replica: Arc<Replica>, changes: watch::Sender<Leadership>) {
    tokio::select! {
        reason = forward_changes(&replica, changes) => {
            if !replica.stop.is_cancelled() {
                replica.fatal.trip(&FatalError::Replica { region_id: replica.region_id, reason });
            }
        }
        () = replica.stop.cancelled() => {}
    }
}

/// Returns why the Raft core has ended.
async fn forward_changes(replica: &Replica, changes: watch::Sender<Leadership>) -> String {
    let mut metrics = replica.raft.metrics();
    let mut membership = None;
    loop {
        let (now, state) = {
            let metrics = metrics.borrow_and_update();
            if membership != *metrics.membership_config.log_id() {
                membership = *metrics.membership_config.log_id();
                replica.network.addresses.learn(&metrics.membership_config);
            }
            (leadership(&metrics), metrics.running_state.clone())
        };
        changes.send_if_modified(|known| {
            if *known == now {
                return false;
            }
            let Leadership { term, role, leader, .. } = &now;
            tracing::info!(region_id = replica.region_id, term, %role, ?leader, "leadership changed");
            *known = now;
            true
        });
        if let Err(fatal) = state {
            return fatal.to_string();
        }
        if metrics.changed().await.is_err() {
            return "its core is gone".to_owned();
        }
    }
}

impl Group {
    /// What this replica knows of its region.
    pub fn status(&self) -> GroupStatus {
        let metrics = metrics_of(&self.0.raft);
        let quorum_acked_ms = metrics.last_quorum_acked.map(|acked| millis(acked.elapsed()));
        GroupStatus {
            region_id: self.0.region_id,
            node_id: self.0.node_id,
            role: role(&metrics),
            term: metrics.current_term,
            leader: metrics.current_leader,
            leader_endpoint: leader_endpoint(&metrics),
            last_log_index: metrics.last_log_index.map_or(0, |index| index + 1),
            committed_index: position(metrics.local_committed.as_ref()),
            applied_index: *self.0.machine.watch_applied().borrow(),
            flushed_index: self.0.machine.flushed_index(),
            purged_index: position(metrics.purged.as_ref()),
            quorum_acked_ms,
            leader_contact_ms: self.leader_contact_ms(&metrics, quorum_acked_ms),
            members: members(&self.0, &metrics),
        }
    }

    fn leader_contact_ms(&self, metrics: &RaftMetrics, quorum_acked_ms: Option<u64>) -> u64 {
        match role(metrics) {
            Role::Leader => quorum_acked_ms.unwrap_or_default(),
            _ => {
                let heard_ms = self.0.leader_heard_ms.load(Ordering::Relaxed);
                millis(self.0.started.elapsed()).saturating_sub(heard_ms)
            }
        }
    }
}
