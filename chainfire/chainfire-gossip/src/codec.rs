//! SWIM's messages as bytes, for foca: fixed fields, network order.

use bytes::{Buf, BufMut};
use foca::{Header, Member, Message, State};

use crate::{
    identity::{Identity, NodeId},
    wire::{Malformed, Reader, addr_bytes, put_addr},
};

/// Says how foca's headers and members are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Codec;

/// Why a message could not be written or read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CodecError {
    /// The packet is full; foca then sends what fits.
    #[error("no room in the packet")]
    Full,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

impl foca::Codec<Identity> for Codec {
    type Error = CodecError;

    fn encode_header(&mut self, header: &Header<Identity>, buf: impl BufMut) -> Result<(), CodecError> {
        let mut bytes = Vec::with_capacity(128);
        put_identity(&mut bytes, &header.src);
        bytes.put_u16(header.src_incarnation);
        put_identity(&mut bytes, &header.dst);
        put_message(&mut bytes, &header.message);
        put_whole(buf, &bytes)
    }

    fn decode_header(&mut self, buf: impl Buf) -> Result<Header<Identity>, CodecError> {
        read_from(buf, header)
    }

    fn encode_member(&mut self, member: &Member<Identity>, mut buf: impl BufMut) -> Result<(), CodecError> {
        if buf.remaining_mut() < identity_bytes(member.id()) + 3 {
            return Err(CodecError::Full);
        }
        put_identity(&mut buf, member.id());
        buf.put_u16(member.incarnation());
        buf.put_u8(match member.state() {
            State::Alive => 0,
            State::Suspect => 1,
            State::Down => 2,
        });
        Ok(())
    }

    fn decode_member(&mut self, buf: impl Buf) -> Result<Member<Identity>, CodecError> {
        read_from(buf, member)
    }
}

