//! The nodes, and everything that happens to them, one after the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use chainfire_gossip::{Gossip, NodeId, Outbox, Packet, Path, Question, Verdict};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    act::Act,
    court::{Court, HEARTBEAT},
    net::{INBOX_MAX, Net},
    node::{Node, census, index},
    report::Report,
};

/// A stream on which nothing came back for so long is given up, as the driver does.
const STREAM_TIMEOUT: Duration = Duration::from_millis(500);
/// Nodes stall from then on.
const CALM: Duration = Duration::from_secs(6);
/// The life in which all nodes begin.
pub(crate) const GENERATION: u64 = 1_000_000_000;

/// What is to be played.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// The last so many nodes stall over and over.
    pub(crate) stalling: usize,
    pub(crate) loss_percent: u32,
    /// What is done to the nodes, and when.
    pub(crate) script: Vec<(Duration, Act)>,
    pub(crate) length: Duration,
}

/// What happens.
#[derive(Debug)]
pub(crate) enum Happening {
    Begin(usize),
    Wake(usize),
    Arrive { to: usize, parcel: Parcel },
    Freeze(usize),
    Thaw(usize),
    Act(Act),
    Heartbeat,
    Deliberate { term: u64 },
    Outcome { term: u64, question: Question, answered: bool },
    Commit { term: u64, node: NodeId, verdict: Verdict },
}

/// A packet on its way; on a stream, until that is given up.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    from: usize,
    bytes: Vec<u8>,
    stream_until: Option<Duration>,
}

pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Duration,
    number: u64,
    agenda: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Net,
    pub(crate) court: Court,
    pub(crate) report: Report,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..plan.nodes).map(|at| Node::new(at, GENERATION, &mut rng)).collect();
        let mut world = Self {
            now: Duration::ZERO,
            number: 0,
            agenda: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            nodes,
            net: Net::new(plan.loss_percent, rng),
            court: Court::new(plan.nodes, census(plan.nodes)),
            report: Report { trace: 0xcbf2_9ce4_8422_2325, ..Report::default() },
            plan,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        for node in 0..self.plan.nodes {
            let at = self.within(0, 1000);
            self.at(at, Happening::Begin(node));
        }
        for node in self.plan.nodes - self.plan.stalling..self.plan.nodes {
            let at = CALM + self.within(0, 3000);
            self.at(at, Happening::Freeze(node));
        }
        self.plan.script.clone().into_iter().for_each(|(at, act)| self.at(at, Happening::Act(act)));
        self.at(HEARTBEAT, Happening::Heartbeat);
    }

    /// A time between two, in milliseconds.
    pub(crate) fn within(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_micros(self.net.rng.random_range(low_ms * 1000..high_ms * 1000))
    }

    pub(crate) fn at(&mut self, at: Duration, happening: Happening) {
        self.agenda.push(Reverse((at, self.number)));
        self.happenings.insert(self.number, happening);
        self.number += 1;
    }

    pub(crate) fn after(&mut self, after: Duration, happening: Happening) {
        self.at(self.now + after, happening);
    }

    pub(crate) fn play(mut self) -> Report {
        while let Some(Reverse((at, number))) = self.agenda.pop() {
            if at > self.plan.length {
                break;
            }
            self.now = at;
            let happening = self.happenings.remove(&number).unwrap();
            self.happen(happening);
        }
        self.finish()
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Begin(node) => self.call(node, None, Gossip::begin),
            Happening::Wake(node) => self.wake(node),
            Happening::Arrive { to, parcel } => self.arrive(to, parcel),
            Happening::Freeze(node) => self.freeze(node),
            Happening::Thaw(node) => self.thaw(node),
            Happening::Act(act) => self.act(act),
            Happening::Heartbeat => self.elect(),
            Happening::Deliberate { term } if term == self.court.term => self.deliberate(),
            Happening::Deliberate { .. } => {}
            Happening::Outcome { term, question, answered } => self.outcome(term, question, answered),
            Happening::Commit { term, node, verdict } => self.commit(term, node, verdict),
        }
    }

    pub(crate) fn is_frozen(&self, node: usize) -> bool {
        self.nodes[node].frozen_until.is_some()
    }

    fn is_running(&self, node: usize) -> bool {
        self.nodes[node].alive && !self.is_frozen(node)
    }

    /// Calls a node's core and does what it wants; what it replies goes to the other end of `stream`, while it is open.
    pub(crate) fn call(
        &mut self,
        from: usize,
        stream: Option<(usize, Duration)>,
        call: impl FnOnce(&mut Gossip, Duration, &mut Outbox),
    ) {
        let mut out = Outbox::default();
        call(&mut self.nodes[from].gossip, self.now, &mut out);
        for Packet { to, bytes } in out.packets {
            self.report.packets += 1;
            if let Some(delay) = self.net.datagram() {
                self.post(delay, index(to), Parcel { from, bytes, stream_until: None });
            }
        }
        for Packet { to, bytes } in out.dials {
            let delay = self.net.handshake() + self.net.stream();
            let stream_until = Some(self.now + STREAM_TIMEOUT);
            self.post(delay, index(to), Parcel { from, bytes, stream_until });
        }
        for (bytes, (to, until)) in out.replies.into_iter().zip(stream.into_iter().cycle()) {
            let delay = self.net.stream();
            self.post(delay, to, Parcel { from, bytes, stream_until: Some(until) });
        }
        out.events.into_iter().for_each(|event| self.note(from, event));
        self.set_alarm(from);
    }

    /// Sends a parcel. One datagram in a hundred is recorded, and sent again later by somebody who wishes us ill.
    fn post(&mut self, delay: Duration, to: usize, parcel: Parcel) {
        if parcel.stream_until.is_none() && self.net.recorded() {
            let later = self.within(0, 20_000);
            self.after(later, Happening::Arrive { to, parcel: parcel.clone() });
        }
        if parcel.stream_until.is_none_or(|until| self.now + delay < until) {
            self.after(delay, Happening::Arrive { to, parcel });
        }
    }

    /// A timer fires up to two milliseconds late.
    fn set_alarm(&mut self, node: usize) {
        let Some(due) = self.nodes[node].gossip.wake_at() else { return };
        if self.nodes[node].wake_at.is_none_or(|at| due < at) {
            self.nodes[node].wake_at = Some(due);
            let late = self.within(0, 2);
            self.at(due.max(self.now) + late, Happening::Wake(node));
        }
    }

    fn wake(&mut self, node: usize) {
        self.nodes[node].wake_at = None;
        if self.is_running(node) {
            self.call(node, None, Gossip::wake);
        }
    }

    fn arrive(&mut self, to: usize, parcel: Parcel) {
        if !self.net.passes(parcel.from, to, parcel.stream_until.is_some()) {
            return;
        }
        if self.is_running(to) {
            return self.receive(to, parcel);
        }
        let node = &mut self.nodes[to];
        if node.alive && node.inbox.len() < INBOX_MAX {
            node.inbox.push(parcel);
        }
    }

    pub(crate) fn receive(&mut self, to: usize, Parcel { from, bytes, stream_until }: Parcel) {
        let path = if stream_until.is_some() { Path::Stream } else { Path::Datagram };
        let stream = stream_until.map(|until| (from, until));
        self.call(to, stream, |gossip, now, out| gossip.receive(now, &bytes, path, out));
    }
}
