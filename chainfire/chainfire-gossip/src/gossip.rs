//! The core: SWIM by foca, and around it what foca leaves to others. No clock, no socket, no randomness of its own.
//!
//! Whoever runs it hands in packets and the time, does what stands in the [`Outbox`], and calls
//! [`wake`](Gossip::wake) at [`wake_at`](Gossip::wake_at). The server and the simulation run this very code.

mod alarms;
mod effects;
mod receive;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    time::Duration,
};

use foca::{AccumulatingRuntime, Foca, NoCustomBroadcast};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use crate::{
    codec::Codec,
    config::{Config, ConfigError, check_address},
    frame::{Body, Record, Stamp, room_beside},
    health::LocalHealth,
    identity::{Identity, NodeId},
    keyring::Keyring,
    link::Link,
    metadata::Metadata,
    metrics::Metrics,
    outbox::{Outbox, Packet, Path},
    roster::{Member, Roster},
    rumors::Rumors,
    timers::Timers,
};

use alarms::Alarm;

/// Seeds at most: as many are announced to at once.
const SEEDS_MAX: usize = 16;

/// What a node is started with.
#[derive(Clone, Debug)]
pub struct Start {
    /// Timings.
    pub config: Config,
    /// This life of this node.
    pub identity: Identity,
    /// What it says about itself.
    pub metadata: Metadata,
    /// Where others are likely to be found; its own address among them is passed over, and so are all beyond 16.
    pub seeds: Vec<SocketAddr>,
    /// The cluster's keys.
    pub keyring: Keyring,
    /// Random bytes that nobody can guess and no other start was given.
    pub entropy: [u8; 32],
}

/// A probe under way.
#[derive(Debug)]
struct Probe {
    target: Identity,
    number: u8,
    sent_at: Duration,
    answered: bool,
    /// Something was heard of anybody since it began.
    heard: bool,
    ping: bytes::Bytes,
}

/// One node's gossip.
pub struct Gossip {
    config: Config,
    swim: Foca<Identity, Codec, StdRng, NoCustomBroadcast>,
    effects: AccumulatingRuntime<Identity>,
    link: Link,
    timers: Timers<Alarm>,
    health: LocalHealth,
    roster: Roster,
    rumors: Rumors,
    own: Record,
    seeds: Vec<SocketAddr>,
    seeded_at: Duration,
    outlived_at: Option<Duration>,
    probe: Option<Probe>,
    /// Whom we suspected ourselves. They are told so directly until they refute it.
    doubted: BTreeSet<Identity>,
    /// Since when each member, in each of its incarnations, is suspected by anybody.
    suspected_since: BTreeMap<(Identity, u16), Duration>,
    incarnation: u16,
    /// The size of the cluster that foca is set for, as a power of two.
    scale: u32,
    leaving: bool,
    scratch: Vec<u8>,
    rng: StdRng,
    metrics: Metrics,
}

impl std::fmt::Debug for Gossip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gossip")
            .field("identity", self.identity())
            .field("roster", &self.roster)
            .finish_non_exhaustive()
    }
}

impl Gossip {
    /// A node that has not begun; see [`begin`](Gossip::begin).
    ///
    /// # Errors
    /// When the timings cannot work, or nobody could send to the identity's address.
    pub fn new(start: Start, metrics: Metrics) -> Result<Self, ConfigError> {
        start.config.check()?;
        check_address(&start.identity)?;
        let Start { config, identity, metadata, mut seeds, keyring, entropy } = start;
        seeds.retain(|seed| *seed != identity.addr);
        seeds.truncate(SEEDS_MAX);
        let mut rng = StdRng::from_seed(entropy);
        let swim = Foca::new(identity, config.swim(1), StdRng::from_seed(rng.random()), Codec);
        let stamp = Stamp { generation: identity.generation, version: 0 };
        Ok(Self {
            swim,
            effects: AccumulatingRuntime::new(),
            link: Link::new(identity.addr, keyring, rng.random()),
            timers: Timers::default(),
            health: LocalHealth::default(),
            roster: Roster::new(identity.node),
            rumors: Rumors::default(),
            own: Record { node: identity.node, stamp, metadata },
            seeds,
            seeded_at: Duration::ZERO,
            outlived_at: None,
            probe: None,
            doubted: BTreeSet::new(),
            suspected_since: BTreeMap::new(),
            incarnation: 0,
            scale: 0,
            leaving: false,
            scratch: Vec::new(),
            rng,
            metrics,
            config,
        })
    }

    /// Begins to look for others.
    pub fn begin(&mut self, now: Duration, out: &mut Outbox) {
        self.tell_own();
        self.timers.schedule(now, self.config.gossip_period, Alarm::Tick);
        self.join(now, out);
    }

    /// Who this node is at present.
    pub fn identity(&self) -> &Identity {
        self.swim.identity()
    }

    /// All nodes that are known, but this one.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.roster.members()
    }

    /// One of them.
    pub fn member(&self, node: NodeId) -> Option<&Member> {
        self.roster.get(node)
    }

    /// The cluster's keys, to look at and to change.
    pub fn keyring(&mut self) -> &mut Keyring {
        &mut self.link.keyring
    }

    /// Changes what this node says about itself, and tells it.
    pub fn set_metadata(&mut self, metadata: Metadata) {
        if self.own.metadata != metadata {
            self.own.metadata = metadata;
            self.tell_own();
        }
    }

    /// Says farewell. Call it once, go on running the core for a few gossip periods so that it is heard, then stop.
    pub fn leave(&mut self, now: Duration, out: &mut Outbox) {
        if std::mem::replace(&mut self.leaving, true) {
            return;
        }
        let farewell = Identity { leaving: true, ..*self.identity() };
        let changed = self.swim.change_identity(farewell, &mut self.effects);
        self.settle(now, changed, None, out);
        let left = self.swim.leave_cluster(&mut self.effects);
        self.settle(now, left, None, out);
    }

    /// Makes what this node says about itself news.
    fn tell_own(&mut self) {
        self.own.stamp.generation = self.identity().generation;
        self.own.stamp.version += 1;
        self.link.version = self.own.stamp.version;
        self.rumors.add(&self.own, self.transmissions());
    }

    /// How often a piece of news is told.
    fn transmissions(&self) -> u32 {
        self.scale + 8
    }

    /// Sends a word of our own, with as much metadata as there is room for.
    fn send(&mut self, now: Duration, to: SocketAddr, path: Path, body: Body<'_>, out: &mut Outbox) {
        let records = self.rumors.take(room_beside(&body));
        let sealed = self.link.seal(now, to, body, &records);
        self.post(to, path, sealed, out);
    }

    fn post(&mut self, to: SocketAddr, path: Path, sealed: Option<Vec<u8>>, out: &mut Outbox) {
        let Some(bytes) = sealed else { return };
        self.metrics.sent.inc();
        self.metrics.sent_bytes.inc_by(u64::try_from(bytes.len()).unwrap_or_default());
        match path {
            Path::Datagram => out.packets.push(Packet { to, bytes }),
            Path::Stream => out.replies.push(bytes),
        }
    }

    /// Counts what foca refused. It says so for packets that are late or contradict each other, and goes on.
    fn check(&self, outcome: Result<(), foca::Error>) {
        if let Err(error) = outcome {
            self.metrics.swim_errors.inc();
            tracing::debug!(node = %self.own.node, %error, "SWIM refused");
        }
    }
}
