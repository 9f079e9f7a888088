//! What this server shows beside what the runtime, the node and the Raft host count themselves.
//!
//! Sizes of namespaces are read from the engine at each scrape, so they are never older than the scrape.

use std::fmt;

use flaredb_engine::NamespaceInfo;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric},
    metrics::{TypedMetric, family::Family, gauge::Gauge},
};

/// Collects the sizes of a region's namespaces.
#[derive(Debug)]
pub(crate) struct NamespaceSizes(pub(crate) flaredb_engine::Region);

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    namespace: String,
}

impl Collector for NamespaceSizes {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let namespaces = self.0.namespaces();
        let mut gauge = |name, help, value: fn(&NamespaceInfo) -> u64| {
            let values = Family::<Label, Gauge>::default();
            for namespace in &namespaces {
                let label = Label { namespace: namespace.name.clone() };
                values.get_or_create(&label).set(i64::try_from(value(namespace)).unwrap_or(i64::MAX));
            }
            values.encode(encoder.encode_descriptor(name, help, None, Family::<Label, Gauge>::TYPE)?)
        };
        gauge("namespace_keys", "Live records of a namespace", |namespace| namespace.keys)?;
        gauge("namespace_bytes", "Bytes of a namespace's live keys and values", |namespace| namespace.bytes)?;
        gauge("namespace_revision", "Last revision of a namespace", |namespace| namespace.revision)
    }
}
