//! Packets that come in.

use std::{net::SocketAddr, time::Duration};

use foca::{Member, Message, State};

use super::Gossip;
use crate::{
    codec,
    frame::{Body, Frame, Record},
    identity::Identity,
    link::Refusal,
    outbox::{Outbox, Path},
    wire::Reader,
};

/// After it went on as a later life because a peer said so, a node believes no other such word for this long: two nodes
/// that were given one id would otherwise outbid each other without end.
const OUTLIVE_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Gossip {
    /// Takes a packet.
    pub fn receive(&mut self, now: Duration, packet: &[u8], path: Path, out: &mut Outbox) {
        self.notice_stall(now);
        let mut text = std::mem::take(&mut self.scratch);
        match self.link.open(now, packet, &mut text) {
            Ok(frame) => self.take(now, &frame, path, out),
            Err(refusal) => self.refuse(now, refusal, path, out),
        }
        self.scratch = text;
    }

    fn refuse(&mut self, now: Duration, refusal: Refusal, path: Path, out: &mut Outbox) {
        match refusal {
            Refusal::Oversized | Refusal::Malformed(_) => self.metrics.malformed.inc(),
            Refusal::Foreign => self.metrics.foreign.inc(),
            Refusal::Replayed => self.metrics.replayed.inc(),
            Refusal::Unproven { from, offer } => {
                let sealed = self.link.seal_challenge(now, from, offer);
                self.post(from, path, sealed, out);
                self.metrics.challenged.inc()
            }
        };
    }

    fn take(&mut self, now: Duration, frame: &Frame<'_>, path: Path, out: &mut Outbox) {
        self.metrics.received.inc();
        self.probe.iter_mut().for_each(|probe| probe.heard = true);
        let from = frame.preamble.from;
        match frame.body {
            Body::Challenge => self.say_again(now, from, path, out),
            Body::Outdated(generation) => self.outlive(now, generation, out),
            Body::AskMetadata => self.answer_about_self(now, from, path, out),
            Body::Records => self.link.peers.listens(from),
            Body::Doubt { generation, incarnation } => self.refute(now, from, (generation, incarnation), out),
            Body::Swim(swim) => self.take_swim(now, frame, swim, path, out),
        }
        frame.records.iter().for_each(|record| self.learn(record, out));
    }

    fn say_again(&mut self, now: Duration, to: SocketAddr, path: Path, out: &mut Outbox) {
        if let Some(said) = self.link.peers.challenged(to) {
            self.send(now, to, path, Body::Swim(&said), out);
        }
    }

    fn answer_about_self(&mut self, now: Duration, to: SocketAddr, path: Path, out: &mut Outbox) {
        let mut record = Vec::new();
        self.own.put(&mut record);
        let sealed = self.link.seal(now, to, Body::Records, &record);
        self.post(to, path, sealed, out);
    }

    /// Refutes a suspicion, and shows whoever has it that we live: each of our messages tells the new incarnation.
    fn refute(
        &mut self,
        now: Duration,
        from: SocketAddr,
        (generation, incarnation): (u64, u16),
        out: &mut Outbox,
    ) {
        let me = *self.identity();
        if self.leaving {
            return;
        }
        if me.generation == generation {
            let suspicion = std::iter::once(Member::new(me, incarnation, State::Suspect));
            let refuted = self.swim.apply_many(suspicion, true, &mut self.effects);
            self.settle(now, refuted, None, out);
        }
        self.announce(now, from, out);
    }

    fn learn(&mut self, record: &Record, out: &mut Outbox) {
        let (newer, event) = self.roster.learn(record);
        if newer {
            self.rumors.add(record, self.transmissions());
        }
        out.events.extend(event);
    }

    fn take_swim(&mut self, now: Duration, frame: &Frame<'_>, swim: &[u8], path: Path, out: &mut Outbox) {
        let from = frame.preamble.from;
        let Ok(header) = codec::header(&mut Reader(swim)) else {
            self.metrics.malformed.inc();
            return;
        };
        if header.src.addr != from {
            self.metrics.malformed.inc();
            return;
        }
        if let Some(known) = self.later_life(&header.src) {
            self.metrics.outdated.inc();
            self.send(now, from, path, Body::Outdated(known), out);
            return;
        }
        self.link.peers.listens(from);
        if matches!(header.message, Message::Ack(_)) && path == Path::Stream {
            self.metrics.fallbacks_answered.inc();
        }
        let handled = self.swim.handle_data(swim, &mut self.effects);
        let answer_to = (path == Path::Stream).then_some(from);
        self.settle(now, handled, answer_to, out);
        self.roster.mention(&header.src, frame.preamble.version);
    }

    /// The generation in which the node lives, when `identity` is of one before.
    fn later_life(&self, identity: &Identity) -> Option<u64> {
        let known = self.roster.get(identity.node)?.identity.generation;
        (identity.generation < known).then_some(known)
    }

    /// Goes on as the life after `generation`, in which somebody knows us already: our clock went back before we were
    /// started.
    fn outlive(&mut self, now: Duration, generation: u64, out: &mut Outbox) {
        let lately = self.outlived_at.is_some_and(|at| now.saturating_sub(at) < OUTLIVE_AGAIN_AFTER);
        if generation <= self.identity().generation || self.leaving || lately {
            return;
        }
        let Some(generation) = generation.checked_add(1) else { return };
        self.outlived_at = Some(now);
        let later = Identity { generation, ..*self.identity() };
        let changed = self.swim.change_identity(later, &mut self.effects);
        self.settle(now, changed, None, out);
        self.tell_own();
        self.join(now, out);
    }
}
