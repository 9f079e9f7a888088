//! flashdns's wire contract: the code generated from `proto/`, and nothing written by hand.
//!
//! Start from the protobuf files; their comments are the documentation.

/// Version 1 of the API.
#[expect(missing_docs, clippy::all, reason = "generated; documented in the protobuf files")]
pub mod v1 {
    tonic::include_proto!("photon.flashdns.v1");
}

/// The encoded `FileDescriptorSet` of the API, for gRPC reflection and for tests that list every RPC.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
