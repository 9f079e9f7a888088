//! How a node that joins gets its vote.

use std::time::Duration;

use flaredb_raft::{ChangeError, Group, MemberStatus, Role};
use tokio::time::{Instant, interval};

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Why a learner has no vote.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromoteError {
    /// The change was refused, or its outcome is not known.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The learner did not catch up within its time.
    #[error("node {id} holds {matched} of {goal} log entries and has no vote yet")]
    Behind {
        /// The learner.
        id: u64,
        /// Where it is reached.
        endpoint: String,
        /// Entries that it holds.
        matched: u64,
        /// Entries that it must hold.
        goal: u64,
    },
}

/// Gives a learner a vote once it holds what the log held when this began. That also proves that it is alive: a
/// dead voter more can cost the cluster its quorum.
///
/// # Errors
/// [`PromoteError::Behind`] if it does not hold that within `patience`.
pub async fn promote(group: &Group, id: u64, patience: Duration) -> Result<(), PromoteError> {
    let goal = group.status().last_log_index;
    let deadline = Instant::now() + patience;
    let mut look = interval(LOOK_EVERY);
    loop {
        look.tick().await;
        let status = group.status();
        if status.role != Role::Leader {
            let (id, endpoint) = (status.leader, status.leader_endpoint);
            return Err(ChangeError::NotLeader { id, endpoint }.into());
        }
        let member = status.members.iter().find(|member| member.id == id);
        let member = member.ok_or(ChangeError::UnknownMember { id })?;
        if member.matched_index.is_some_and(|matched| matched >= goal) {
            return Ok(group.promote(id).await?);
        }
        if Instant::now() >= deadline {
            return Err(behind(member, goal));
        }
    }
}

fn behind(member: &MemberStatus, goal: u64) -> PromoteError {
    let MemberStatus { id, endpoint, matched_index, .. } = member;
    let matched = matched_index.unwrap_or_default();
    PromoteError::Behind { id: *id, endpoint: endpoint.clone(), matched, goal }
}
