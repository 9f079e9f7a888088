//! Sealed packets in, frames out, and the other way round. What is not ours, or was here before, ends here.

use std::{net::SocketAddr, time::Duration};

use bytes::BufMut as _;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

use crate::{
    frame::{self, Body, Frame, HEAD_BYTES, PACKET_BYTES_MAX, Preamble},
    keyring::{KeyId, Keyring, NONCE_BYTES, TAG_BYTES},
    peers::{Admission, Peers, Session},
    wire::{Malformed, Reader},
};

/// The format of packets; another one is foreign.
const FORMAT: u8 = 1;

/// Why a packet ends here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("longer than a packet can be")]
    Oversized,
    /// Of another format, or sealed with no key of ours.
    #[error("not sealed with a key of this ring")]
    Foreign,
    #[error("seen before")]
    Replayed,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Not to be told from a recording. Its sender gets `offer` and may say it again.
    #[error("from a session that has not proven itself")]
    Unproven { from: SocketAddr, offer: u64 },
}

/// Our end of all conversations.
#[derive(Debug)]
pub(crate) struct Link {
    addr: SocketAddr,
    /// Version of our own metadata, which every packet tells.
    pub(crate) version: u32,
    pub(crate) keyring: Keyring,
    pub(crate) peers: Peers,
    session: Session,
    sent: u64,
    rng: StdRng,
}

impl Link {
    pub(crate) fn new(addr: SocketAddr, keyring: Keyring, seed: [u8; 32]) -> Self {
        let mut rng = StdRng::from_seed(seed);
        let mut session = [0; 16];
        rng.fill_bytes(&mut session);
        Self { addr, version: 0, keyring, peers: Peers::default(), session, sent: 0, rng }
    }

    /// A packet for `to`; `records` are such as `Record::put` wrote, and fit [`frame::room_beside`] the body.
    pub(crate) fn seal(
        &mut self,
        now: Duration,
        to: SocketAddr,
        body: Body<'_>,
        records: &[u8],
    ) -> Option<Vec<u8>> {
        let (offer, echo) = self.peers.cookies(now, to, &mut self.rng);
        if let Body::Swim(swim) = body {
            self.peers.said(to, swim);
        }
        self.seal_with(Preamble { from: self.addr, offer, echo, version: self.version }, body, records)
    }

    /// A challenge to `to`, whose packet carried `offer`.
    pub(crate) fn seal_challenge(&mut self, now: Duration, to: SocketAddr, echo: u64) -> Option<Vec<u8>> {
        let (offer, _) = self.peers.cookies(now, to, &mut self.rng);
        self.seal_with(Preamble { from: self.addr, offer, echo, version: self.version }, Body::Challenge, &[])
    }

    fn seal_with(&mut self, preamble: Preamble, body: Body<'_>, records: &[u8]) -> Option<Vec<u8>> {
        let mut packet = Vec::with_capacity(256);
        let nonce = self.nonce();
        packet.put_u8(FORMAT);
        packet.put_slice(&self.keyring.sealing().0);
        packet.put_slice(&nonce);
        frame::put(&mut packet, &preamble, body, records);
        let (head, text) = packet.split_at_mut(HEAD_BYTES);
        let tag = self.keyring.seal(&nonce, head, text)?;
        packet.put_slice(&tag);
        debug_assert!(packet.len() <= PACKET_BYTES_MAX);
        Some(packet)
    }

    /// Never the same twice: the session is random and the count goes up.
    fn nonce(&mut self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        let (session, count) = nonce.split_at_mut(self.session.len());
        session.copy_from_slice(&self.session);
        count.copy_from_slice(&self.sent.to_be_bytes());
        self.sent += 1;
        nonce
    }

    /// Opens a packet into `text`, or says why not.
    pub(crate) fn open<'a>(
        &mut self,
        now: Duration,
        packet: &[u8],
        text: &'a mut Vec<u8>,
    ) -> Result<Frame<'a>, Refusal> {
        let (session, count) = self.decrypt(packet, text)?;
        let frame = frame::read(text)?;
        match self.peers.admit(now, &frame.preamble, (session, count), &mut self.rng) {
            Admission::Fresh => Ok(frame),
            Admission::Replayed => Err(Refusal::Replayed),
            Admission::Unproven => {
                Err(Refusal::Unproven { from: frame.preamble.from, offer: frame.preamble.offer })
            }
        }
    }

    fn decrypt(&self, packet: &[u8], text: &mut Vec<u8>) -> Result<(Session, u64), Refusal> {
        if packet.len() > PACKET_BYTES_MAX {
            return Err(Refusal::Oversized);
        }
        let (head, sealed) = packet.split_at_checked(HEAD_BYTES).ok_or(Refusal::Foreign)?;
        let (closed, tag) = sealed.split_last_chunk::<TAG_BYTES>().ok_or(Refusal::Foreign)?;
        let (key, nonce) = read_head(head).map_err(|_short| Refusal::Foreign)?.ok_or(Refusal::Foreign)?;
        text.clear();
        text.extend_from_slice(closed);
        if !self.keyring.open(key, &nonce, head, text, *tag) {
            return Err(Refusal::Foreign);
        }
        let mut nonce = Reader(&nonce);
        Ok((nonce.array()?, nonce.u64()?))
    }
}

