//! What the data plane serves right now, for those who ask: conditions of zones, readiness, metrics, and changes
//! that wait until they are served.
//!
//! The feed writes it after it has published a catalog, never before: what is told here can be dug.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use metadata_store::Version;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
};
use tokio::{sync::watch, time::timeout};

/// How the served zones stand to the metadata store.
#[derive(Debug, Clone)]
pub(crate) struct Served(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    applied: watch::Sender<Version>,
    zones: Mutex<HashMap<String, ZoneStatus>>,
    contact: Mutex<Contact>,
    saved: AtomicU64,
}

/// What is served of one zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ZoneStatus {
    /// Serial that is answered.
    pub(crate) serial: u32,
    /// Version of the zone's record that is answered.
    pub(crate) version: Version,
    /// What could not be served, and why.
    pub(crate) problem: Option<String>,
    /// Name servers inside the zone that have no address there.
    pub(crate) lame: Vec<String>,
}

#[derive(Debug)]
struct Contact {
    /// When the served zones were last known to be those of the store; for zones from a checkpoint, when it was
    /// written. `None`: nothing is served.
    fresh: Option<Instant>,
    /// Whether this process has heard of the store at all.
    reached: bool,
    /// Why the store cannot be followed.
    error: Option<String>,
}

/// How fresh the served zones are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Freshness {
    /// Time since they were known to be the store's; `None`: never.
    pub(crate) stale: Option<Duration>,
    /// Whether this process has heard of the store; before that, it serves a checkpoint at best.
    pub(crate) reached: bool,
    /// Why they are not renewed.
    pub(crate) error: Option<String>,
}

impl Served {
    pub(crate) fn new() -> Served {
        let contact = Contact { fresh: None, reached: false, error: None };
        Served(Arc::new(Inner {
            applied: watch::Sender::new(Version(0)),
            zones: Mutex::default(),
            contact: Mutex::new(contact),
            saved: AtomicU64::new(0),
        }))
    }

    /// Waits until `version` is served, at most for `limit`; whether it is.
    pub(crate) async fn wait_for(&self, version: Version, limit: Duration) -> bool {
        let mut applied = self.0.applied.subscribe();
        let reached = applied.wait_for(|applied| applied.0 >= version.0);
        matches!(timeout(limit, reached).await, Ok(Ok(_)))
    }

    /// The status of one zone by its key.
    pub(crate) fn zone(&self, key: &str) -> Option<ZoneStatus> {
        lock(&self.0.zones).get(key).cloned()
    }

    /// Notes what is served of zones: `None` is not any more.
    pub(crate) fn note_zones(&self, changed: impl IntoIterator<Item = (String, Option<ZoneStatus>)>) {
        let mut zones = lock(&self.0.zones);
        for (key, status) in changed {
            match status {
                Some(status) => zones.insert(key, status),
                None => zones.remove(&key),
            };
        }
    }

    /// Forgets all zones: a new list follows.
    pub(crate) fn forget_zones(&self) {
        lock(&self.0.zones).clear();
    }

    /// Notes that everything up to `version` is served, and that the store was heard of now.
    pub(crate) fn note_applied(&self, version: Version) {
        self.note_contact();
        self.0.applied.send_if_modified(|applied| {
            let newer = version.0 > applied.0;
            *applied = Version(version.0.max(applied.0));
            newer
        });
    }

    /// Notes that what is served was listed anew and is of `version`, whatever was served before.
    pub(crate) fn note_loaded(&self, version: Version) {
        self.note_contact();
        self.0.applied.send_replace(version);
    }

    /// Notes that everything up to `version` is saved for a restart.
    pub(crate) fn note_saved(&self, version: Version) {
        self.0.saved.store(version.0, Ordering::Relaxed);
    }

    /// The revision that a restart would serve at first; 0: none.
    pub(crate) fn saved(&self) -> Version {
        Version(self.0.saved.load(Ordering::Relaxed))
    }

    /// Waits until another revision is served.
    pub(crate) async fn changed(&self) {
        let mut applied = self.0.applied.subscribe();
        // The sender lives as long as `self`.
        drop(applied.changed().await);
    }

    /// Notes that the store was heard of.
    fn note_contact(&self) {
        *lock(&self.0.contact) = Contact { fresh: Some(Instant::now()), reached: true, error: None };
    }

    /// Notes that zones of this age are served from a checkpoint.
    pub(crate) fn note_checkpoint(&self, version: Version, age: Duration) {
        self.note_saved(version);
        self.0.applied.send_replace(version);
        lock(&self.0.contact).fresh = Instant::now().checked_sub(age);
    }

    /// Notes why the store cannot be followed.
    pub(crate) fn note_error(&self, error: String) {
        lock(&self.0.contact).error = Some(error);
    }

    /// How fresh the served zones are.
    pub(crate) fn freshness(&self) -> Freshness {
        let contact = lock(&self.0.contact);
        let Contact { fresh, reached, error } = &*contact;
        Freshness { stale: fresh.map(|fresh| fresh.elapsed()), reached: *reached, error: error.clone() }
    }

    /// Zones that are served.
    pub(crate) fn zone_count(&self) -> usize {
        lock(&self.0.zones).len()
    }

    /// The revision that is served.
    pub(crate) fn applied(&self) -> Version {
        *self.0.applied.borrow()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change under these locks is one assignment, so a panic elsewhere left nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Collector for Served {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let stale_s = self.freshness().stale.map(|stale| stale.as_secs_f64());
        let mut gauge = |name: &str, help: &str, value: f64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("flashdns_zones", "Zones that are served", count(self.zone_count() as u64))?;
        gauge("flashdns_served_revision", "Revision of the store that is served", count(self.applied().0))?;
        gauge(
            "flashdns_saved_revision",
            "Revision that a restart would serve at first",
            count(self.saved().0),
        )?;
        match stale_s {
            Some(stale_s) => {
                gauge("flashdns_stale_seconds", "Time since the store was last heard of", stale_s)
            }
            None => Ok(()),
        }
    }
}

/// As Prometheus has it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "revisions and counts beyond 2^53 are out of reach")]
fn count(value: u64) -> f64 {
    value as f64
}
