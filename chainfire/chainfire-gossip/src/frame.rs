//! What is inside a sealed packet: who sent it, the cookies that prove it is no replay, SWIM's bytes or a word of our
//! own, and metadata where there is room.

use std::net::SocketAddr;

use bytes::BufMut as _;

use crate::{
    identity::NodeId,
    keyring::{NONCE_BYTES, TAG_BYTES},
    metadata::{METADATA_BYTES_MAX, Metadata},
    wire::{Malformed, Reader, put_addr},
};

/// Bytes of a packet, at most: what passes an Ethernet with a tunnel in it unfragmented.
pub const PACKET_BYTES_MAX: usize = 1400;
/// What stands before the sealed part: the format, the key's name, the nonce.
pub(crate) const HEAD_BYTES: usize = 1 + 4 + NONCE_BYTES;
/// What a frame takes beside SWIM's bytes and records, at most (a sender with an IPv6 address).
const FRAME_BYTES: usize = 19 + 8 + 8 + 4 + 1 + 2;
/// SWIM's bytes in a packet, at most.
pub(crate) const SWIM_BYTES_MAX: usize = PACKET_BYTES_MAX - HEAD_BYTES - TAG_BYTES - FRAME_BYTES;
/// A record without its metadata.
const RECORD_BYTES: usize = 8 + 8 + 4 + 2;

/// Orders what a node has said about itself: by its life, then by how often it changed its mind in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Stamp {
    pub(crate) generation: u64,
    pub(crate) version: u32,
}

/// A node's metadata on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) node: NodeId,
    pub(crate) stamp: Stamp,
    pub(crate) metadata: Metadata,
}

/// What every frame begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Preamble {
    /// The sender.
    pub(crate) from: SocketAddr,
    /// The receiver proves that it lives by sending this back.
    pub(crate) offer: u64,
    /// What the receiver had offered; 0 when the sender knows of nothing.
    pub(crate) echo: u64,
    /// Version of the sender's own metadata.
    pub(crate) version: u32,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body<'a> {
    /// "Say that again with this offer's echo": the sender could not tell the packet from a replay.
    Challenge,
    /// "I know a later life of you."
    Outdated(u64),
    /// "Tell me about yourself."
    AskMetadata,
    /// Nothing but records.
    Records,
    /// "You did not answer me, in this life and incarnation of yours. Do you live?"
    Doubt { generation: u64, incarnation: u16 },
    /// For the SWIM machine.
    Swim(&'a [u8]),
}

/// A frame as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) preamble: Preamble,
    pub(crate) body: Body<'a>,
    pub(crate) records: Vec<Record>,
}

impl Record {
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        let metadata = self.metadata.encoded();
        out.put_u64(self.node.0);
        out.put_u64(self.stamp.generation);
        out.put_u32(self.stamp.version);
        out.put_u16(u16::try_from(metadata.len()).unwrap_or(u16::MAX));
        out.put_slice(&metadata);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let node = NodeId(reader.u64()?);
        let stamp = Stamp { generation: reader.u64()?, version: reader.u32()? };
        let length = usize::from(reader.u16()?);
        if length > METADATA_BYTES_MAX {
            return Err(Malformed);
        }
        Ok(Self { node, stamp, metadata: Metadata::decode(reader.take(length)?)? })
    }
}

impl Preamble {
    fn put(&self, out: &mut Vec<u8>) {
        put_addr(out, self.from);
        out.put_u64(self.offer);
        out.put_u64(self.echo);
        out.put_u32(self.version);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let from = reader.addr()?;
        Ok(Self { from, offer: reader.u64()?, echo: reader.u64()?, version: reader.u32()? })
    }
}

impl<'a> Body<'a> {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Challenge => out.put_u8(0),
            Self::Outdated(generation) => {
                out.put_u8(1);
                out.put_u64(*generation);
            }
            Self::AskMetadata => out.put_u8(2),
            Self::Records => out.put_u8(3),
            Self::Doubt { generation, incarnation } => {
                out.put_u8(5);
                out.put_u64(*generation);
                out.put_u16(*incarnation);
            }
            Self::Swim(bytes) => {
                out.put_u8(4);
                out.put_u16(u16::try_from(bytes.len()).unwrap_or(u16::MAX));
                out.put_slice(bytes);
            }
        }
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.u8()? {
            0 => Ok(Self::Challenge),
            1 => Ok(Self::Outdated(reader.u64()?)),
            2 => Ok(Self::AskMetadata),
            3 => Ok(Self::Records),
            4 => {
                let length = usize::from(reader.u16()?);
                reader.take(length).map(Self::Swim)
            }
            5 => Ok(Self::Doubt { generation: reader.u64()?, incarnation: reader.u16()? }),
            _ => Err(Malformed),
        }
    }
}

/// Writes a frame behind what `out` holds already; `records` are such as [`Record::put`] wrote.
pub(crate) fn put(out: &mut Vec<u8>, preamble: &Preamble, body: Body<'_>, records: &[u8]) {
    preamble.put(out);
    body.put(out);
    out.put_slice(records);
}

/// Bytes that records may take beside `body`.
pub(crate) fn room_beside(body: &Body<'_>) -> usize {
    match body {
        Body::Swim(bytes) => SWIM_BYTES_MAX.saturating_sub(bytes.len()),
        _ => SWIM_BYTES_MAX - 10,
    }
}

pub(crate) fn read(bytes: &[u8]) -> Result<Frame<'_>, Malformed> {
    let mut reader = Reader(bytes);
    let preamble = Preamble::read(&mut reader)?;
    let body = Body::read(&mut reader)?;
    let mut records = Vec::new();
    while !reader.0.is_empty() {
        records.push(Record::read(&mut reader)?);
    }
    debug_assert!(records.len() <= PACKET_BYTES_MAX / RECORD_BYTES);
    Ok(Frame { preamble, body, records })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn body(kind: u8, generation: u64, swim: &[u8]) -> Body<'_> {
        match kind {
            0 => Body::Challenge,
            1 => Body::Outdated(generation),
            2 => Body::AskMetadata,
            3 => Body::Records,
            4 => Body::Doubt { generation, incarnation: 7 },
            _ => Body::Swim(swim),
        }
    }

    proptest! {
        #[test]
        fn frame_is_read_as_it_was_written(
            (ip, port, offer, echo) in any::<(std::net::IpAddr, u16, u64, u64)>(),
            kind in 0..6_u8, generation: u64, swim in vec(any::<u8>(), 0..SWIM_BYTES_MAX), nodes in vec(any::<u64>(), 0..4),
        ) {
            let preamble = Preamble { from: (ip, port).into(), offer, echo, version: 3 };
            let metadata = Metadata::new("n", "z", vec![], vec!["flaredb".to_owned()]).unwrap();
            let stamp = Stamp { generation, version: 1 };
            let records = nodes.into_iter().map(|node| Record { node: NodeId(node), stamp, metadata: metadata.clone() });
            let records = records.collect::<Vec<_>>();
            let (mut bytes, mut written) = (Vec::new(), Vec::new());
            records.iter().for_each(|record| record.put(&mut written));
            let body = body(kind, generation, &swim);
            put(&mut bytes, &preamble, body, &written);
            prop_assert_eq!(read(&bytes), Ok(Frame { preamble, body, records }));
        }

        #[test]
        fn any_bytes_are_a_frame_or_malformed(bytes in vec(any::<u8>(), 0..PACKET_BYTES_MAX)) {
            let _frame = read(&bytes);
        }
    }
}
