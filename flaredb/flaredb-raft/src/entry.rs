//! Log entries that are encoded once.
//!
//! An entry is its record: 8 bytes index, 8 bytes term, 8 bytes leader (big-endian), one byte kind, the body. The
//! caller's task makes the record with room for the header, the Raft core fills the header in, and from then on
//! the same bytes go to the disk, to the peers and into the cache. The index comes first because the log engine
//! reads it from there.

use std::{fmt, io};

use bytes::{BufMut, Bytes, BytesMut};
use openraft::entry::{RaftEntry, RaftPayload};
use prost::Message as _;

use crate::{
    proto::v1,
    types::{CommittedLeaderId, LogId, Membership},
};

/// Bytes of an entry before its body.
pub(crate) const HEADER_BYTES: usize = 25;
/// Largest accepted command: a batch of the largest writes fits, and a message to a peer holds any two.
pub(crate) const COMMAND_BYTES_MAX: usize = 16 << 20;

const KIND_OFFSET: usize = 24;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Blank = 0,
    Command = 1,
    Membership = 2,
}

/// A proposed command: a record whose header is still empty.
pub(crate) struct Command(BytesMut);

impl Command {
    pub(crate) fn new(body: &[u8]) -> Self {
        Self(record(Kind::Command, body))
    }
}

fn record(kind: Kind, body: &[u8]) -> BytesMut {
    let mut record = BytesMut::with_capacity(HEADER_BYTES + body.len());
    record.put_bytes(0, KIND_OFFSET);
    record.put_u8(kind as u8);
    record.put_slice(body);
    record
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len() - HEADER_BYTES)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What will become an entry once the Raft core gives it a log id.
#[derive(Debug)]
pub(crate) struct Payload {
    record: BytesMut,
    membership: Option<Membership>,
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.record.len() - HEADER_BYTES)
    }
}

impl RaftPayload for Payload {
    type D = Command;
    type NodeId = u64;
    type Node = openraft::BasicNode;

    fn blank() -> Self {
        Self { record: record(Kind::Blank, &[]), membership: None }
    }

    fn with_normal(self, data: Command) -> Self {
        Self { record: data.0, membership: None }
    }

    fn with_membership(self, membership: Membership) -> Self {
        let body = v1::Membership::from(&membership).encode_to_vec();
        Self { record: record(Kind::Membership, &body), membership: Some(membership) }
    }

    fn get_membership(&self) -> Option<Membership> {
        self.membership.clone()
    }
}

/// A log entry. Cloning shares the bytes.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    log_id: LogId,
    record: Bytes,
}

impl Entry {
    /// Reads an entry from its record; refuses what this version does not know.
    pub(crate) fn decode(record: Bytes) -> io::Result<Self> {
        if record.len() < HEADER_BYTES || record[KIND_OFFSET] > Kind::Membership as u8 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a log entry has no valid header"));
        }
        let leader = CommittedLeaderId { term: word(&record, 8), node_id: word(&record, 16) };
        let entry = Self { log_id: LogId::new(leader, word(&record, 0)), record };
        entry.decode_membership()?;
        Ok(entry)
    }

    /// The bytes that are written to disk and sent to peers.
    pub(crate) fn record(&self) -> &Bytes {
        &self.record
    }

    /// The proposed bytes; empty for the host's own entries.
    pub(crate) fn command(&self) -> Bytes {
        match self.record[KIND_OFFSET] == Kind::Command as u8 {
            true => self.record.slice(HEADER_BYTES..),
            false => Bytes::new(),
        }
    }

    fn decode_membership(&self) -> io::Result<Option<Membership>> {
        if self.record[KIND_OFFSET] != Kind::Membership as u8 {
            return Ok(None);
        }
        let message = v1::Membership::decode(self.record.slice(HEADER_BYTES..)).map_err(io::Error::other)?;
        Membership::try_from(message).map(Some)
    }
}

fn word(record: &[u8], at: usize) -> u64 {
    record[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

fn fill_header(record: &mut [u8], log_id: &LogId) {
    record[..8].copy_from_slice(&log_id.index.to_be_bytes());
    record[8..16].copy_from_slice(&log_id.leader_id.term.to_be_bytes());
    record[16..KIND_OFFSET].copy_from_slice(&log_id.leader_id.node_id.to_be_bytes());
}

impl RaftEntry for Entry {
    type CommittedLeaderId = CommittedLeaderId;
    type Payload = Payload;

    fn new(log_id: LogId, mut payload: Payload) -> Self {
        fill_header(&mut payload.record, &log_id);
        Self { log_id, record: payload.record.freeze() }
    }

    fn log_id_parts(&self) -> (&CommittedLeaderId, u64) {
        (&self.log_id.leader_id, self.log_id.index)
    }

    fn set_log_id(&mut self, new: LogId) {
        let mut record = BytesMut::from(std::mem::take(&mut self.record));
        fill_header(&mut record, &new);
        *self = Self { log_id: new, record: record.freeze() };
    }

    fn get_membership(&self) -> Option<Membership> {
        // `decode` has read it once, and `new` made it from a membership.
        self.decode_membership().ok().flatten()
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:kind {}, {} bytes", self.log_id, self.record[KIND_OFFSET], self.record.len())
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use openraft::BasicNode;
    use proptest::prelude::*;

    use super::*;

    fn log_id(term: u64, node_id: u64, index: u64) -> LogId {
        LogId::new(CommittedLeaderId { term, node_id }, index)
    }

    proptest! {
        #[test]
        fn record_of_a_command_reads_back_as_the_same_entry(
            term: u64, node: u64, index: u64, body in prop::collection::vec(any::<u8>(), 0..300)
        ) {
            let entry = Entry::new(log_id(term, node, index), Payload::normal(Command::new(&body)));
            let read = Entry::decode(entry.record().clone()).unwrap();
            prop_assert_eq!(&read, &entry);
            prop_assert_eq!(read.command(), body);
            prop_assert_eq!(read.get_membership(), None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _either = Entry::decode(Bytes::from(bytes));
        }
    }

    #[test]
    fn membership_survives_its_record() {
        let nodes: BTreeMap<u64, BasicNode> =
            (1..=4).map(|id| (id, BasicNode::new(format!("n{id}:1")))).collect();
        let configs = vec![BTreeSet::from([1, 2, 3]), BTreeSet::from([2, 3, 4])];
        let membership = Membership::new(configs, nodes).unwrap();
        let entry = Entry::new(log_id(3, 1, 9), Payload::membership(membership.clone()));
        let read = Entry::decode(entry.record().clone()).unwrap();
        assert_eq!(read.get_membership(), Some(membership));
        assert!(read.command().is_empty());
    }

    #[test]
    fn new_log_id_is_in_the_record() {
        let mut entry = Entry::new(log_id(1, 1, 1), Payload::blank());
        entry.set_log_id(log_id(4, 5, 6));
        assert_eq!(Entry::decode(entry.record().clone()).unwrap().log_id(), log_id(4, 5, 6));
    }
}
