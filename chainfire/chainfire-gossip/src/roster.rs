//! The members by node: foca knows addresses and identities, others want to know nodes, and each change once.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    event::Event,
    frame::{Record, Stamp},
    identity::{Identity, NodeId},
    metadata::Metadata,
};

/// A member that did not tell about itself is asked again after this.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Members asked at once.
const ASKED_AT_ONCE: usize = 8;

/// What is thought of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It answers.
    Alive,
    /// Somebody could not reach it; it may still refute that.
    Suspected,
    /// It did not refute the suspicion. A hint.
    Failed,
    /// It said farewell.
    Left,
}

/// A node other than this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its newest life that is known.
    pub identity: Identity,
    /// What is thought of it.
    pub status: Status,
    /// What it said about itself, once it did.
    pub metadata: Option<Metadata>,
    stamp: Stamp,
    /// Newest version of its metadata that it mentioned.
    mentioned: u32,
    asked_at: Option<Duration>,
}

impl Member {
    fn new(identity: Identity) -> Self {
        let stamp = Stamp::default();
        Self { identity, status: Status::Alive, metadata: None, stamp, mentioned: 0, asked_at: None }
    }

    /// Whether it counts as there.
    pub fn is_active(&self) -> bool {
        matches!(self.status, Status::Alive | Status::Suspected)
    }

    fn is_untold(&self) -> bool {
        self.stamp < Stamp { generation: self.identity.generation, version: self.mentioned.max(1) }
    }
}

/// All nodes but this one.
#[derive(Debug)]
pub(crate) struct Roster {
    me: NodeId,
    members: BTreeMap<NodeId, Member>,
}

