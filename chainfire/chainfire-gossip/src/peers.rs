//! Which packets are news and which were recorded and sent again.
//!
//! A sender counts its packets within a session, which is random and ends with its process; a count is accepted once.
//! A session that we do not know yet could be an old one, so its first packet must carry a number that we drew for this
//! peer and told it: one that cannot stand in anything recorded before. Without it, the peer is challenged, and says
//! the same again with the number in it. When a session is accepted, a new number is drawn.
//!
//! No clock is compared, so it does not matter whose is wrong.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use rand::{Rng, rngs::StdRng};

use crate::{frame::Preamble, window::Window};

/// Peers remembered at most; the one that was silent for longest is forgotten, and challenged when it comes back.
const PEERS_MAX: usize = 4096;

/// One run of a sender.
pub(crate) type Session = [u8; 16];

/// What is known about the packets of one address.
#[derive(Debug)]
struct Peer {
    /// What it must send back to start a session.
    offer: u64,
    /// What it wants to get back from us.
    echo: u64,
    session: Option<Session>,
    window: Window,
    heard_at: Duration,
    /// It has answered us: it knows our session.
    knows_us: bool,
    /// What we said last, to be said again after a challenge.
    said: Option<Vec<u8>>,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// It is news.
    Fresh,
    /// It may be a recording. Its sender is to be challenged.
    Unproven,
    /// It was here before.
    Replayed,
}

/// All peers, by the address at which they receive.
#[derive(Debug, Default)]
pub(crate) struct Peers(BTreeMap<SocketAddr, Peer>);

impl Peers {
    /// Judges an authentic packet.
    pub(crate) fn admit(
        &mut self,
        now: Duration,
        preamble: &Preamble,
        (session, count): (Session, u64),
        rng: &mut StdRng,
    ) -> Admission {
        let peer = self.peer(now, preamble.from, rng);
        if peer.session != Some(session) {
            if preamble.echo != peer.offer {
                return Admission::Unproven;
            }
            (peer.session, peer.window, peer.offer) = (Some(session), Window::default(), draw(rng));
        }
        if !peer.window.accept(count) {
            return Admission::Replayed;
        }
        (peer.echo, peer.heard_at) = (preamble.offer, now);
        Admission::Fresh
    }

    /// The offer and the echo for a packet to `to`.
    pub(crate) fn cookies(&mut self, now: Duration, to: SocketAddr, rng: &mut StdRng) -> (u64, u64) {
        let peer = self.peer(now, to, rng);
        (peer.offer, peer.echo)
    }

    /// Remembers what was said, until the peer shows that it listens.
    pub(crate) fn said(&mut self, to: SocketAddr, swim: &[u8]) {
        if let Some(peer) = self.0.get_mut(&to).filter(|peer| !peer.knows_us) {
            peer.said = Some(swim.to_vec());
        }
    }

    /// The peer answered; nothing needs to be said again.
    pub(crate) fn listens(&mut self, from: SocketAddr) {
        if let Some(peer) = self.0.get_mut(&from) {
            (peer.knows_us, peer.said) = (true, None);
        }
    }

    /// The peer does not know us (any more). Returns what is to be said again.
    pub(crate) fn challenged(&mut self, from: SocketAddr) -> Option<Vec<u8>> {
        let peer = self.0.get_mut(&from)?;
        peer.knows_us = false;
        peer.said.take()
    }

    fn peer(&mut self, now: Duration, addr: SocketAddr, rng: &mut StdRng) -> &mut Peer {
        if !self.0.contains_key(&addr) && self.0.len() >= PEERS_MAX {
            let silent = self.0.iter().min_by_key(|(_, peer)| peer.heard_at).map(|(addr, _)| *addr);
            silent.into_iter().for_each(|addr| drop(self.0.remove(&addr)));
        }
        self.0.entry(addr).or_insert_with(|| Peer {
            offer: draw(rng),
            echo: 0,
            session: None,
            window: Window::default(),
            heard_at: now,
            knows_us: false,
            said: None,
        })
    }
}

/// Never 0, which stands for "nothing known".
fn draw(rng: &mut StdRng) -> u64 {
    rng.next_u64().max(1)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    const NOW: Duration = Duration::ZERO;

    struct Side {
        peers: Peers,
        rng: StdRng,
        peer: SocketAddr,
    }

    impl Side {
        fn new() -> Self {
            let peer = "10.0.0.1:1".parse().unwrap();
            Self { peers: Peers::default(), rng: StdRng::from_seed([1; 32]), peer }
        }

        fn offer(&mut self) -> u64 {
            self.peers.cookies(NOW, self.peer, &mut self.rng).0
        }

        fn admit(&mut self, session: u8, count: u64, echo: u64) -> Admission {
            let preamble = Preamble { from: self.peer, offer: 9, echo, version: 0 };
            self.peers.admit(NOW, &preamble, ([session; 16], count), &mut self.rng)
        }
    }

    #[test]
    fn session_begins_with_the_number_that_was_offered_and_never_with_one_of_before() {
        let mut side = Side::new();
        assert_eq!(side.admit(1, 0, 0), Admission::Unproven);
        let first = side.offer();
        assert_eq!(side.admit(1, 1, first), Admission::Fresh);
        assert_eq!(side.admit(1, 1, first), Admission::Replayed);
        assert_eq!(side.admit(1, 2, 0), Admission::Fresh, "a session that is known needs no proof");
        assert_eq!(side.admit(2, 0, first), Admission::Unproven, "an offer is good for one session");
        let second = side.offer();
        assert_eq!(side.admit(2, 1, second), Admission::Fresh);
        assert_eq!(side.admit(1, 3, first), Admission::Unproven, "the session of before is over");
    }

    #[test]
    fn what_was_said_is_said_again_once_after_a_challenge() {
        let mut side = Side::new();
        side.offer();
        side.peers.said(side.peer, b"ping");
        assert_eq!(side.peers.challenged(side.peer), Some(b"ping".to_vec()));
        assert_eq!(side.peers.challenged(side.peer), None);
        side.peers.listens(side.peer);
        side.peers.said(side.peer, b"ping");
        assert_eq!(side.peers.challenged(side.peer), None, "who listens has heard it");
    }

    #[test]
    fn peers_are_bounded_and_the_most_silent_is_forgotten() {
        let mut side = Side::new();
        for at in 0..=PEERS_MAX {
            let addr = SocketAddr::from(([10, 1, 1, 1], u16::try_from(at).unwrap()));
            side.peers.cookies(Duration::from_secs(at as u64), addr, &mut side.rng);
        }
        assert_eq!(side.peers.0.len(), PEERS_MAX);
        assert!(!side.peers.0.contains_key(&SocketAddr::from(([10, 1, 1, 1], 0))));
    }
}
