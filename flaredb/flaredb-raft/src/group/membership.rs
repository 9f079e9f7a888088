//! Changes of who belongs to a region, and of who leads it.
//!
//! A node joins as a learner, catches up, and is then promoted: a voter that lags would cost the region its
//! quorum for as long as it catches up. Replacing a dead node is add, promote, remove.
//!
//! A leader that is to leave, by a removal that another leader began, changes nothing: it hands over. With a second
//! change on top of its removal it would lead without being in any membership, which openraft takes for a bug and ends.

use std::collections::{BTreeMap, BTreeSet};

use openraft::{
    BasicNode, ChangeMembers,
    async_runtime::watch::WatchReceiver as _,
    errors::{ClientWriteError, RaftError},
    raft::{ClientWriteResponse, Precondition},
};

use super::{Group, Role, leader_of, metrics_of};
use crate::{
    error::ChangeError,
    types::{StoredMembership, TypeConfig, position},
};

/// Entries that a learner may lack when it is promoted: what is replicated in the blink of an eye.
const PROMOTE_BEHIND_MAX: u64 = 1000;

type Written = Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

fn changed(written: Written) -> Result<(), ChangeError> {
    let error = match written {
        Ok(_) => return Ok(()),
        Err(RaftError::Fatal(_)) => return Err(ChangeError::Stopped),
        Err(RaftError::APIError(error)) => error,
    };
    Err(match error {
        ClientWriteError::ForwardToLeader(forward) => {
            let (id, endpoint) = leader_of(forward);
            ChangeError::NotLeader { id, endpoint }
        }
        ClientWriteError::LogEntryDiscarded(_) => ChangeError::Indeterminate,
        other => ChangeError::Refused { reason: other.to_string() },
    })
}

impl Group {
    /// Adds a node that replicates and does not vote. It must host the region already. Leader only; returns when
    /// the change is committed, not when the node has caught up.
    ///
    /// # Errors
    /// See [`ChangeError`].
    pub async fn add_learner(&self, id: u64, endpoint: impl Into<String>) -> Result<(), ChangeError> {
        let nodes = BTreeMap::from([(id, BasicNode::new(endpoint.into()))]);
        self.change(ChangeMembers::AddNodes(nodes), true).await
    }

