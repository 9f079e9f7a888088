//! Counters of one node's gossip.
//!
//! Plain `prometheus_client` values; whoever owns a registry calls [`Metrics::register`] once.

use std::sync::Arc;

use prometheus_client::{
    metrics::{
        counter::Counter,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};

/// Counters of one node. Clones count together.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Values>);

/// The values, for those who read them directly.
#[derive(Debug)]
pub struct Values {
    /// Packets sent, by UDP and TCP.
    pub sent: Counter,
    /// Their bytes.
    pub sent_bytes: Counter,
    /// Packets received and taken.
    pub received: Counter,
    /// Packets that no key of the ring opens.
    pub foreign: Counter,
    /// Packets that were here before.
    pub replayed: Counter,
    /// Packets of sessions that had to prove first that they are no recording.
    pub challenged: Counter,
    /// Packets that were sealed with a key of ours, and are none that we understand.
    pub malformed: Counter,
    /// Packets from a life of a node that is over.
    pub outdated: Counter,
    /// What the SWIM machine refused to do.
    pub swim_errors: Counter,
    /// Packets, connections and events for which a queue had no room.
    pub dropped: Counter,
    /// Seconds from a probe to its answer.
    pub probe_seconds: Histogram,
    /// Probes that nobody answered in time.
    pub probes_failed: Counter,
    /// Probes that were sent over TCP, because UDP did not answer.
    pub fallbacks: Counter,
    /// Answers that came over TCP in time.
    pub fallbacks_answered: Counter,
    /// Times that this node found that it had stood still.
    pub stalls: Counter,
    /// 0 when this node is well, up to 4.
    pub unwellness: Gauge,
    /// Nodes that count as there, with this one.
    pub members: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Values {
            sent: Counter::default(),
            sent_bytes: Counter::default(),
            received: Counter::default(),
            foreign: Counter::default(),
            replayed: Counter::default(),
            challenged: Counter::default(),
            malformed: Counter::default(),
            outdated: Counter::default(),
            swim_errors: Counter::default(),
            dropped: Counter::default(),
            probe_seconds: Histogram::new(exponential_buckets(0.000_1, 2.0, 14)),
            probes_failed: Counter::default(),
            fallbacks: Counter::default(),
            fallbacks_answered: Counter::default(),
            stalls: Counter::default(),
            unwellness: Gauge::default(),
            members: Gauge::default(),
        }))
    }
}

impl std::ops::Deref for Metrics {
    type Target = Values;

    fn deref(&self) -> &Values {
        &self.0
    }
}

impl Metrics {
    /// Registers all values under `gossip_…`; give the registry the service's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, value: &Counter| {
            registry.register(format!("gossip_{name}"), help, value.clone());
        };
        counter("sent_packets", "Packets sent, by UDP and TCP", &self.sent);
        counter("sent_bytes", "Bytes of packets sent", &self.sent_bytes);
        counter("received_packets", "Packets received and taken", &self.received);
        counter("foreign_packets", "Packets that no key of the ring opens", &self.foreign);
        counter("replayed_packets", "Packets that were here before", &self.replayed);
        counter(
            "challenged_packets",
            "Packets of sessions that had to prove themselves first",
            &self.challenged,
        );
        counter("malformed_packets", "Packets sealed with our key that mean nothing", &self.malformed);
        counter("outdated_packets", "Packets from a life of a node that is over", &self.outdated);
        counter("swim_errors", "What the SWIM machine refused to do", &self.swim_errors);
        counter("dropped", "Packets, connections and events for which a queue had no room", &self.dropped);
        counter("failed_probes", "Probes that nobody answered in time", &self.probes_failed);
        counter("fallback_probes", "Probes sent over TCP, because UDP did not answer", &self.fallbacks);
        counter("fallback_answers", "Answers that came over TCP in time", &self.fallbacks_answered);
        counter("stalls", "Times that this node found that it had stood still", &self.stalls);
        registry.register(
            "gossip_probe_seconds",
            "Seconds from a probe to its answer",
            self.probe_seconds.clone(),
        );
        registry.register("gossip_unwellness", "0 when this node is well, up to 4", self.unwellness.clone());
        registry.register("gossip_members", "Nodes that count as there, with this one", self.members.clone());
    }
}
