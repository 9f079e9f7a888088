//! What a process says about itself: the body of `/readyz`, and, for those who reach only the gRPC port, metadata of
//! the answer to a health check, since gRPC's health protocol can say that a process is not ready but not why.

use std::net::SocketAddr;

use serde_json::{Value, json};
use tonic::metadata::{BinaryMetadataValue, MetadataMap, MetadataValue};

use super::Readiness;

/// The metadata with the report as JSON, in answers of `grpc.health.v1.Health/Check` for the whole process.
pub const PROCESS_METADATA: &str = "photon-process-bin";

/// Peers take 16 KiB of headers; a report that leaves no room for others is not sent.
const METADATA_BYTES_MAX: usize = 8 << 10;

/// Which process this is.
#[derive(Debug, Clone)]
pub(crate) struct About {
    pub(crate) service: &'static str,
    pub(crate) node: String,
    /// Address of the gRPC port: a person who knows one port of a process can find the other.
    pub(crate) grpc: SocketAddr,
}

impl About {
    /// Everything there is to say.
    pub(crate) fn report(&self, readiness: &Readiness) -> Value {
        json!({
            "ready": readiness.is_ready(),
            "service": self.service,
            "node": self.node,
            "version": env!("CARGO_PKG_VERSION"),
            "grpc": self.grpc,
            "draining": readiness.draining,
            "conditions": readiness.conditions,
        })
    }

    /// Adds the report to an answer.
    pub(super) fn describe(&self, readiness: &Readiness, metadata: &mut MetadataMap) {
        let text = self.report(readiness).to_string();
        if text.len() <= METADATA_BYTES_MAX {
            let value: BinaryMetadataValue = MetadataValue::from_bytes(text.as_bytes());
            metadata.insert_bin(PROCESS_METADATA, value);
        }
    }
}
