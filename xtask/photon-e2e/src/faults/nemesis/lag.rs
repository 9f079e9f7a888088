//! A follower that falls too far behind for the log, and catches up by snapshot.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::{Arena, Proof, links::both_ways};
use crate::{
    faults::{
        network::{End, cut},
        subject::Subject,
    },
    wait::wait_for,
};

const BEHIND_AT_MOST: Duration = Duration::from_secs(30);
/// How long a follower may take to have what it missed.
pub(in crate::faults) const CAUGHT_UP_AT_MOST: Duration = Duration::from_secs(30);

impl<S: Subject> Arena<S> {
    pub(super) async fn snapshot_catch_up(&mut self) -> Result<Proof> {
        let (victim, leader) = self.any_follower().await?;
        let last = self.cluster.standing(victim).await?.last_log_index;
        let mut peers: Vec<End> = self.others(victim).into_iter().map(End::Node).collect();
        peers.push(End::Clients);
        let cut = cut(&both_ways(End::Node(victim), &peers))?;
        let purged = wait_for("the log to be cut beyond the follower", BEHIND_AT_MOST, async || {
            let purged = self.cluster.standing(leader).await.ok()?.purged_index;
            (purged > last).then_some(purged)
        })
        .await?;
        let goal = self.cluster.standing(leader).await?.committed_index;
        let dropped = cut.heal()?;
        ensure!(dropped > 0, "no packet was dropped");
        let healed = Instant::now();
        wait_for("the follower to catch up", CAUGHT_UP_AT_MOST, async || {
            self.cluster
                .standing(victim)
                .await
                .is_ok_and(|standing| standing.applied_index >= goal)
                .then_some(())
        })
        .await?;
        Ok(Proof {
            what: format!(
                "{} held the log up to {last} while the leader had purged it up to {purged}; {dropped} packets dropped",
                self.name(victim)
            ),
            effect: format!("it had applied {goal} after {} ms", healed.elapsed().as_millis()),
        })
    }
}
