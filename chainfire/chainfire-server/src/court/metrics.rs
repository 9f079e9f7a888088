//! Counters of a court.

use prometheus_client::{metrics::counter::Counter, registry::Registry};

/// What the court of this node has done, over all terms in which it led.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    pub(super) questions: Counter,
    pub(super) verdicts: Counter,
    pub(super) withheld: Counter,
}

impl Metrics {
    /// Registers all counters; the registry adds the service's prefix.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, value: &Counter| {
            registry.register(format!("court_{name}"), help, value.clone());
        };
        counter(
            "questions",
            "Questions to nodes that gossip says have failed or that are down",
            &self.questions,
        );
        counter("verdicts", "Verdicts committed, those that lift one included", &self.verdicts);
        counter(
            "withheld",
            "Times that a node was kept in the registry for its services' sake",
            &self.withheld,
        );
    }
}