/// Reads one item and moves `buf` on to behind it.
fn read_from<T>(
    mut buf: impl Buf,
    read: impl Fn(&mut Reader<'_>) -> Result<T, Malformed>,
) -> Result<T, CodecError> {
    let mut reader = Reader(buf.chunk());
    let before = reader.0.len();
    let item = read(&mut reader)?;
    let taken = before - reader.0.len();
    buf.advance(taken);
    Ok(item)
}

fn put_whole(mut buf: impl BufMut, bytes: &[u8]) -> Result<(), CodecError> {
    if buf.remaining_mut() < bytes.len() {
        return Err(CodecError::Full);
    }
    buf.put_slice(bytes);
    Ok(())
}

/// The header that a message begins with.
pub(crate) fn header(reader: &mut Reader<'_>) -> Result<Header<Identity>, Malformed> {
    Ok(Header {
        src: identity(reader)?,
        src_incarnation: reader.u16()?,
        dst: identity(reader)?,
        message: message(reader)?,
    })
}

fn member(reader: &mut Reader<'_>) -> Result<Member<Identity>, Malformed> {
    let id = identity(reader)?;
    let incarnation = reader.u16()?;
    let state = match reader.u8()? {
        0 => State::Alive,
        1 => State::Suspect,
        2 => State::Down,
        _ => return Err(Malformed),
    };
    Ok(Member::new(id, incarnation, state))
}

pub(crate) fn identity_bytes(identity: &Identity) -> usize {
    17 + addr_bytes(identity.addr)
}

pub(crate) fn put_identity(out: &mut impl BufMut, identity: &Identity) {
    out.put_u64(identity.node.0);
    put_addr(out, identity.addr);
    out.put_u64(identity.generation);
    out.put_u8(identity.leaving.into());
}

pub(crate) fn identity(reader: &mut Reader<'_>) -> Result<Identity, Malformed> {
    let node = NodeId(reader.u64()?);
    let addr = reader.addr()?;
    let generation = reader.u64()?;
    let leaving = match reader.u8()? {
        0 => false,
        1 => true,
        _ => return Err(Malformed),
    };
    Ok(Identity { node, addr, generation, leaving })
}

fn put_message(out: &mut Vec<u8>, message: &Message<Identity>) {
    let mut indirect = |tag: u8, peer: &Identity, number: u8| {
        out.put_slice(&[tag, number]);
        put_identity(out, peer);
    };
    match message {
        Message::Ping(number) => out.put_slice(&[0, *number]),
        Message::Ack(number) => out.put_slice(&[1, *number]),
        Message::PingReq { target, probe_number } => indirect(2, target, *probe_number),
        Message::IndirectPing { origin, probe_number } => indirect(3, origin, *probe_number),
        Message::IndirectAck { target, probe_number } => indirect(4, target, *probe_number),
        Message::ForwardedAck { origin, probe_number } => indirect(5, origin, *probe_number),
        Message::Announce => out.put_u8(6),
        Message::Feed => out.put_u8(7),
        Message::Gossip => out.put_u8(8),
        Message::Broadcast => out.put_u8(9),
        Message::TurnUndead => out.put_u8(10),
    }
}

fn message(reader: &mut Reader<'_>) -> Result<Message<Identity>, Malformed> {
    let tag = reader.u8()?;
    match tag {
        0 => Ok(Message::Ping(reader.u8()?)),
        1 => Ok(Message::Ack(reader.u8()?)),
        2..=5 => {
            let probe_number = reader.u8()?;
            Ok(indirect(tag, identity(reader)?, probe_number))
        }
        6 => Ok(Message::Announce),
        7 => Ok(Message::Feed),
        8 => Ok(Message::Gossip),
        9 => Ok(Message::Broadcast),
        10 => Ok(Message::TurnUndead),
        _ => Err(Malformed),
    }
}

fn indirect(tag: u8, peer: Identity, probe_number: u8) -> Message<Identity> {
    match tag {
        2 => Message::PingReq { target: peer, probe_number },
        3 => Message::IndirectPing { origin: peer, probe_number },
        4 => Message::IndirectAck { target: peer, probe_number },
        _ => Message::ForwardedAck { origin: peer, probe_number },
    }
}

#[cfg(test)]
mod tests {
    use foca::Codec as _;
    use proptest::prelude::*;

    use super::*;

    fn any_identity() -> impl Strategy<Value = Identity> {
        let addr = (any::<std::net::IpAddr>(), any::<u16>());
        (any::<u64>(), addr, any::<u64>(), any::<bool>()).prop_map(|(node, addr, generation, leaving)| {
            Identity { node: NodeId(node), addr: addr.into(), generation, leaving }
        })
    }

    fn any_message() -> impl Strategy<Value = Message<Identity>> {
        let number = any::<u8>();
        prop_oneof![
            number.prop_map(Message::Ping),
            number.prop_map(Message::Ack),
            (2..=5_u8, any_identity(), number).prop_map(|(tag, peer, number)| indirect(tag, peer, number)),
            Just(Message::Announce),
            Just(Message::Feed),
            Just(Message::Gossip),
            Just(Message::Broadcast),
            Just(Message::TurnUndead),
        ]
    }

    proptest! {
        #[test]
        fn header_is_read_as_it_was_written(
            src in any_identity(), dst in any_identity(), src_incarnation: u16, message in any_message(),
        ) {
            let header = Header { src, src_incarnation, dst, message };
            let mut bytes = Vec::new();
            Codec.encode_header(&header, &mut bytes).unwrap();
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Codec.decode_header(&mut rest).unwrap(), header);
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn member_is_read_as_it_was_written_and_never_half(id in any_identity(), incarnation: u16, room in 0..60_usize) {
            for state in [State::Alive, State::Suspect, State::Down] {
                let member = Member::new(id, incarnation, state);
                let mut bytes = Vec::new();
                match Codec.encode_member(&member, (&mut bytes).limit(room)) {
                    Ok(()) => prop_assert_eq!(Codec.decode_member(bytes.as_slice()).unwrap(), member),
                    Err(error) => prop_assert!(error == CodecError::Full && bytes.is_empty()),
                }
            }
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _header = Codec.decode_header(bytes.as_slice());
            let _member = Codec.decode_member(bytes.as_slice());
        }
    }
}
