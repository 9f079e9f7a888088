//! What came of a run.

use std::{collections::BTreeSet, time::Duration};

use chainfire_gossip::{Event, Member, NodeId, Status};

use super::world::World;

/// A node that died.
#[derive(Debug)]
pub(crate) struct Kill {
    pub(crate) node: usize,
    pub(crate) at: Duration,
    /// Until the last of the running nodes that do not stall had the hint.
    pub(crate) known_after: Duration,
    /// Until the registry called it down.
    pub(crate) marked_after: Duration,
}

/// What came of one seed.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) kills: Vec<Kill>,
    /// Nodes that lived and never stalled, and were called down by the registry.
    pub(crate) wrongly_marked: Vec<(Duration, usize)>,
    /// Hints about such nodes, which the judge has to see through.
    pub(crate) wrong_hints: usize,
    /// Hints about nodes that stall.
    pub(crate) stall_hints: usize,
    /// Nodes that were called down while they stalled.
    pub(crate) stalls_marked: usize,
    /// Times that a service had less than half of its instances.
    pub(crate) overspent: usize,
    /// Pairs of running nodes of which one does not know the other, at the end.
    pub(crate) strangers: usize,
    /// Pairs of running nodes of which one does not know the other's metadata, at the end.
    pub(crate) untold: usize,
    /// Hints that a node failed which had said farewell.
    pub(crate) farewell_hints: usize,
    /// Running nodes that do not know that another one left, at the end.
    pub(crate) farewells_missed: usize,
    /// Packets that were refused because they had been there before.
    pub(crate) replayed: u64,
    /// Packets of ours that were not understood.
    pub(crate) malformed: u64,
    /// What the SWIM machine refused to do.
    pub(crate) swim_errors: u64,
    pub(crate) packets: u64,
    pub(crate) trace: u64,
}

/// The value that 99 of 100 do not exceed.
pub(crate) fn p99(values: impl Iterator<Item = Duration>) -> Duration {
    quantile(values, 99)
}

fn quantile(values: impl Iterator<Item = Duration>, percent: usize) -> Duration {
    let mut values = values.collect::<Vec<_>>();
    values.sort();
    let at = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(at).copied().unwrap_or(Duration::MAX)
}

/// One line for people.
pub(crate) fn summary(reports: &[Report]) -> String {
    let kills = || reports.iter().flat_map(|report| &report.kills);
    let line = |name: &str, of: &dyn Fn(&Kill) -> Duration| {
        let at = |percent| quantile(kills().map(of), percent);
        format!("{name} p50 {:?} p99 {:?} max {:?}", at(50), at(99), at(100))
    };
    format!(
        "{} seeds, {} kills: {}; {}; wrong hints {}, wrong verdicts {}, \
         hints about stalled nodes {}, marked while stalled {}, packets {}",
        reports.len(),
        kills().count(),
        line("known to all", &|kill| kill.known_after),
        line("marked", &|kill| kill.marked_after),
        reports.iter().map(|report| report.wrong_hints).sum::<usize>(),
        reports.iter().map(|report| report.wrongly_marked.len()).sum::<usize>(),
        reports.iter().map(|report| report.stall_hints).sum::<usize>(),
        reports.iter().map(|report| report.stalls_marked).sum::<usize>(),
        reports.iter().map(|report| report.packets).sum::<u64>(),
    )
}

impl World {
    /// Nodes that live and do not stall.
    pub(crate) fn healthy(&self) -> BTreeSet<usize> {
        let steady = self.plan.nodes - self.plan.stalling;
        (0..steady).filter(|node| self.nodes[*node].alive && !self.nodes[*node].left).collect()
    }

    pub(crate) fn note(&mut self, at: usize, event: Event) {
        self.trace(&(self.now, at, event));
        if let Event::FailedHint(node) = event {
            self.nodes[at].failed.insert(node, self.now);
            self.count_hint(usize::try_from(node.0).unwrap());
        }
        if at == self.court.leader {
            self.hear(event);
        }
    }

    fn count_hint(&mut self, node: usize) {
        let stalls = node >= self.plan.nodes - self.plan.stalling;
        self.report.wrong_hints += usize::from(self.healthy().contains(&node));
        self.report.farewell_hints += usize::from(self.nodes[node].left);
        self.report.stall_hints += usize::from(stalls);
    }

    pub(crate) fn marked(&mut self, node: usize) {
        self.trace(&(self.now, node));
        self.report.stalls_marked += usize::from(self.is_frozen(node));
        if self.healthy().contains(&node) {
            self.report.wrongly_marked.push((self.now, node));
        }
        let now = self.now;
        for kill in self.report.kills.iter_mut().filter(|kill| kill.node == node) {
            kill.marked_after = kill.marked_after.min(now - kill.at);
        }
    }

    fn trace(&mut self, what: &impl std::fmt::Debug) {
        for byte in format!("{what:?}").bytes() {
            self.report.trace = (self.report.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) fn finish(mut self) -> Report {
        let healthy = self.healthy();
        for kill in &mut self.report.kills {
            let id = NodeId(kill.node as u64);
            let known = healthy.iter().map(|node| self.nodes[*node].failed.get(&id).map(|at| *at - kill.at));
            let last = known.map(|after| after.unwrap_or(Duration::MAX)).max();
            kill.known_after = last.unwrap_or(Duration::MAX);
        }
        for one in &healthy {
            (0..self.plan.nodes).filter(|other| other != one).for_each(|other| self.compare(*one, other));
        }
        self.report.replayed = self.nodes.iter().map(|node| node.metrics.replayed.get()).sum();
        self.report.malformed = self.nodes.iter().map(|node| node.metrics.malformed.get()).sum();
        self.report.swim_errors = self.nodes.iter().map(|node| node.metrics.swim_errors.get()).sum();
        self.report
    }

    /// What one node knows of another, at the end.
    fn compare(&mut self, one: usize, other: usize) {
        let member = self.nodes[one].gossip.member(NodeId(other as u64));
        let there = &self.nodes[other];
        if there.left {
            let missed = member.is_none_or(|member| member.status != Status::Left);
            self.report.farewells_missed += usize::from(missed);
        } else if self.healthy().contains(&other) {
            let told = member.and_then(|member| member.metadata.as_ref()) == Some(&there.metadata);
            self.report.strangers += usize::from(!member.is_some_and(Member::is_active));
            self.report.untold += usize::from(!told);
        }
    }
}
