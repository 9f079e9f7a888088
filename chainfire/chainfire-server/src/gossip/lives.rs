//! Since when each member has been in the state that it is in. Pure.

use std::collections::BTreeMap;

use chainfire_gossip::{Member, NodeId, Status};

/// What is known of each member.
#[derive(Debug, Default)]
pub(super) struct Lives(BTreeMap<NodeId, Life>);

#[derive(Debug, Clone, Copy)]
struct Life {
    status: Status,
    generation: u64,
    since_ms: u64,
}

impl Lives {
    /// Takes note of the members as they are now; who is forgotten by gossip is forgotten here.
    pub(super) fn observe(&mut self, members: &[Member], now_ms: u64) {
        let observed = members.iter().map(|member| {
            let (node, status) = (member.identity.node, member.status);
            let generation = member.identity.generation;
            let known =
                self.0.get(&node).filter(|life| (life.status, life.generation) == (status, generation));
            (node, Life { status, generation, since_ms: known.map_or(now_ms, |life| life.since_ms) })
        });
        self.0 = observed.collect();
    }

    /// Since when a member is in its state; 0: it is not known.
    pub(super) fn since_ms(&self, node: NodeId) -> u64 {
        self.0.get(&node).map_or(0, |life| life.since_ms)
    }
}
