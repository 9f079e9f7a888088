//! The registry and who writes it: one of five voters, two of which stall; the next takes over when it does.

use std::{collections::BTreeSet, time::Duration};

use chainfire_gossip::{Census, Event, Judge, NodeId, Rules, Status, Step, Verdict};

use super::world::{Happening, World};

/// A leader that stands still for longer is replaced.
const ELECTION_AFTER: Duration = Duration::from_secs(1);
/// How often followers look.
pub(crate) const HEARTBEAT: Duration = Duration::from_millis(100);

/// The leader's judge, and what is committed.
#[derive(Debug)]
pub(crate) struct Court {
    voters: Vec<usize>,
    pub(crate) leader: usize,
    pub(crate) term: u64,
    judge: Judge,
    pub(crate) census: Census,
    pub(crate) down: BTreeSet<NodeId>,
}

impl Court {
    pub(crate) fn new(nodes: usize, census: Census) -> Self {
        let voters = vec![0, nodes - 1, 1, nodes - 2, 2];
        let judge = Judge::new(Rules::default());
        Self { voters, leader: 0, term: 1, judge, census, down: BTreeSet::new() }
    }

    /// Whether a service has less than half of its instances.
    pub(crate) fn overspent(&self) -> bool {
        self.census.values().any(|instances| instances.intersection(&self.down).count() * 2 > instances.len())
    }
}

impl World {
    /// Followers look after the leader.
    pub(crate) fn elect(&mut self) {
        let gone = |world: &Self, node: usize| {
            let node = &world.nodes[node];
            !node.alive || node.frozen_since.is_some_and(|since| world.now - since >= ELECTION_AFTER)
        };
        if gone(self, self.court.leader) {
            let next = self.court.voters.iter().find(|voter| !gone(self, **voter)).copied();
            next.into_iter().for_each(|voter| self.take_office(voter));
        }
        self.after(HEARTBEAT, Happening::Heartbeat);
    }

    fn take_office(&mut self, voter: usize) {
        (self.court.leader, self.court.term) = (voter, self.court.term + 1);
        self.court.judge = Judge::new(Rules::default());
        let failed = |member: &&chainfire_gossip::Member| member.status == Status::Failed;
        for member in self.nodes[voter].gossip.members().filter(failed) {
            self.court.judge.hint(self.now, member.identity.node);
        }
        self.deliberate();
    }

    /// What the leader's gossip tells goes to its judge.
    pub(crate) fn hear(&mut self, event: Event) {
        let (now, node) = (self.now, event.node());
        match event {
            Event::FailedHint(_) => self.court.judge.hint(now, node),
            Event::Joined(_) | Event::Returned(_) => self.court.judge.returned(now, node),
            Event::Left(_) => self.court.judge.left(now, node),
            Event::Suspected(_) | Event::Refuted(_) | Event::MetadataChanged(_) => return,
        }
        self.deliberate();
    }

    /// Does what the judge wants, unless its node stands still.
    pub(crate) fn deliberate(&mut self) {
        if self.is_frozen(self.court.leader) {
            return;
        }
        let Court { judge, census, down, term, .. } = &mut self.court;
        let (steps, term) = (judge.step(self.now, census, down), *term);
        for step in steps {
            match step {
                Step::Ask(question) => {
                    let (after, answered) = self.ask(question.node);
                    self.after(after, Happening::Outcome { term, question, answered });
                }
                // One proposal in twenty is lost.
                Step::Propose(node, verdict) if !self.net.lost() => {
                    self.after(Duration::from_millis(3), Happening::Commit { term, node, verdict });
                }
                Step::Propose(..) | Step::Withheld(..) => {}
            }
        }
        if let Some(at) = self.court.judge.step_at() {
            self.at(at.max(self.now + Duration::from_millis(1)), Happening::Deliberate { term });
        }
    }

    /// A call over a connection of its own: when it ends, and whether with an answer.
    fn ask(&mut self, node: NodeId) -> (Duration, bool) {
        let timeout = Rules::default().timeout;
        let there = &self.nodes[usize::try_from(node.0).unwrap()];
        let thaw = there.frozen_until.map_or(Duration::ZERO, |until| until.saturating_sub(self.now));
        let alive = there.alive;
        let took = self.net.handshake() + self.net.stream().max(thaw) + self.net.stream();
        if alive && took < timeout { (took, true) } else { (timeout, false) }
    }

    pub(crate) fn outcome(&mut self, term: u64, question: chainfire_gossip::Question, answered: bool) {
        if term != self.court.term {
            return;
        }
        // A leader that stands still learns of it when it goes on.
        if let Some(until) = self.nodes[self.court.leader].frozen_until {
            return self.at(until, Happening::Outcome { term, question, answered });
        }
        if answered {
            self.court.judge.answered(self.now, question);
        } else {
            self.court.judge.silent(self.now, question);
        }
        self.deliberate();
    }

    pub(crate) fn commit(&mut self, term: u64, node: NodeId, verdict: Verdict) {
        if term != self.court.term {
            return;
        }
        let index = usize::try_from(node.0).unwrap();
        match verdict {
            Verdict::Failed => {
                self.court.down.insert(node);
                self.marked(index);
            }
            Verdict::Alive | Verdict::Left => drop(self.court.down.remove(&node)),
        }
        self.report.overspent += usize::from(self.court.overspent());
        self.deliberate();
    }
}