/// `None` when the format is another one.
fn read_head(head: &[u8]) -> Result<Option<(KeyId, [u8; NONCE_BYTES])>, Malformed> {
    let mut reader = Reader(head);
    let format = reader.u8()?;
    let read = (KeyId(reader.array()?), reader.array()?);
    Ok((format == FORMAT).then_some(read))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::keyring::Key;

    const NOW: Duration = Duration::ZERO;

    fn link(port: u16, key: u8, seed: u8) -> Link {
        Link::new(([127, 0, 0, 1], port).into(), Keyring::new(Key::new([key; 32])), [seed; 32])
    }

    /// What was opened, without the frame's bytes.
    fn open(link: &mut Link, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut text = Vec::new();
        link.open(NOW, packet, &mut text).map(|frame| match frame.body {
            Body::Swim(swim) => swim.to_vec(),
            other => format!("{other:?}").into_bytes(),
        })
    }

    /// Sends SWIM bytes until `to` takes them, as two nodes do. Returns the packet that was taken.
    fn converse(from: &mut Link, to: &mut Link) -> Vec<u8> {
        let first = from.seal(NOW, to.addr, Body::Swim(b"ping"), &[]).unwrap();
        let Err(Refusal::Unproven { offer, .. }) = open(to, &first) else { return first };
        let challenge = to.seal_challenge(NOW, from.addr, offer).unwrap();
        assert_eq!(open(from, &challenge).unwrap(), b"Challenge");
        let said = from.peers.challenged(to.addr).unwrap();
        let again = from.seal(NOW, to.addr, Body::Swim(&said), &[]).unwrap();
        assert_eq!(open(to, &again).unwrap(), b"ping");
        again
    }

    #[test]
    fn two_nodes_that_never_met_are_through_after_one_challenge() {
        let (mut a, mut b) = (link(1, 7, 1), link(2, 7, 2));
        converse(&mut a, &mut b);
        let answer = b.seal(NOW, a.addr, Body::Swim(b"ack"), &[]).unwrap();
        assert_eq!(open(&mut a, &answer).unwrap(), b"ack");
    }

    #[test]
    fn replay_is_refused_in_its_session_after_it_and_by_a_receiver_that_started_anew() {
        let (mut a, mut b) = (link(1, 7, 1), link(2, 7, 2));
        let recorded = converse(&mut a, &mut b);
        assert_eq!(open(&mut b, &recorded), Err(Refusal::Replayed));
        converse(&mut link(1, 7, 3), &mut b);
        assert!(matches!(open(&mut b, &recorded), Err(Refusal::Unproven { .. })));
        assert!(matches!(open(&mut link(2, 7, 4), &recorded), Err(Refusal::Unproven { .. })));
    }

    #[test]
    fn foreign_changed_and_oversized_packets_are_refused() {
        let (mut a, mut b) = (link(1, 7, 1), link(2, 8, 2));
        let packet = a.seal(NOW, b.addr, Body::AskMetadata, &[]).unwrap();
        assert_eq!(open(&mut b, &packet), Err(Refusal::Foreign));
        assert_eq!(open(&mut b, &[0; PACKET_BYTES_MAX + 1]), Err(Refusal::Oversized));
        let mut c = link(3, 7, 3);
        for at in 0..packet.len() {
            let mut changed = packet.clone();
            changed[at] ^= 1;
            assert_eq!(open(&mut c, &changed), Err(Refusal::Foreign), "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1500)) {
            prop_assert!(open(&mut link(1, 7, 1), &bytes).is_err());
        }

        #[test]
        fn no_packet_is_longer_than_the_bound(length in 0..=frame::SWIM_BYTES_MAX) {
            let mut link = Link::new("[::1]:1".parse().unwrap(), Keyring::new(Key::new([1; 32])), [0; 32]);
            let swim = vec![0; length];
            let records = vec![0; frame::room_beside(&Body::Swim(&swim))];
            let packet = link.seal(NOW, "[::1]:2".parse().unwrap(), Body::Swim(&swim), &records).unwrap();
            prop_assert!(packet.len() <= PACKET_BYTES_MAX);
        }
    }
}
