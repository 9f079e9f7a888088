//! Members that come and go under load: another node learns, gets a vote, and one of the old ones is removed, which
//! may be the leader. A removed node that runs on must not answer linearizable reads.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flaredb_client::{Error, RdbClient};
use flaredb_proto::v1::Member;

use super::{Arena, Proof, links::both_ways};
use crate::{
    faults::{
        cluster::{MEMBERS, url},
        network::{End, cut},
    },
    wait::wait_for,
};

const CHANGED_AT_MOST: Duration = Duration::from_secs(30);
const BEHIND_AT_MOST: Duration = Duration::from_secs(60);
/// More entries than a node may lack that is given a vote.
const BEHIND: u64 = 1_000;
const READS: u32 = 12;
const READ_PATIENCE: Duration = Duration::from_secs(1);

impl Arena {
    pub(super) async fn membership(&mut self, lags: bool) -> Result<Proof> {
        let (leader, _) = self.cluster.leader().await?;
        let victim = self.any_member()?;
        let (before, old_id) = (self.load.recorder().totals(), self.cluster.id(victim)?);
        let slot = self.cluster.spare()?;
        let admin = self.cluster.admin()?;
        let id = self.cluster.settle(slot, &[])?;
        self.until_it_answers(slot).await?;
        let (admin, endpoint) = (&admin, url(slot));
        let is_there = |members: &[Member]| members.iter().any(|member| member.node_id == id);
        changed(admin, is_there, async || admin.cluster().add(id, &endpoint, true).await).await?;
        let refusal = if lags { self.lags(admin, slot, id).await? } else { String::new() };
        let votes = |members: &[Member]| members.iter().any(|member| member.node_id == id && member.voter);
        changed(admin, votes, async || admin.cluster().promote(id).await).await?;
        let is_gone = |members: &[Member]| members.iter().all(|member| member.node_id != old_id);
        changed(admin, is_gone, async || admin.cluster().remove(old_id).await).await?;
        self.load.read_at(&self.cluster, victim, READS, READ_PATIENCE)?;
        self.last(READ_PATIENCE).await;
        self.cluster.vacate(victim)?;
        self.load.members_are(self.cluster.members());
        let voters = self.voters().await?;
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

    /// Cuts the learner off until it lacks too much for a vote, and asks for one.
    async fn lags(&self, admin: &RdbClient, slot: usize, id: u64) -> Result<String> {
        let voters: Vec<End> = self.others(slot).into_iter().map(End::Node).collect();
        let cut = cut(&both_ways(End::Node(slot), &voters))?;
        let behind = wait_for("the learner to be behind", BEHIND_AT_MOST, async || {
            let (leader, _) = self.cluster.leader().await.ok()?;
            let last = self.cluster.region(leader).await.ok()?.last_log_index;
            let behind = last.saturating_sub(self.cluster.region(slot).await.ok()?.last_log_index);
            (behind > BEHIND).then_some(behind)
        })
        .await?;
        wait_for("a vote to be refused", CHANGED_AT_MOST, async || match admin.cluster().promote(id).await {
            Err(Error::NotNow { .. }) => Some(Ok(())),
            Err(_unavailable) => None,
            Ok(_) => Some(Err(anyhow::anyhow!("it got a vote while it lacked {behind} entries"))),
        })
        .await??;
        let dropped = cut.heal()?;
        ensure!(dropped > 0, "no packet was dropped");
        Ok(format!(", was refused a vote while it was cut off and lacked {behind} entries, caught up"))
    }

    async fn until_it_answers(&self, slot: usize) -> Result<()> {
        wait_for("the new node to answer", CHANGED_AT_MOST, async || {
            self.cluster.status(slot).await.ok().map(drop)
        })
        .await
    }

    async fn voters(&self) -> Result<Vec<u64>> {
        let admin = self.cluster.admin()?;
        let members = admin.cluster().members().await.context("the members are not told")?;
        Ok(members.into_iter().filter(|member| member.voter).map(|member| member.node_id).collect())
    }
}

/// Makes a change until the members are as wanted: what is refused for now, or of unknown outcome, is looked at and
/// asked for again.
async fn changed(
    admin: &RdbClient,
    is_wanted: impl Fn(&[Member]) -> bool,
    change: impl AsyncFn() -> Result<Vec<Member>, Error>,
) -> Result<()> {
    let mut last = None;
    let done = wait_for("the members to change", CHANGED_AT_MOST, async || {
        match change().await {
            Ok(members) if is_wanted(&members) => return Some(()),
            Ok(_) => {}
            Err(error) => last = Some(error),
        }
        admin.cluster().members().await.is_ok_and(|members| is_wanted(&members)).then_some(())
    })
    .await;
    done.with_context(|| format!("the last refusal was {last:?}"))
}
