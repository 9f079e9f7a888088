//! What came of a run.

use std::time::Duration;

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
