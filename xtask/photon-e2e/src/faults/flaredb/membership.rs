//! FlareDB's members: how one is added, gets a vote and is removed, and that a learner which lacks too much gets none.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use flaredb_client::{Error, RdbClient};
use flaredb_proto::v1::Member;

use super::Flaredb;
use crate::{
    faults::{
        cluster::{Cluster, url},
        nemesis::{Arena, CHANGED_AT_MOST, Proof, both_ways},
        network::{End, cut},
    },
    wait::wait_for,
};

const BEHIND_AT_MOST: Duration = Duration::from_secs(60);
/// More entries than a node may lack that is given a vote.
const BEHIND: u64 = 1_000;

/// Starts a node, and makes it a learner once it answers.
pub(super) async fn welcome(cluster: &mut Cluster<Flaredb>, slot: usize) -> Result<u64> {
    let id = cluster.settle(slot, &[])?;
    let answers = async || cluster.subject().status(slot).await.ok().map(drop);
    wait_for("the new node to answer", CHANGED_AT_MOST, answers).await?;
    let (admin, endpoint) = (&cluster.admin()?, url(slot));
    let is_there = |members: &[Member]| members.iter().any(|member| member.node_id == id);
    changed(admin, is_there, async || admin.cluster().add(id, &endpoint, true).await).await?;
    Ok(id)
}

pub(super) async fn promote(cluster: &Cluster<Flaredb>, id: u64) -> Result<()> {
    let admin = &cluster.admin()?;
    let votes = |members: &[Member]| members.iter().any(|member| member.node_id == id && member.voter);
    changed(admin, votes, async || admin.cluster().promote(id).await).await
}

pub(super) async fn remove(cluster: &Cluster<Flaredb>, id: u64) -> Result<()> {
    let admin = &cluster.admin()?;
    let is_gone = |members: &[Member]| members.iter().all(|member| member.node_id != id);
    changed(admin, is_gone, async || admin.cluster().remove(id).await).await
}

impl Arena<Flaredb> {
    pub(super) async fn lagging_learner(&mut self) -> Result<Proof> {
        self.exchange(async |arena: &Self, slot, id| arena.lags(slot, id).await).await
    }

    /// Cuts the learner off until it lacks too much for a vote, and asks for one.
    async fn lags(&self, slot: usize, id: u64) -> Result<String> {
        let admin = self.cluster.admin()?;
        let voters: Vec<End> = self.others(slot).into_iter().map(End::Node).collect();
        let cut = cut(&both_ways(End::Node(slot), &voters))?;
        let behind = wait_for("the learner to be behind", BEHIND_AT_MOST, async || {
            let (leader, _) = self.cluster.leader().await.ok()?;
            let last = self.cluster.standing(leader).await.ok()?.last_log_index;
            let behind = last.saturating_sub(self.cluster.standing(slot).await.ok()?.last_log_index);
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
