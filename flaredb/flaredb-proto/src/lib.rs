//! FlareDB's wire contract: the code generated from `proto/`, and the few rules that client, server and embedded
//! store must agree on to the byte ([`limits`], [`validate`], [`prefix_end`]).
//!
//! Start from the protobuf files; their comments are the documentation.

pub mod limits;
mod prefix;
pub mod validate;

pub use prefix::prefix_end;

/// Version 1 of the API.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated; documented in the protobuf files")]
pub mod v1 {
    tonic::include_proto!("photon.flaredb.v1");
}

/// The encoded `FileDescriptorSet` of the API, for gRPC reflection and for tests that list every RPC.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
