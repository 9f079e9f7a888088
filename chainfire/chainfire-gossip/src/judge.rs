//! From hints to verdicts: what the one who may write the registry does with gossip.
//!
//! Gossip's word that a node failed opens a case. The node is asked over a second way, several times; any answer keeps
//! it in. When all are silent, and the budget of every service that it runs allows it, the verdict is proposed. What is
//! committed comes back with the next [`step`](Judge::step), so a proposal that was lost is made again, and a judge
//! that begins in the middle, on a new leader, takes over from what is committed. Pure: no clock, no socket.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    budget::{Census, DOWN_PERCENT_MAX, exhausted},
    damping::Damping,
    identity::NodeId,
};

/// How a judge comes to its verdicts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Questions that must all stay unanswered.
    pub questions: u8,
    /// Time between two of them.
    pub spacing: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// How long until a node in doubt, or one that is down, is asked again.
    pub again_after: Duration,
    /// Percent of a service's instances that may be down; over 50 counts as 50.
    pub down_percent: u8,
    /// Failures of a node that have no consequence; with more it is kept out until they are forgiven.
    pub flaps_allowed: u32,
    /// One failure of a node is forgiven after each such period.
    pub forgive_after: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            questions: 4,
            spacing: Duration::from_millis(100),
            timeout: Duration::from_millis(300),
            again_after: Duration::from_secs(1),
            down_percent: DOWN_PERCENT_MAX,
            flaps_allowed: 3,
            forgive_after: Duration::from_secs(60),
        }
    }
}

/// A question to a node, over another way than gossip's. Its outcome goes to [`Judge::answered`] or [`Judge::silent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Question {
    /// Whom to ask.
    pub node: NodeId,
    /// When it was asked.
    pub asked_at: Duration,
}

/// What the registry is to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The node is down.
    Failed,
    /// It is there again.
    Alive,
    /// It is gone because it said so.
    Left,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask; an answer counts within [`Rules::timeout`].
    Ask(Question),
    /// Propose this to the registry.
    Propose(NodeId, Verdict),
    /// Nothing: the node is down, but too much of this service would be. It is looked at again.
    Withheld(NodeId, String),
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// So many questions were asked, so many stayed unanswered.
    Asking { asked: u8, silent: u8 },
    /// It answered, while gossip still says that it failed.
    Doubted,
    /// It is down, and maybe the registry does not know yet.
    Condemned,
    /// The registry says that it is down; `answered` says that it is not.
    Down { answered: bool },
    /// It said farewell.
    Farewell,
}

#[derive(Clone, Copy, Debug)]
struct Case {
    stage: Stage,
    opened_at: Duration,
    next_at: Duration,
}

/// All open cases.
#[derive(Debug)]
pub struct Judge {
    rules: Rules,
    damping: Damping,
    cases: BTreeMap<NodeId, Case>,
}

impl Judge {
    /// A judge without cases. It asks at least once, and again after a millisecond at the soonest.
    pub fn new(mut rules: Rules) -> Self {
        rules.questions = rules.questions.max(1);
        rules.again_after = rules.again_after.max(Duration::from_millis(1));
        let damping = Damping::new(rules.flaps_allowed, rules.forgive_after);
        Self { rules, damping, cases: BTreeMap::new() }
    }

    /// Gossip says that the node failed.
    pub fn hint(&mut self, now: Duration, node: NodeId) {
        let case = Case { stage: Stage::Asking { asked: 0, silent: 0 }, opened_at: now, next_at: now };
        let open = self.cases.entry(node).or_insert(case);
        if matches!(open.stage, Stage::Doubted) {
            *open = case;
        }
    }

    /// Gossip says that the node is there.
    pub fn returned(&mut self, now: Duration, node: NodeId) {
        match self.cases.get_mut(&node) {
            Some(case) if matches!(case.stage, Stage::Down { .. }) => case.next_at = now,
            _ => drop(self.cases.remove(&node)),
        }
    }

    /// Gossip says that the node said farewell.
    pub fn left(&mut self, now: Duration, node: NodeId) {
        self.cases.insert(node, Case { stage: Stage::Farewell, opened_at: now, next_at: now });
    }

    /// The node is of no interest any more.
    pub fn forget(&mut self, node: NodeId) {
        self.cases.remove(&node);
    }

    /// The node answered.
    pub fn answered(&mut self, now: Duration, question: Question) {
        let Some(case) = self.cases.get_mut(&question.node) else { return };
        match &mut case.stage {
            Stage::Down { answered } => (*answered, case.next_at) = (true, now),
            Stage::Asking { .. } | Stage::Condemned => {
                case.stage = Stage::Doubted;
                case.next_at = now + self.rules.again_after;
            }
            Stage::Doubted | Stage::Farewell => {}
        }
    }

