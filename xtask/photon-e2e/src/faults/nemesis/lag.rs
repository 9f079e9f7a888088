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

/// More entries than nodes keep here for followers that were away.
const FAR: u64 = 600;
/// Nodes flush, and cut their logs, once a second here.
const FLUSHED_WITHIN: Duration = Duration::from_secs(3);
const BEHIND_AT_MOST: Duration = Duration::from_secs(60);
/// How long a follower may take to have what it missed.
pub(in crate::faults) const CAUGHT_UP_AT_MOST: Duration = Duration::from_secs(30);

impl<S: Subject> Arena<S> {
    pub(super) async fn snapshot_catch_up(&mut self) -> Result<Proof> {
        let (victim, leader) = self.any_follower().await?;
        let (last, before) =
            (self.cluster.standing(victim).await?.last_log_index, S::snapshots(&self.cluster, victim).await?);
        let mut peers: Vec<End> = self.others(victim).into_iter().map(End::Node).collect();
        peers.push(End::Clients);
        let cut = cut(&both_ways(End::Node(victim), &peers))?;
        let purged = self.purged_beyond(last, leader).await?;
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
        let after = S::snapshots(&self.cluster, victim).await?;
        ensure!(before.is_none() || after > before, "it caught up without a snapshot");
        Ok(Proof {
            what: format!(
                "{} held the log up to {last} while the leader {purged}; {dropped} packets dropped",
                self.name(victim)
            ),
            effect: format!("it had applied {goal} after {} ms", healed.elapsed().as_millis()),
        })
    }

    /// Waits until the leader's log no longer has what follows this entry; of a leader that does not say so, until it has
    /// far more than it keeps, in which case the follower must tell that it got a snapshot.
    async fn purged_beyond(&self, last: u64, leader: usize) -> Result<String> {
        let far = wait_for("the log to be cut beyond the follower", BEHIND_AT_MOST, async || {
            let standing = self.cluster.standing(leader).await.ok()?;
            match standing.purged_index {
                Some(purged) => (purged > last).then(|| format!("had purged it up to {purged}")),
                None => {
                    let ahead = standing.committed_index.saturating_sub(last);
                    (ahead > FAR).then(|| format!("was {ahead} entries ahead"))
                }
            }
        })
        .await?;
        if self.cluster.standing(leader).await?.purged_index.is_none() {
            self.last(FLUSHED_WITHIN).await;
        }
        Ok(far)
    }
}