    /// Makes a learner a voter. Leader only.
    ///
    /// # Errors
    /// [`ChangeError::Lagging`] while it has not caught up; see [`ChangeError`].
    pub async fn promote(&self, id: u64) -> Result<(), ChangeError> {
        self.check_caught_up(id)?;
        self.change(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await
    }

    /// Removes a voter or a learner. Leader only. A leader that is to remove itself hands over and names its successor.
    ///
    /// # Errors
    /// [`ChangeError::UnknownMember`] if it is not a member; see [`ChangeError`].
    pub async fn remove(&self, id: u64) -> Result<(), ChangeError> {
        let membership = metrics_of(&self.0.raft).membership_config;
        if membership.get_node(&id).is_none() {
            return Err(ChangeError::UnknownMember { id });
        }
        if id == self.0.node_id {
            return Err(self.hand_over().await);
        }
        let ids = BTreeSet::from([id]);
        let change = match membership.voter_ids().any(|voter| voter == id) {
            true => ChangeMembers::RemoveVoters(ids),
            false => ChangeMembers::RemoveNodes(ids),
        };
        self.change(change, false).await
    }

    /// Tells the region that a member is reached elsewhere now. Leader only.
    ///
    /// # Errors
    /// [`ChangeError::UnknownMember`] if it is not a member; see [`ChangeError`].
    pub async fn set_endpoint(&self, id: u64, endpoint: impl Into<String>) -> Result<(), ChangeError> {
        if metrics_of(&self.0.raft).membership_config.get_node(&id).is_none() {
            return Err(ChangeError::UnknownMember { id });
        }
        let nodes = BTreeMap::from([(id, BasicNode::new(endpoint.into()))]);
        self.change(ChangeMembers::SetNodes(nodes), true).await
    }

    /// Whether this replica may stand for election by itself. One that may not still votes and replicates.
    pub fn set_electable(&self, electable: bool) {
        self.0.raft.runtime_config().elect(electable);
    }

    /// Hands leadership to another voter, the most up-to-date one if none is named; returns the new leader.
    ///
    /// # Errors
    /// [`ChangeError::Indeterminate`] if no other node leads in time; see [`ChangeError`].
    pub async fn transfer_leader(&self, to: Option<u64>) -> Result<u64, ChangeError> {
        let status = self.status();
        if status.role != Role::Leader {
            return Err(ChangeError::NotLeader { id: status.leader, endpoint: status.leader_endpoint });
        }
        if to == Some(status.node_id) {
            return Ok(status.node_id);
        }
        let mut others: Vec<_> =
            status.members.iter().filter(|member| member.voter && member.id != status.node_id).collect();
        others.sort_by_key(|member| member.matched_index);
        let target = match to {
            Some(id) => {
                others.iter().find(|member| member.id == id).ok_or(ChangeError::UnknownMember { id })?.id
            }
            None => others.last().map(|member| member.id).ok_or_else(|| alone(status.node_id))?,
        };
        self.0.raft.trigger().transfer_leader(target).await.map_err(|_fatal| ChangeError::Stopped)?;
        self.wait_for_leader_other_than(status.node_id).await
    }

    async fn wait_for_leader_other_than(&self, old: u64) -> Result<u64, ChangeError> {
        let mut leadership = self.watch_leadership();
        let led = leadership.wait_for(|now| now.leader.is_some_and(|leader| leader != old));
        let led = tokio::time::timeout(self.0.timing().election_max * 3, led).await;
        let led = led.map_err(|_late| ChangeError::Indeterminate)?;
        led.map_err(|_closed| ChangeError::Stopped)?.leader.ok_or(ChangeError::Indeterminate)
    }

    fn check_caught_up(&self, id: u64) -> Result<(), ChangeError> {
        let metrics = metrics_of(&self.0.raft);
        if metrics.membership_config.get_node(&id).is_none() {
            return Err(ChangeError::UnknownMember { id });
        }
        // Only the leader has these; another node is told so by the change itself.
        let Some(replication) = &metrics.replication else { return Ok(()) };
        let matched = replication.get(&id).and_then(Option::as_ref);
        let last = metrics.last_log_index.map_or(0, |index| index + 1);
        let behind = last.saturating_sub(position(matched));
        match behind > PROMOTE_BEHIND_MAX {
            true => Err(ChangeError::Lagging { id, behind, behind_max: PROMOTE_BEHIND_MAX }),
            false => Ok(()),
        }
    }

    /// Gives leadership away instead of a change; returns why nothing was changed.
    async fn hand_over(&self) -> ChangeError {
        match self.transfer_leader(None).await {
            Ok(leader) => {
                let node = metrics_of(&self.0.raft).membership_config.get_node(&leader).cloned();
                ChangeError::NotLeader { id: Some(leader), endpoint: node.map(|node| node.addr) }
            }
            // Who is no member any more is not told who leads.
            Err(ChangeError::Indeterminate) => ChangeError::NotLeader { id: None, endpoint: None },
            Err(error) => error,
        }
    }

    async fn change(&self, change: ChangeMembers<u64, BasicNode>, retain: bool) -> Result<(), ChangeError> {
        let changed = self.change_what_is_seen(change, retain);
        let changed = tokio::time::timeout(self.0.timing().propose_timeout, changed).await;
        changed.map_err(|_late| ChangeError::Indeterminate)?
    }

    /// Changes the membership that this node has been seen to belong to, and no other.
    async fn change_what_is_seen(
        &self,
        change: ChangeMembers<u64, BasicNode>,
        retain: bool,
    ) -> Result<(), ChangeError> {
        let mut metrics = self.0.raft.metrics();
        loop {
            let seen = metrics.borrow_and_update().membership_config.clone();
            if !stays(&seen, self.0.node_id) {
                return Err(self.hand_over().await);
            }
            let seen = Precondition::LastMembershipLogId { last_membership_log_id: *seen.log_id() };
            let written = self.0.raft.change_membership_if(change.clone(), retain, [seen]).await;
            if !matches!(written, Err(RaftError::APIError(ClientWriteError::PreconditionFailed(_)))) {
                return changed(written);
            }
            metrics.changed().await.map_err(|_closed| ChangeError::Stopped)?;
        }
    }
}

/// Whether a node votes on in what a membership is to become.
fn stays(membership: &StoredMembership, id: u64) -> bool {
    membership.membership().get_joint_config().last().is_some_and(|voters| voters.contains(&id))
}

fn alone(id: u64) -> ChangeError {
    ChangeError::Refused { reason: format!("node {id} is the only voter") }
}
