//! Record sets and changes as they go into a zone: owned, uncompressed, in no particular order.

use crate::{Name, rtype};

/// Everything of one owner and type (RFC 2181 §5), class IN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RrSet {
    /// Owner.
    pub owner: Name,
    /// Type number.
    pub rtype: u16,
    /// Time to live in seconds, one for the whole set (RFC 2181 §5.2).
    pub ttl: u32,
    /// Record data in wire form without compression, one for each record.
    pub data: Vec<Box<[u8]>>,
}

/// One change of a zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The set takes the place of the one with its owner and type, or is new.
    Put(RrSet),
    /// The set of this owner and type goes, if it is there.
    Delete {
        /// Owner.
        owner: Name,
        /// Type number.
        rtype: u16,
    },
}

impl Change {
    /// The owner of the changed set.
    pub fn owner(&self) -> &Name {
        match self {
            Change::Put(set) => &set.owner,
            Change::Delete { owner, .. } => owner,
        }
    }

    /// The type of the changed set.
    pub fn rtype(&self) -> u16 {
        match self {
            Change::Put(set) => set.rtype,
            Change::Delete { rtype, .. } => *rtype,
        }
    }
}

impl RrSet {
    /// The serial, if this is a start of authority (RFC 1035 §3.3.13).
    pub fn serial(&self) -> Option<u32> {
        let data = self.data.first().filter(|_| self.rtype == rtype::SOA)?;
        let numbers = data.last_chunk::<20>()?;
        Some(u32::from_be_bytes(*numbers.first_chunk()?))
    }
}
