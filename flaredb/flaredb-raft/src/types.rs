//! The types that openraft is given, named once.
//!
//! A log id carries term and leader, so that several elections may succeed in one term without two different
//! entries ever sharing an id.

use bytes::Bytes;
use openraft::{BasicNode, type_config::alias};

use crate::entry::{Command, Entry, Payload};

openraft::declare_raft_types!(
    /// openraft with our own entries: encoded once, kept encoded.
    pub(crate) TypeConfig:
        D = Command,
        R = Bytes,
        NodeId = u64,
        Node = BasicNode,
        Payload = Payload,
        Entry = Entry,
);

pub(crate) type CommittedLeaderId = openraft::impls::leader_id_adv::LeaderId<u64, u64>;
pub(crate) type LogId = openraft::LogId<CommittedLeaderId>;
pub(crate) type Vote = openraft::Vote<CommittedLeaderId>;
pub(crate) type Membership = openraft::Membership<u64, BasicNode>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = alias::SnapshotOf<TypeConfig, crate::machine::SnapshotData>;
pub(crate) type Raft = openraft::Raft<TypeConfig, crate::machine::Machine>;
pub(crate) type RaftMetrics = openraft::RaftMetrics<TypeConfig>;

/// The public position of a log id: indexes count entries from 1, openraft's count from 0.
pub(crate) fn position(log_id: Option<&LogId>) -> u64 {
    log_id.map_or(0, |id| id.index + 1)
}
