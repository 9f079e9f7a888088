//! Counters of the write path: what a sync costs, how many entries share it, what is proposed and applied.
//!
//! Plain `prometheus_client` values; whoever owns a registry calls [`Metrics::register`] once.

use std::sync::Arc;

use prometheus_client::{
    metrics::{
        counter::Counter,
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
    /// Seconds of one write and sync of the log.
    pub sync_seconds: Histogram,
    /// Entries that share one sync.
    pub sync_entries: Histogram,
    /// Bytes of entries written to the log.
    pub log_bytes: Counter,
    /// Entries written to the log.
    pub log_entries: Counter,
    /// Writes of the log that were synced.
    pub syncs: Counter,
    /// Commands proposed on this node.
    pub proposals: Counter,
    /// Entries applied to state machines.
    pub applied_entries: Counter,
    /// Calls of `apply`.
    pub apply_batches: Counter,
    /// Rounds that confirmed leadership for reads; each serves all reads that waited.
    pub read_index_rounds: Counter,
    /// Snapshots sent to peers, completely.
    pub snapshots_sent: Counter,
    /// Snapshots received and installed.
    pub snapshots_installed: Counter,
    /// Attempts to write the log that found the disk full.
    pub log_full: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self(Arc::new(Values {
            sync_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            sync_entries: Histogram::new(exponential_buckets(1.0, 2.0, 14)),
            log_bytes: Counter::default(),
            log_entries: Counter::default(),
            syncs: Counter::default(),
            proposals: Counter::default(),
            applied_entries: Counter::default(),
            apply_batches: Counter::default(),
            read_index_rounds: Counter::default(),
            snapshots_sent: Counter::default(),
            snapshots_installed: Counter::default(),
            log_full: Counter::default(),
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
    /// Registers all values under `raft_…`; give the registry the service's prefix.
    pub fn register(&self, registry: &mut Registry) {
        let mut counter = |name: &str, help: &str, value: &Counter| {
            registry.register(format!("raft_{name}"), help, value.clone());
        };
        counter("log_bytes", "Bytes of entries written to the log", &self.log_bytes);
        counter("log_entries", "Entries written to the log", &self.log_entries);
        counter("log_syncs", "Writes of the log that were synced", &self.syncs);
        counter("proposals", "Commands proposed on this node", &self.proposals);
        counter("applied_entries", "Entries applied to state machines", &self.applied_entries);
        counter("apply_batches", "Calls of apply", &self.apply_batches);
        counter("read_index_rounds", "Rounds that confirmed leadership", &self.read_index_rounds);
        counter("snapshots_sent", "Snapshots sent to peers", &self.snapshots_sent);
        counter("snapshots_installed", "Snapshots received and installed", &self.snapshots_installed);
        counter("log_full", "Attempts to write the log that found the disk full", &self.log_full);
        let help = "Seconds of one write and sync of the log";
        registry.register("raft_log_sync_seconds", help, self.sync_seconds.clone());
        registry.register("raft_log_sync_entries", "Entries that share one sync", self.sync_entries.clone());
    }
}
