//! The process's Prometheus registry.
//!
//! Metrics are named `<service>_<thing>_<unit>[_total]`; [`Metrics::register`] adds the prefix. Text is made when it
//! is asked for and nothing is kept besides the values.

use std::{
    fmt, fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _, text},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

/// The registry of the process. Clones are of the same registry.
#[derive(Clone)]
pub struct Metrics {
    service: &'static str,
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// A registry with the metrics of the process itself.
    pub fn new(service: &'static str) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(ProcessMetrics { started: SystemTime::now() }));
        Self { service, registry: Arc::new(Mutex::new(registry)) }
    }

    /// Registers metrics whose names get the prefix `<service>_`.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        // A hyphen is none of the letters of a metric's name.
        register(self.registry().sub_registry_with_prefix(self.service.replace('-', "_")))
    }

    /// Registers metrics and collectors under the names that they have.
    pub fn register_unprefixed<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry())
    }

    /// All metrics as OpenMetrics text.
    ///
    /// # Errors
    /// When a collector fails to encode its metrics.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.registry())?;
        Ok(out)
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Registering appends to lists; a panic half-way leaves a shorter list, not a broken one.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("service", &self.service).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct ProcessMetrics {
    started: SystemTime,
}

impl Collector for ProcessMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let started =
            self.started.duration_since(UNIX_EPOCH).map(|since| since.as_secs_f64()).unwrap_or_default();
        let mut gauge = |name: &str, help: &str, value: f64| {
            ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("process_start_time_seconds", "When the process started, in seconds since 1970", started)?;
        match resident_bytes() {
            Some(bytes) => gauge("process_resident_memory_bytes", "Memory that is resident", bytes),
            None => Ok(()),
        }
    }
}

/// Resident memory by `/proc/self/status`, which gives it in KiB whatever the page size.
fn resident_bytes() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1_024.0)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::counter::Counter;

    use super::*;

    #[test]
    fn exposition_has_the_process_and_the_service_with_its_prefix() {
        let metrics = Metrics::new("flaredb");
        let writes = Counter::<u64>::default();
        metrics.register(|registry| registry.register("writes", "Writes", writes.clone()));
        writes.inc_by(3);
        let text = metrics.encode().unwrap();
        for line in
            ["flaredb_writes_total 3", "process_start_time_seconds 1", "process_resident_memory_bytes "]
        {
            assert!(text.contains(line), "{line} not in\n{text}");
        }
    }
}