impl Roster {
    pub(crate) fn new(me: NodeId) -> Self {
        Self { me, members: BTreeMap::new() }
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// An identity is there.
    pub(crate) fn up(&mut self, identity: Identity) -> Option<Event> {
        if identity.node == self.me {
            return None;
        }
        let Some(member) = self.members.get_mut(&identity.node) else {
            self.members.insert(identity.node, Member::new(identity));
            return Some(Event::Joined(identity));
        };
        if identity.generation < member.identity.generation {
            return None;
        }
        let restarted = identity.generation > member.identity.generation && !identity.leaving;
        let returned = !member.is_active() || restarted;
        member.identity = identity;
        if !returned {
            return None;
        }
        member.status = Status::Alive;
        Some(Event::Returned(identity))
    }

    /// An identity is no longer there.
    pub(crate) fn down(&mut self, identity: Identity) -> Option<Event> {
        let member = self.members.get_mut(&identity.node)?;
        // A life before this one, or the same node's life at another address, ends without anybody's loss.
        if identity.generation < member.identity.generation || !member.is_active() {
            return None;
        }
        member.identity = identity;
        member.status = if identity.leaving { Status::Left } else { Status::Failed };
        Some(if identity.leaving { Event::Left(identity.node) } else { Event::FailedHint(identity.node) })
    }

    /// At one address there is now another identity; `is_up` says whether it counts as there.
    pub(crate) fn renamed(&mut self, before: Identity, after: Identity, is_up: bool) -> Vec<Event> {
        let gone = if before.node == after.node { None } else { self.down(before) };
        let come = if is_up { self.up(after) } else { self.advance(after) };
        gone.into_iter().chain(come).collect()
    }

    /// A member that is down has had a later life, or has said farewell, which is over as well.
    fn advance(&mut self, identity: Identity) -> Option<Event> {
        let member = self.members.get_mut(&identity.node)?;
        if identity.generation < member.identity.generation || member.is_active() {
            return None;
        }
        member.identity = identity;
        let news = identity.leaving && member.status != Status::Left;
        news.then(|| {
            member.status = Status::Left;
            Event::Left(identity.node)
        })
    }

    /// Compares with the identities that are suspected, and forgets members whose address nobody remembers.
    pub(crate) fn scan(
        &mut self,
        suspected: &BTreeSet<Identity>,
        known: impl Fn(SocketAddr) -> bool,
    ) -> Vec<Event> {
        self.members.retain(|_, member| member.is_active() || known(member.identity.addr));
        let mut events = Vec::new();
        for (node, member) in &mut self.members {
            match (member.status, suspected.contains(&member.identity)) {
                (Status::Alive, true) => {
                    member.status = Status::Suspected;
                    events.push(Event::Suspected(*node));
                }
                (Status::Suspected, false) => {
                    member.status = Status::Alive;
                    events.push(Event::Refuted(*node));
                }
                _ => {}
            }
        }
        events
    }

    /// Takes what is newer than what was known. Returns whether it was, and whether that changes anything.
    pub(crate) fn learn(&mut self, record: &Record) -> (bool, Option<Event>) {
        let Some(member) = self.members.get_mut(&record.node).filter(|member| member.stamp < record.stamp)
        else {
            return (false, None);
        };
        member.stamp = record.stamp;
        if member.metadata.as_ref() == Some(&record.metadata) {
            return (true, None);
        }
        member.metadata = Some(record.metadata.clone());
        (true, Some(Event::MetadataChanged(record.node)))
    }

    /// A packet of `identity` mentioned a version of its metadata.
    pub(crate) fn mention(&mut self, identity: &Identity, version: u32) {
        let same = |member: &&mut Member| member.identity.generation == identity.generation;
        if let Some(member) = self.members.get_mut(&identity.node).filter(same) {
            // A new life counts its versions from 1 again.
            let known = if member.stamp.generation == identity.generation { member.stamp.version } else { 0 };
            member.mentioned = version.max(known);
        }
    }

    /// Whom to ask now about themselves.
    pub(crate) fn ask(&mut self, now: Duration) -> Vec<SocketAddr> {
        let asked_lately =
            |at: Option<Duration>| at.is_some_and(|at| now.saturating_sub(at) < ASK_AGAIN_AFTER);
        let untold =
            |member: &&mut Member| member.is_active() && member.is_untold() && !asked_lately(member.asked_at);
        let ask = |member: &mut Member| {
            member.asked_at = Some(now);
            member.identity.addr
        };
        self.members.values_mut().filter(untold).take(ASKED_AT_ONCE).map(ask).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(generation: u64) -> Identity {
        Identity::new(NodeId(1), "10.0.0.1:1".parse().unwrap(), generation)
    }

    fn roster() -> Roster {
        let mut roster = Roster::new(NodeId(0));
        assert_eq!(roster.up(node(5)), Some(Event::Joined(node(5))));
        roster
    }

    fn status(roster: &Roster) -> Status {
        roster.get(NodeId(1)).unwrap().status
    }

    #[test]
    fn end_of_an_earlier_life_is_nobodys_loss() {
        let mut roster = roster();
        assert_eq!(roster.renamed(node(5), node(6), true), [Event::Returned(node(6))]);
        assert_eq!(roster.down(node(5)), None);
        assert_eq!(roster.down(node(6)), Some(Event::FailedHint(NodeId(1))));
        assert_eq!(roster.down(node(6)), None, "an end is told once");
        assert_eq!(roster.up(node(7)), Some(Event::Returned(node(7))));
        assert_eq!(roster.up(node(7)), None);
    }

    #[test]
    fn farewell_is_no_failure() {
        let mut roster = roster();
        let farewell = Identity { leaving: true, ..node(5) };
        assert_eq!(roster.renamed(node(5), farewell, true), []);
        assert_eq!(roster.down(farewell), Some(Event::Left(NodeId(1))));
    }

    #[test]
    fn farewell_of_a_node_that_was_thought_to_have_failed_is_believed() {
        let mut roster = roster();
        roster.down(node(5));
        let farewell = Identity { leaving: true, ..node(5) };
        assert_eq!(roster.renamed(node(5), farewell, false), [Event::Left(NodeId(1))]);
        assert_eq!(roster.renamed(node(5), farewell, false), [], "it is told once");
    }

    #[test]
    fn node_whose_address_another_one_took_is_thought_to_have_failed() {
        let mut roster = roster();
        let other = Identity { node: NodeId(2), ..node(9) };
        assert_eq!(
            roster.renamed(node(5), other, true),
            [Event::FailedHint(NodeId(1)), Event::Joined(other)]
        );
    }

    #[test]
    fn suspicion_is_told_and_taken_back() {
        let mut roster = roster();
        assert_eq!(roster.scan(&BTreeSet::from([node(5)]), |_| true), [Event::Suspected(NodeId(1))]);
        assert_eq!(roster.scan(&BTreeSet::from([node(5)]), |_| true), []);
        assert_eq!(roster.scan(&BTreeSet::new(), |_| true), [Event::Refuted(NodeId(1))]);
        assert_eq!(status(&roster), Status::Alive);
    }

    #[test]
    fn who_is_down_is_remembered_for_as_long_as_the_address_is() {
        let mut roster = roster();
        roster.down(node(5));
        roster.scan(&BTreeSet::new(), |addr| addr == node(5).addr);
        assert_eq!(status(&roster), Status::Failed);
        roster.scan(&BTreeSet::new(), |_| false);
        assert_eq!(roster.members().count(), 0);
    }

    #[test]
    fn member_is_asked_until_it_tells_and_again_when_it_mentions_more() {
        let mut roster = roster();
        let (now, later) = (Duration::ZERO, ASK_AGAIN_AFTER);
        assert_eq!(roster.ask(now), [node(5).addr]);
        assert_eq!(roster.ask(now), []);
        assert_eq!(roster.ask(later), [node(5).addr]);
        let metadata = Metadata::new("n", "", vec![], vec![]).unwrap();
        let mut record = Record { node: NodeId(1), stamp: Stamp { generation: 5, version: 1 }, metadata };
        assert_eq!(roster.learn(&record), (true, Some(Event::MetadataChanged(NodeId(1)))));
        assert_eq!(roster.learn(&record), (false, None));
        assert_eq!(roster.ask(later * 2), []);
        roster.mention(&node(5), 2);
        assert_eq!(roster.ask(later * 2), [node(5).addr]);
        record.stamp.version = 2;
        assert_eq!(roster.learn(&record), (true, None), "the same again is no change");
        assert_eq!(roster.ask(later * 9), []);
    }
}
