//! Members that come and go under load: another node learns, gets a vote, and one of the old ones is removed, which
//! may be the leader. A removed node that runs on must not answer linearizable reads.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Arena, Proof};
use crate::faults::{
    cluster::MEMBERS,
    subject::{Load as _, Subject},
};

/// How long a change of the members may take.
pub(in crate::faults) const CHANGED_AT_MOST: Duration = Duration::from_secs(30);
const READS: u32 = 12;
const READ_PATIENCE: Duration = Duration::from_secs(1);

impl<S: Subject> Arena<S> {
    pub(super) async fn membership(&mut self) -> Result<Proof> {
        self.exchange(async |_, _, _| Ok(String::new())).await
    }

    /// Puts a new node in an old one's place; what is done to the learner in between tells itself in the report.
    pub(in crate::faults) async fn exchange(
        &mut self,
        to_the_learner: impl AsyncFn(&Self, usize, u64) -> Result<String>,
    ) -> Result<Proof> {
        let (leader, _) = self.cluster.leader().await?;
        let victim = self.any_member()?;
        let (before, old_id) = (self.load.recorder().totals(), self.cluster.id(victim)?);
        let slot = self.cluster.spare()?;
        let id = S::welcome(&mut self.cluster, slot).await?;
        let refusal = to_the_learner(self, slot, id).await?;
        S::promote(&self.cluster, id).await?;
        S::remove(&self.cluster, old_id).await?;
        self.load.read_at(&self.cluster, victim, READS, READ_PATIENCE)?;
        self.last(READ_PATIENCE).await;
        self.cluster.vacate(victim)?;
        self.load.members_are(self.cluster.members());
        let voters = S::voters(&self.cluster).await?;
        ensure!(
            voters.len() == MEMBERS && voters.contains(&id) && !voters.contains(&old_id),
            "voters are {voters:?}"
        );
        let after = self.load.recorder().totals();
        let role = if victim == leader { "the leader, " } else { "" };
        Ok(Proof {
            what: format!(
                "node {id} learned{refusal} and got a vote; {role}node {old_id} was removed; voters are {voters:?}"
            ),
            effect: format!(
                "{} writes acknowledged meanwhile; {READS} reads met the removed node",
                after.0 - before.0
            ),
        })
    }
}
