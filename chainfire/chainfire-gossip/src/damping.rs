//! Nodes that fail and return over and over are kept out for longer (after RFC 2439).

use std::{collections::BTreeMap, time::Duration};

use crate::identity::NodeId;

/// Failures beyond the allowed ones that are counted; more make the time that a node is kept out no longer.
const EXCESS_MAX: u32 = 3;

#[derive(Clone, Copy, Debug)]
struct Record {
    failures: u32,
    since: Duration,
}

/// How often each node failed lately.
#[derive(Debug)]
pub(crate) struct Damping {
    allowed: u32,
    forgive_after: Duration,
    records: BTreeMap<NodeId, Record>,
}

impl Damping {
    pub(crate) fn new(allowed: u32, forgive_after: Duration) -> Self {
        Self { allowed, forgive_after, records: BTreeMap::new() }
    }

    /// The node was marked down.
    pub(crate) fn failed(&mut self, now: Duration, node: NodeId) {
        self.forgive(now);
        let record = self.records.entry(node).or_insert(Record { failures: 0, since: now });
        record.failures = (record.failures + 1).min(self.allowed + EXCESS_MAX);
    }

    /// Whether the node is kept out although it answers.
    pub(crate) fn holds(&mut self, now: Duration, node: NodeId) -> bool {
        self.forgive(now);
        self.records.get(&node).is_some_and(|record| record.failures > self.allowed)
    }

    /// One failure of each node is forgotten after each period.
    fn forgive(&mut self, now: Duration) {
        let period = self.forgive_after;
        self.records.retain(|_, record| {
            while record.failures > 0 && now.saturating_sub(record.since) >= period {
                record.failures -= 1;
                record.since += period;
            }
            record.failures > 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_that_flaps_is_kept_out_until_it_was_quiet_and_never_for_good() {
        let minute = Duration::from_secs(60);
        let mut damping = Damping::new(2, minute);
        let node = NodeId(1);
        for _ in 0..2 {
            damping.failed(Duration::ZERO, node);
        }
        assert!(!damping.holds(Duration::ZERO, node));
        for _ in 0..100 {
            damping.failed(Duration::ZERO, node);
        }
        assert!(damping.holds(minute * 2, node));
        assert!(!damping.holds(minute * 3, node));
        assert!(!damping.holds(minute * 9, node) && damping.records.is_empty());
    }
}
