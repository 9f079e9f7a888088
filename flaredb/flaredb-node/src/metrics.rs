//! What a node counts beside what the runtime and the Raft host count themselves.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{
        TypedMetric,
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::Registry,
};
use tokio::time::Instant;

use flaredb_engine::Engine;

use crate::space::Free;

/// Counters of one node; clones count together.
#[derive(Clone, Debug)]
pub struct Metrics {
    proposals_in_flight: Gauge,
    proposals_waiting: Gauge,
    busy_refusals: Counter,
    proposal_seconds: Histogram,
    watchers: Gauge,
    disk_free_bytes: Gauge,
    disk_bytes: Gauge,
    short_of_space: Gauge,
    no_space_refusals: Counter,
    audits: Counter,
    audit_differences: Counter,
    quarantined: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            proposals_in_flight: Gauge::default(),
            proposals_waiting: Gauge::default(),
            busy_refusals: Counter::default(),
            proposal_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 16)),
            watchers: Gauge::default(),
            disk_free_bytes: Gauge::default(),
            disk_bytes: Gauge::default(),
            short_of_space: Gauge::default(),
            no_space_refusals: Counter::default(),
            audits: Counter::default(),
            audit_differences: Counter::default(),
            quarantined: Gauge::default(),
        }
    }
}

/// Something that is counted while it lives.
#[derive(Debug)]
pub struct Counted {
    gauge: Gauge,
    timed: Option<(Histogram, Instant)>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
        if let Some((seconds, since)) = &self.timed {
            seconds.observe(since.elapsed().as_secs_f64());
        }
    }
}

impl Metrics {
    /// Registers everything; the registry has the service's prefix already.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("proposals_in_flight", "Writes under way", self.proposals_in_flight.clone());
        let help = "Writes that wait until fewer are under way";
        registry.register("proposals_waiting", help, self.proposals_waiting.clone());
        let help = "Writes refused because too many were under way";
        registry.register("busy_refusals", help, self.busy_refusals.clone());
        registry.register("proposal_seconds", "From proposal to outcome", self.proposal_seconds.clone());
        registry.register("watchers", "Watches that are open", self.watchers.clone());
        let help = "Free bytes of the disk with the data";
        registry.register("disk_free_bytes", help, self.disk_free_bytes.clone());
        registry.register("disk_bytes", "Bytes of the disk with the data", self.disk_bytes.clone());
        let help = "1 while this node is short of space";
        registry.register("short_of_space", help, self.short_of_space.clone());
        let help = "Writes refused because disks are full";
        registry.register("no_space_refusals", help, self.no_space_refusals.clone());
        registry.register("audits", "Parts of the rows that this replica has hashed", self.audits.clone());
        let help = "Audits that this node led and that found replicas to differ";
        registry.register("audit_differences", help, self.audit_differences.clone());
        let help = "1 while this replica is not trusted and serves nothing";
        registry.register("quarantined", help, self.quarantined.clone());
    }

    /// Shows how full the disk is.
    pub fn disk(&self, free: Free) {
        self.disk_free_bytes.set(i64::try_from(free.free_bytes).unwrap_or(i64::MAX));
        self.disk_bytes.set(i64::try_from(free.total_bytes).unwrap_or(i64::MAX));
    }

    /// Shows whether the node is short of space.
    pub fn short_of_space(&self, short: bool) {
        self.short_of_space.set(i64::from(short));
    }

    /// Counts an audit at which this replica has hashed its part.
    pub fn audited(&self) {
        self.audits.inc();
    }

    /// Counts an audit that found replicas to differ.
    pub fn audit_differed(&self) {
        self.audit_differences.inc();
    }

    /// Shows that this replica is not trusted.
    pub fn quarantined(&self) {
        self.quarantined.set(1);
    }

    /// Counts a write that waits, while it does.
    pub fn waiting(&self) -> Counted {
        count(&self.proposals_waiting, None)
    }

    /// Counts a write that was refused because there were too many.
    pub fn refused_for_number(&self) {
        self.busy_refusals.inc();
    }

    /// Counts a write that was refused for want of room.
    pub fn refused_for_space(&self) {
        self.no_space_refusals.inc();
    }

    /// Counts and times one proposal until the guard goes.
    pub fn proposal(&self) -> Counted {
        let timed = Some((self.proposal_seconds.clone(), Instant::now()));
        count(&self.proposals_in_flight, timed)
    }

    /// Counts one open watch until the guard goes.
    pub fn watcher(&self) -> Counted {
        count(&self.watchers, None)
    }
}

fn count(gauge: &Gauge, timed: Option<(Histogram, Instant)>) -> Counted {
    gauge.inc();
    Counted { gauge: gauge.clone(), timed }
}

/// Collects where the database's memory is.
#[derive(Debug)]
pub struct MemoryUse {
    /// The node's database.
    pub engine: Engine,
    /// Those of its regions.
    pub regions: Vec<flaredb_engine::Region>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Part {
    part: &'static str,
}

impl Collector for MemoryUse {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let memory = match self.engine.memory() {
            Ok(memory) => memory,
            Err(error) => {
                // All other figures are as good as ever.
                tracing::warn!(%error, "the database does not say where its memory is");
                return Ok(());
            }
        };
        let parts = [
            ("block_cache", memory.block_cache_bytes),
            ("memtables", memory.memtables_bytes),
            ("table_readers", memory.table_readers_bytes),
            ("recent_records", self.regions.iter().map(flaredb_engine::Region::remembered_bytes).sum()),
        ];
        let values = Family::<Part, Gauge>::default();
        for (part, bytes) in parts {
            values.get_or_create(&Part { part }).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        }
        let help = "Memory of the database, by what it is for";
        values.encode(encoder.encode_descriptor("memory_bytes", help, None, Family::<Part, Gauge>::TYPE)?)
    }
}
