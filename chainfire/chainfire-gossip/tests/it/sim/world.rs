//! The nodes, and everything that happens to them, one after the other.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
    net::SocketAddr,
    time::Duration,
};

use chainfire_gossip::{
    Census, Config, Event, Gossip, Identity, Key, Keyring, Metadata, Metrics, NodeId, Outbox, Path, Question,
    Start, Verdict,
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{
    court::{Court, HEARTBEAT},
    net::{INBOX_MAX, Net},
    report::{Kill, Report},
};

/// A stream on which nothing came back for so long is given up, as the driver does.
const STREAM_TIMEOUT: Duration = Duration::from_millis(500);
/// Nodes stall from then on.
const CALM: Duration = Duration::from_secs(6);
/// Instances of a service.
const SERVICE: usize = 16;

/// What is to be played.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: usize,
    /// The last so many nodes stall over and over.
    pub(crate) stalling: usize,
    pub(crate) loss_percent: u32,
    /// A node that does not stall dies at each of these.
    pub(crate) kills_at: Vec<Duration>,
    /// From then on one node's gossip is cut off, while other ways to it are open.
    pub(crate) cut_at: Option<Duration>,
    pub(crate) length: Duration,
}

/// A node whose gossip may be cut off.
const CUT: usize = 3;

/// What happens.
#[derive(Debug)]
pub(crate) enum Happening {
    Begin(usize),
    Wake(usize),
    Arrive { to: usize, parcel: Parcel },
    Freeze(usize),
    Thaw(usize),
    Kill,
    Heartbeat,
    Deliberate { term: u64 },
    Outcome { term: u64, question: Question, answered: bool },
    Commit { term: u64, node: NodeId, verdict: Verdict },
}

/// A packet on its way; on a stream, with who is at the other end and until when it is open.
#[derive(Debug)]
pub(crate) struct Parcel {
    bytes: Vec<u8>,
    stream: Option<(usize, Duration)>,
}

pub(crate) struct Node {
    pub(crate) gossip: Gossip,
    pub(crate) alive: bool,
    pub(crate) frozen_since: Option<Duration>,
    pub(crate) frozen_until: Option<Duration>,
    inbox: Vec<Parcel>,
    wake_at: Option<Duration>,
    /// When it had the hint that a node failed.
    failed: BTreeMap<NodeId, Duration>,
}

