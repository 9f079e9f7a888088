//! What foca wants done, after each call of it.

use std::{net::SocketAddr, time::Duration};

use foca::{Header, Message, OwnedNotification as Note, Timer};

use super::{Gossip, Probe, alarms::Alarm};
use crate::{
    event::Event,
    frame::Body,
    identity::Identity,
    outbox::{Outbox, Path},
};

impl Gossip {
    /// Does what a call of foca left to do. What goes to `answer_to` goes back by the stream it came from.
    pub(super) fn settle(
        &mut self,
        now: Duration,
        outcome: Result<(), foca::Error>,
        answer_to: Option<SocketAddr>,
        out: &mut Outbox,
    ) {
        self.check(outcome);
        while let Some((after, timer)) = self.effects.to_schedule() {
            self.schedule(now, after, timer);
        }
        while let Some(note) = self.effects.to_notify() {
            self.note(now, note, answer_to, out);
        }
        self.gauge();
    }

    /// A node that is unwell takes longer to judge.
    fn schedule(&mut self, now: Duration, after: Duration, timer: Timer<Identity>) {
        let after = match timer {
            Timer::ProbeRandomMember(_)
            | Timer::SendIndirectProbe { .. }
            | Timer::ChangeSuspectToDown { .. } => self.health.stretch(after),
            _ => after,
        };
        self.timers.schedule(now, after, Alarm::Swim(timer));
    }

    fn note(&mut self, now: Duration, note: Note<Identity>, answer_to: Option<SocketAddr>, out: &mut Outbox) {
        match note {
            Note::DataSent(header) => self.transmit(now, &header, answer_to, out),
            Note::DataReceived(header) => self.heard(now, &header),
            Note::ProbeFailed(_, target) => self.probe_failed(target),
            Note::MemberUp(identity) => out.events.extend(self.roster.up(identity)),
            Note::MemberDown(identity) => out.events.extend(self.roster.down(identity)),
            Note::Rename(before, after) => self.renamed(before, after, out),
            Note::Rejoin(_) => self.tell_own(),
            // The join alarm looks by itself whether anybody is there.
            Note::Active | Note::Idle | Note::Defunct => {}
        }
    }

    fn renamed(&mut self, before: Identity, after: Identity, out: &mut Outbox) {
        let is_up = self.swim.iter_members().any(|member| *member.id() == after);
        // When the one before was down, foca tells of the one after by a note of its own.
        let was_up = self.roster.get(before.node).is_some_and(crate::Member::is_active);
        let events: Vec<Event> = self.roster.renamed(before, after, is_up && was_up);
        out.events.extend(events);
    }

    fn transmit(
        &mut self,
        now: Duration,
        header: &Header<Identity>,
        answer_to: Option<SocketAddr>,
        out: &mut Outbox,
    ) {
        // foca queues the bytes just before it tells of them.
        let Some((to, swim)) = self.effects.to_send() else { return };
        if header.src_incarnation > self.incarnation {
            // We had to refute: somebody did not hear us.
            self.health.worse(1);
        }
        self.incarnation = header.src_incarnation;
        if let Message::Ping(number) = header.message {
            let ping = swim.clone();
            self.probe =
                Some(Probe { target: to, number, sent_at: now, answered: false, heard: false, ping });
        }
        let path = if answer_to == Some(to.addr) { Path::Stream } else { Path::Datagram };
        self.send(now, to.addr, path, Body::Swim(&swim), out);
    }

    fn heard(&mut self, now: Duration, header: &Header<Identity>) {
        let Some(probe) = self.probe.as_mut().filter(|probe| !probe.answered) else { return };
        let direct = match header.message {
            Message::Ack(number) if number == probe.number && header.src == probe.target => true,
            Message::ForwardedAck { origin, probe_number }
                if probe_number == probe.number && origin == probe.target =>
            {
                false
            }
            _ => return,
        };
        probe.answered = true;
        if direct {
            self.metrics.probe_seconds.observe(now.saturating_sub(probe.sent_at).as_secs_f64());
        }
        self.health.better();
    }

    /// When not even others were heard, it is more likely that we are deaf.
    fn probe_failed(&mut self, target: Identity) {
        self.metrics.probes_failed.inc();
        self.doubted.insert(target);
        if self.probe.as_ref().is_some_and(|probe| !probe.heard) {
            self.health.worse(1);
        }
    }

    fn gauge(&self) {
        self.metrics.unwellness.set(self.health.score().into());
        self.metrics.members.set(i64::try_from(self.swim.num_members() + 1).unwrap_or(i64::MAX));
    }
}