    /// The node did not answer in time. When the time was long over before that was noticed, this judge stood still
    /// itself, and the question does not count.
    pub fn silent(&mut self, now: Duration, question: Question) {
        let Some(case) = self.cases.get_mut(&question.node) else { return };
        let Stage::Asking { asked, silent } = &mut case.stage else { return };
        if question.asked_at < case.opened_at {
            return;
        }
        if now.saturating_sub(question.asked_at) > self.rules.timeout * 2 {
            (*asked, case.next_at) = (asked.saturating_sub(1), now);
        } else {
            *silent += 1;
            if *silent >= self.rules.questions {
                case.next_at = now;
            }
        }
    }

    /// When [`step`](Judge::step) is to be called; after every other call as well.
    pub fn step_at(&self) -> Option<Duration> {
        self.cases.values().map(|case| case.next_at).min()
    }

    /// What is to be done now, when the registry holds these instances and calls these nodes down.
    pub fn step(&mut self, now: Duration, census: &Census, down: &BTreeSet<NodeId>) -> Vec<Step> {
        self.follow(now, down);
        let due = self.cases.iter().filter(|(_, case)| case.next_at <= now).map(|(node, _)| *node);
        let due = due.collect::<Vec<_>>();
        due.into_iter().flat_map(|node| self.advance(now, node, census, down)).collect()
    }

    /// Takes over what is committed.
    fn follow(&mut self, now: Duration, down: &BTreeSet<NodeId>) {
        for node in down {
            let case = Case { stage: Stage::Down { answered: false }, opened_at: now, next_at: now };
            let open = self.cases.entry(*node).or_insert(case);
            if !matches!(open.stage, Stage::Down { .. } | Stage::Farewell) {
                *open = case;
            }
        }
        self.cases.retain(|node, case| !matches!(case.stage, Stage::Down { .. }) || down.contains(node));
    }

    fn advance(
        &mut self,
        now: Duration,
        node: NodeId,
        census: &Census,
        down: &BTreeSet<NodeId>,
    ) -> Vec<Step> {
        let Some(case) = self.cases.get_mut(&node) else { return Vec::new() };
        case.next_at = now + self.rules.again_after;
        let ask = Step::Ask(Question { node, asked_at: now });
        match &mut case.stage {
            Stage::Asking { silent, .. } if *silent >= self.rules.questions => {
                self.condemn(now, node, census, down)
            }
            Stage::Asking { asked, .. } if *asked < self.rules.questions => {
                *asked += 1;
                case.next_at = now + self.rules.spacing;
                vec![ask]
            }
            Stage::Asking { .. } => Vec::new(),
            Stage::Doubted => {
                (case.stage, case.opened_at) = (Stage::Asking { asked: 1, silent: 0 }, now);
                case.next_at = now + self.rules.spacing;
                vec![ask]
            }
            Stage::Condemned => vec![Step::Propose(node, Verdict::Failed)],
            Stage::Down { answered: true } if !self.damping.holds(now, node) => {
                case.stage = Stage::Down { answered: false };
                vec![Step::Propose(node, Verdict::Alive)]
            }
            Stage::Down { answered } => {
                *answered = false;
                vec![ask]
            }
            Stage::Farewell => {
                self.cases.remove(&node);
                vec![Step::Propose(node, Verdict::Left)]
            }
        }
    }

    /// All questions stayed unanswered. What is proposed counts for the budget before it is committed.
    fn condemn(
        &mut self,
        now: Duration,
        node: NodeId,
        census: &Census,
        down: &BTreeSet<NodeId>,
    ) -> Vec<Step> {
        let condemned = self.cases.iter().filter(|(_, case)| matches!(case.stage, Stage::Condemned));
        let down = condemned.map(|(node, _)| *node).chain(down.iter().copied()).collect();
        let withheld = exhausted(node, census, &down, self.rules.down_percent);
        let Some(case) = self.cases.get_mut(&node) else { return Vec::new() };
        if let Some(service) = withheld {
            // Asked anew before it is looked at again.
            (case.stage, case.opened_at) = (Stage::Doubted, now);
            return vec![Step::Withheld(node, service.to_owned())];
        }
        case.stage = Stage::Condemned;
        self.damping.failed(now, node);
        vec![Step::Propose(node, Verdict::Failed)]
    }
}

#[cfg(test)]
mod tests;