pub(crate) struct World {
    plan: Plan,
    pub(crate) now: Duration,
    number: u64,
    agenda: BinaryHeap<Reverse<(Duration, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    pub(crate) nodes: Vec<Node>,
    pub(crate) net: Net,
    pub(crate) court: Court,
    pub(crate) report: Report,
}

fn addr(node: usize) -> SocketAddr {
    ([10, 0, 0, u8::try_from(node + 1).unwrap()], 7946).into()
}

fn index(addr: SocketAddr) -> usize {
    let std::net::IpAddr::V4(ip) = addr.ip() else { panic!("{addr}") };
    usize::from(ip.octets()[3]) - 1
}

fn node(index: usize, rng: &mut StdRng) -> Node {
    let service = format!("service-{}", index % 4);
    let start = Start {
        config: Config::default(),
        identity: Identity::new(NodeId(index as u64), addr(index), 1),
        metadata: Metadata::new(format!("node-{index}"), "zone-a", vec![addr(index)], vec![service]).unwrap(),
        seeds: (0..3).map(addr).collect(),
        keyring: Keyring::new(Key::new([7; 32])),
        entropy: rng.random(),
    };
    Node {
        gossip: Gossip::new(start, Metrics::default()).unwrap(),
        alive: true,
        frozen_since: None,
        frozen_until: None,
        inbox: Vec::new(),
        wake_at: None,
        failed: BTreeMap::new(),
    }
}

fn census(nodes: usize) -> Census {
    let mut census = Census::new();
    for node in 0..nodes {
        let service = format!("service-{}", node % nodes.div_ceil(SERVICE));
        census.entry(service).or_default().insert(NodeId(node as u64));
    }
    census
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..plan.nodes).map(|at| node(at, &mut rng)).collect();
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
        self.plan.kills_at.clone().into_iter().for_each(|at| self.at(at, Happening::Kill));
        self.at(HEARTBEAT, Happening::Heartbeat);
    }

    /// A time between two, in milliseconds.
    fn within(&mut self, low_ms: u64, high_ms: u64) -> Duration {
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
            Happening::Kill => self.kill(),
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

    /// Calls a node's core and does what it wants.
    fn call(
        &mut self,
        node: usize,
        stream: Option<(usize, Duration)>,
        call: impl FnOnce(&mut Gossip, Duration, &mut Outbox),
    ) {
        let mut out = Outbox::default();
        call(&mut self.nodes[node].gossip, self.now, &mut out);
        for packet in out.packets {
            self.report.packets += 1;
            if let Some(delay) = self.net.datagram() {
                self.post(delay, index(packet.to), packet.bytes, None);
            }
        }
        for packet in out.dials {
            let delay = self.net.handshake() + self.net.stream();
            self.post(delay, index(packet.to), packet.bytes, Some((node, self.now + STREAM_TIMEOUT)));
        }
        if let Some((other, until)) = stream {
            for bytes in out.replies {
                let delay = self.net.stream();
                self.post(delay, other, bytes, Some((node, until)));
            }
        }
        out.events.into_iter().for_each(|event| self.note(node, event));
        self.set_alarm(node);
    }

    fn is_cut(&self, node: usize) -> bool {
        node == CUT && self.plan.cut_at.is_some_and(|at| self.now >= at)
    }

    fn post(&mut self, delay: Duration, to: usize, bytes: Vec<u8>, stream: Option<(usize, Duration)>) {
        if stream.is_none_or(|(_, until)| self.now + delay < until) {
            self.after(delay, Happening::Arrive { to, parcel: Parcel { bytes, stream } });
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
        if self.is_cut(to) {
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

    fn receive(&mut self, to: usize, Parcel { bytes, stream }: Parcel) {
        let path = if stream.is_some() { Path::Stream } else { Path::Datagram };
        self.call(to, stream, |gossip, now, out| gossip.receive(now, &bytes, path, out));
    }

    fn freeze(&mut self, node: usize) {
        let until = self.now + self.within(300, 6000);
        self.nodes[node].frozen_since = Some(self.now);
        self.nodes[node].frozen_until = Some(until);
        self.at(until, Happening::Thaw(node));
    }

    /// Whether its timers or what came in is seen first is chance.
    fn thaw(&mut self, node: usize) {
        self.nodes[node].frozen_since = None;
        self.nodes[node].frozen_until = None;
        let timers_first = self.net.rng.random::<bool>();
        if timers_first {
            self.call(node, None, Gossip::wake);
        }
        for parcel in std::mem::take(&mut self.nodes[node].inbox) {
            self.receive(node, parcel);
        }
        self.call(node, None, Gossip::wake);
        let again = self.within(1000, 4000);
        self.after(again, Happening::Freeze(node));
    }

    fn kill(&mut self) {
        let candidates = (0..self.plan.nodes - self.plan.stalling).filter(|node| self.nodes[*node].alive);
        let candidates = candidates.collect::<Vec<_>>();
        let node = candidates[self.net.rng.random_range(0..candidates.len())];
        self.nodes[node].alive = false;
        let unknown = Duration::MAX;
        self.report.kills.push(Kill { node, at: self.now, known_after: unknown, marked_after: unknown });
    }

    fn is_healthy(&self, node: usize) -> bool {
        self.nodes[node].alive && node < self.plan.nodes - self.plan.stalling
    }

    fn note(&mut self, at: usize, event: Event) {
        self.trace(&(self.now, at, event));
        if let Event::FailedHint(node) = event {
            self.nodes[at].failed.insert(node, self.now);
            self.count_hint(usize::try_from(node.0).unwrap());
        }
        if at == self.court.leader {
            self.hear(event);
        }
    }

    fn count_hint(&mut self, node: usize) {
        self.report.wrong_hints += usize::from(self.is_healthy(node));
        self.report.stall_hints += usize::from(self.nodes[node].alive && !self.is_healthy(node));
    }

    pub(crate) fn marked(&mut self, node: usize) {
        self.trace(&(self.now, node));
        self.report.stalls_marked += usize::from(self.is_frozen(node));
        if self.is_healthy(node) {
            self.report.wrongly_marked.push((self.now, node));
        }
        let now = self.now;
        for kill in self.report.kills.iter_mut().filter(|kill| kill.node == node) {
            kill.marked_after = kill.marked_after.min(now - kill.at);
        }
    }

    fn trace(&mut self, what: &impl std::fmt::Debug) {
        for byte in format!("{what:?}").bytes() {
            self.report.trace = (self.report.trace ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn finish(mut self) -> Report {
        let healthy = (0..self.plan.nodes).filter(|node| self.is_healthy(*node)).collect::<BTreeSet<_>>();
        for kill in &mut self.report.kills {
            let id = NodeId(kill.node as u64);
            let known = healthy.iter().map(|node| self.nodes[*node].failed.get(&id).map(|at| *at - kill.at));
            kill.known_after =
                known.max_by_key(|after| after.unwrap_or(Duration::MAX)).flatten().unwrap_or(Duration::MAX);
        }
        for (one, other) in healthy.iter().flat_map(|one| healthy.iter().map(move |other| (*one, *other))) {
            if one != other {
                let member = self.nodes[one].gossip.member(NodeId(other as u64));
                self.report.strangers +=
                    usize::from(!member.is_some_and(chainfire_gossip::Member::is_active));
                self.report.untold += usize::from(member.is_none_or(|member| member.metadata.is_none()));
            }
        }
        self.report
    }
}
