//! Packets that do not arrive.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::RngExt as _;

use super::{Arena, Proof};
use crate::{
    faults::{
        network::{Drops, End, cut},
        subject::{Load as _, Role, Subject},
    },
    wait::wait_for,
};

const DEPOSED_AT_MOST: Duration = Duration::from_secs(15);
const LOST_PERCENT: u8 = 20;

impl<S: Subject> Arena<S> {
    pub(super) async fn isolate_leader(&mut self) -> Result<Proof> {
        let (leader, term) = self.cluster.leader().await?;
        let clients_too = self.random.random_bool(0.5);
        let mut peers: Vec<End> = self.others(leader).into_iter().map(End::Node).collect();
        if clients_too {
            peers.push(End::Clients);
        }
        let length = self.length(2_500, 5_000);
        let cut = cut(&both_ways(End::Node(leader), &peers))?;
        let since = self.now_ms();
        let resumed = self.load.resumed(since).await?;
        let (new, new_term) = self.cluster.leader_but(&[leader]).await?;
        ensure!(new_term > term, "there was no election");
        self.last(length.saturating_sub(resumed)).await;
        let dropped = cut.heal()?;
        ensure!(dropped > 0, "no packet was dropped");
        wait_for("the old leader to follow", DEPOSED_AT_MOST, async || {
            let standing = self.cluster.standing(leader).await.ok()?;
            (standing.role == Role::Follower && standing.term >= new_term).then_some(())
        })
        .await?;
        let whom = if clients_too { "peers and clients" } else { "peers, not from clients" };
        Ok(Proof {
            what: format!("{} cut off from {whom}: {dropped} packets dropped", self.name(leader)),
            effect: format!(
                "{} leads in term {new_term}; first new write after {} ms; the old leader follows",
                self.name(new),
                resumed.as_millis()
            ),
        })
    }

    pub(super) async fn one_way(&mut self) -> Result<Proof> {
        let (follower, leader) = self.any_follower().await?;
        let (mute, deaf, words) = match self.random.random_range(0..3) {
            0 => (leader, vec![follower], "to one follower"),
            1 => (leader, self.others(leader), "to its followers"),
            _ => (follower, vec![leader], "to the leader"),
        };
        let drops: Vec<Drops> = deaf.iter().map(|&to| drops(End::Node(mute), End::Node(to), 100)).collect();
        let (before, length) = (self.load.recorder().totals(), self.length(2_500, 5_000));
        let cut = cut(&drops)?;
        self.last(length).await;
        let dropped = cut.heal()?;
        ensure!(dropped > 0, "no packet was dropped");
        let after = self.load.recorder().totals();
        Ok(Proof {
            what: format!(
                "nothing from {} {words} for {} ms: {dropped} packets dropped",
                self.name(mute),
                length.as_millis()
            ),
            effect: format!("{} writes acknowledged meanwhile", after.0 - before.0),
        })
    }

    pub(super) async fn loss(&mut self) -> Result<Proof> {
        let members: Vec<End> = self.cluster.members().into_iter().map(End::Node).collect();
        let pairs = members.iter().flat_map(|&from| members.iter().map(move |&to| (from, to)));
        let mut rules: Vec<Drops> =
            pairs.filter(|(from, to)| from != to).map(|(from, to)| drops(from, to, LOST_PERCENT)).collect();
        rules.extend(members.iter().map(|&node| drops(node, End::Clients, LOST_PERCENT)));
        rules.extend(members.iter().map(|&node| drops(End::Clients, node, LOST_PERCENT)));
        let (before, length) = (self.load.recorder().totals(), self.length(3_000, 6_000));
        let cut = cut(&rules)?;
        self.last(length).await;
        let dropped = cut.heal()?;
        ensure!(dropped > 0, "no packet was dropped");
        let after = self.load.recorder().totals();
        Ok(Proof {
            what: format!("{LOST_PERCENT} % of all packets for {} ms: {dropped} dropped", length.as_millis()),
            effect: format!("{} writes acknowledged meanwhile", after.0 - before.0),
        })
    }
}

fn drops(from: End, to: End, percent: u8) -> Drops {
    Drops { from, to, percent }
}

/// Nothing between one end and the others.
pub(in crate::faults) fn both_ways(one: End, others: &[End]) -> Vec<Drops> {
    others.iter().flat_map(|&other| [drops(one, other, 100), drops(other, one, 100)]).collect()
}
