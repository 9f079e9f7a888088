//! What is done at its time.

use std::{collections::BTreeSet, time::Duration};

use foca::{State, Timer};
use rand::seq::IndexedRandom as _;

use super::Gossip;
use crate::{
    frame::Body,
    identity::Identity,
    outbox::{Outbox, Packet, Path},
};

/// What is due at a time.
#[derive(Debug)]
pub(super) enum Alarm {
    Swim(Timer<Identity>),
    /// Look who is suspected, and ask who has not told about itself.
    Tick,
    Join,
}

impl Gossip {
    /// When [`wake`](Gossip::wake) is to be called; earlier does no harm.
    pub fn wake_at(&self) -> Option<Duration> {
        self.timers.next_at()
    }

    /// Does what is due.
    pub fn wake(&mut self, now: Duration, out: &mut Outbox) {
        self.notice_stall(now);
        while let Some(alarm) = self.timers.pop_due(now) {
            match alarm {
                Alarm::Swim(timer) => self.swim_timer(now, timer, out),
                Alarm::Tick => self.tick(now, out),
                Alarm::Join => self.join(now, out),
            }
        }
    }

    /// A node that stood still has missed answers and judges nobody by it.
    pub(super) fn notice_stall(&mut self, now: Duration) {
        let bound = self.config.probe_timeout;
        if let Some(late) = self.timers.notice_stall(now, bound, bound) {
            let periods = late.as_millis() / self.config.probe_period.as_millis().max(1);
            self.health.worse(u32::try_from(periods).unwrap_or(u32::MAX).saturating_add(1));
            self.metrics.stalls.inc();
        }
    }

    fn swim_timer(&mut self, now: Duration, timer: Timer<Identity>, out: &mut Outbox) {
        if let Timer::SendIndirectProbe { probed_id, .. } = &timer {
            self.probe_over_tcp(now, *probed_id, out);
        }
        let handled = self.swim.handle_timer(timer, &mut self.effects);
        self.settle(now, handled, None, out);
    }

    /// The target did not answer by UDP. While others are asked to probe it, it is asked over TCP.
    fn probe_over_tcp(&mut self, now: Duration, target: Identity, out: &mut Outbox) {
        let waiting = |probe: &&super::Probe| probe.target == target && !probe.answered;
        let Some(ping) = self.probe.as_ref().filter(waiting).map(|probe| probe.ping.clone()) else { return };
        let Some(bytes) = self.link.seal(now, target.addr, Body::Swim(&ping), &[]) else { return };
        self.metrics.fallbacks.inc();
        out.dials.push(Packet { to: target.addr, bytes });
    }

    fn tick(&mut self, now: Duration, out: &mut Outbox) {
        self.timers.schedule(now, self.config.gossip_period, Alarm::Tick);
        if self.leaving {
            let told = self.swim.gossip(&mut self.effects);
            self.settle(now, told, None, out);
            return;
        }
        let suspects = self.suspects();
        self.scan(&suspects, out);
        self.doubt(now, &suspects, out);
        self.rescale();
        for addr in self.roster.ask(now) {
            self.send(now, addr, Path::Datagram, Body::AskMetadata, out);
        }
    }

    /// Who is suspected, in which incarnation.
    pub(super) fn suspects(&self) -> BTreeSet<(Identity, u16)> {
        let suspects = self.swim.iter_membership_state().filter(|member| member.state() == State::Suspect);
        suspects.map(|member| (*member.id(), member.incarnation())).collect()
    }

    fn scan(&mut self, suspects: &BTreeSet<(Identity, u16)>, out: &mut Outbox) {
        let suspected = suspects.iter().map(|(identity, _)| *identity).collect::<BTreeSet<_>>();
        let known = |addr| self.swim.iter_membership_state().any(|member| member.id().addr == addr);
        out.events.extend(self.roster.scan(&suspected, known));
    }

    /// Tells those whom we suspected, in case nobody else's gossip reaches them (Lifeguard's buddy system, §3.3).
    ///
    /// foca leaves the end of a suspicion to whoever raised it, and a piece of news may miss a node. So a suspicion of
    /// others that stays open for longer than it should becomes ours, and when it is not refuted then, we end it.
    pub(super) fn doubt(&mut self, now: Duration, suspects: &BTreeSet<(Identity, u16)>, out: &mut Outbox) {
        let lived = self.timers.lived(now);
        self.suspected_since.retain(|suspect, _| suspects.contains(suspect));
        self.doubted.retain(|identity| suspects.iter().any(|(suspect, _)| suspect == identity));
        let patience = self.health.stretch(self.config.suspicion_of(self.swim.num_members() + 1));
        for (identity, incarnation) in suspects {
            let since = self.suspected_since.entry((*identity, *incarnation)).or_insert(lived);
            let open_for = lived.saturating_sub(*since);
            if open_for >= patience * 3 {
                self.give_up(now, *identity, *incarnation, out);
            } else if open_for >= patience * 3 / 2 || self.doubted.contains(identity) {
                let (generation, incarnation) = (identity.generation, *incarnation);
                self.send(now, identity.addr, Path::Datagram, Body::Doubt { generation, incarnation }, out);
            }
        }
    }

    fn give_up(&mut self, now: Duration, identity: Identity, incarnation: u16, out: &mut Outbox) {
        let down = std::iter::once(foca::Member::new(identity, incarnation, State::Down));
        let applied = self.swim.apply_many(down, true, &mut self.effects);
        self.settle(now, applied, None, out);
    }

    /// A larger cluster needs more time for a refutation and more tellings of a piece of news.
    fn rescale(&mut self) {
        let nodes = self.swim.num_members() + 1;
        if nodes.ilog2() != self.scale {
            self.scale = nodes.ilog2();
            let set = self.swim.set_config(self.config.swim(nodes));
            self.check(set);
        }
    }

    /// A node that knows nobody asks all seeds, again and again: one packet may be lost. One that knows others asks a
    /// seed that is not among them now and then, lest two halves of a cluster never meet.
    pub(super) fn join(&mut self, now: Duration, out: &mut Outbox) {
        self.timers.schedule(now, self.config.join_period, Alarm::Join);
        if self.leaving {
            return;
        }
        if self.swim.num_members() == 0 {
            self.seeded_at = now;
            self.seeds.clone().into_iter().for_each(|seed| self.announce(now, seed, out));
        } else if now.saturating_sub(self.seeded_at) >= self.config.seed_period {
            self.seeded_at = now;
            self.announce_to_missing(now, out);
        }
    }

    fn announce_to_missing(&mut self, now: Duration, out: &mut Outbox) {
        let there = self.swim.iter_members().map(|member| member.id().addr).collect::<BTreeSet<_>>();
        let missing = self.seeds.iter().filter(|seed| !there.contains(seed)).copied().collect::<Vec<_>>();
        if let Some(seed) = missing.choose(&mut self.rng) {
            self.announce(now, *seed, out);
        }
    }

    pub(super) fn announce(&mut self, now: Duration, to: std::net::SocketAddr, out: &mut Outbox) {
        let announced = self.swim.announce(Identity::unknown(to), &mut self.effects);
        self.settle(now, announced, None, out);
    }
}
