//! ChainFire's wire contract: etcd's v3 API as code, and what a range of keys is ([`KeyRange`]), on which client,
//! server and state machine must agree to the byte.
//!
//! Start from the protobuf files; their comments are the documentation. The modules are named after etcd's packages;
//! what ChainFire adds to them is [`v1`].
//!
//! ```
//! use chainfire_proto::{KeyRange, etcdserverpb::RangeRequest};
//!
//! let request = RangeRequest { key: "/a/".into(), range_end: "/a0".into(), ..RangeRequest::default() };
//! let range = KeyRange::new(request.key, request.range_end);
//! assert!(range.contains(b"/a/b"));
//! assert_eq!(range, KeyRange::prefix("/a/"));
//! ```

mod range;

pub use range::KeyRange;

/// Records and events.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in the protobuf files"
)]
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}

/// Users, roles and permissions.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in the protobuf files"
)]
pub mod authpb {
    tonic::include_proto!("authpb");
}

/// The services of etcd's v3 API.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in the protobuf files"
)]
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}

/// Locks.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in the protobuf files"
)]
pub mod v3lockpb {
    tonic::include_proto!("v3lockpb");
}

/// Elections.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in the protobuf files"
)]
pub mod v3electionpb {
    tonic::include_proto!("v3electionpb");
}

/// ChainFire's own services.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated; documented in the protobuf files"
)]
pub mod v1 {
    tonic::include_proto!("chainfire.v1");
}

/// The encoded `FileDescriptorSet` of ChainFire's own services, for the same.
pub const OWN_FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/own-descriptors.bin"));

/// The encoded `FileDescriptorSet` of etcd's API, for gRPC reflection and for tests that list every RPC.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
