//! How well this node itself is, and so how much its judgement of others is worth (Lifeguard, arXiv:1707.00788 §3.1).
//!
//! A node that is late, deaf, or suspected by others gives others more time.

use std::time::Duration;

/// A node is called this unwell at most; it then takes five times as long over its judgements.
const SCORE_MAX: u32 = 4;

/// 0 when the node is well.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LocalHealth(u32);

impl LocalHealth {
    /// A probe of ours was answered.
    pub(crate) fn better(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    /// Something went wrong that was probably our own fault.
    pub(crate) fn worse(&mut self, by: u32) {
        self.0 = self.0.saturating_add(by).min(SCORE_MAX);
    }

    pub(crate) fn score(self) -> u32 {
        self.0
    }

    /// How long to wait, for what takes `duration` when we are well.
    pub(crate) fn stretch(self, duration: Duration) -> Duration {
        duration.saturating_mul(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unwell_node_waits_longer_within_a_bound_and_recovers() {
        let mut health = LocalHealth::default();
        let second = Duration::from_secs(1);
        assert_eq!(health.stretch(second), second);
        health.worse(100);
        assert_eq!(health.stretch(second), second * 5);
        (0..100).for_each(|_| health.better());
        assert_eq!(health.score(), 0);
    }
}
