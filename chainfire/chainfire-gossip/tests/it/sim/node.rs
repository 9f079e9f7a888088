//! One node: its core, and how its process is.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use chainfire_gossip::{Census, Config, Gossip, Identity, Key, Keyring, Metadata, Metrics, NodeId, Start};
use rand::{RngExt as _, rngs::StdRng};

use super::world::Parcel;

/// Instances of a service.
const SERVICE: usize = 16;

pub(crate) struct Node {
    pub(crate) gossip: Gossip,
    pub(crate) metrics: Metrics,
    pub(crate) metadata: Metadata,
    pub(crate) alive: bool,
    /// It said farewell.
    pub(crate) left: bool,
    pub(crate) frozen_since: Option<Duration>,
    pub(crate) frozen_until: Option<Duration>,
    pub(crate) inbox: Vec<Parcel>,
    pub(crate) wake_at: Option<Duration>,
    /// When it had the hint that a node failed.
    pub(crate) failed: BTreeMap<NodeId, Duration>,
}

impl Node {
    pub(crate) fn new(index: usize, generation: u64, rng: &mut StdRng) -> Self {
        let (metadata, metrics) = (metadata(index, "node"), Metrics::default());
        let start = Start {
            config: Config::default(),
            identity: Identity::new(NodeId(index as u64), addr(index), generation),
            metadata: metadata.clone(),
            seeds: (0..3).map(addr).collect(),
            keyring: Keyring::new(Key::new([7; 32])),
            entropy: rng.random(),
        };
        Self {
            gossip: Gossip::new(start, metrics.clone()).unwrap(),
            metrics,
            metadata,
            alive: true,
            left: false,
            frozen_since: None,
            frozen_until: None,
            inbox: Vec::new(),
            wake_at: None,
            failed: BTreeMap::new(),
        }
    }
}

pub(crate) fn metadata(index: usize, name: &str) -> Metadata {
    let service = format!("service-{}", index % 4);
    Metadata::new(format!("{name}-{index}"), "zone-a", vec![addr(index)], vec![service]).unwrap()
}

fn addr(index: usize) -> SocketAddr {
    ([10, 0, 0, u8::try_from(index + 1).unwrap()], 7946).into()
}

pub(crate) fn index(addr: SocketAddr) -> usize {
    let std::net::IpAddr::V4(ip) = addr.ip() else { panic!("{addr}") };
    usize::from(ip.octets()[3]) - 1
}

pub(crate) fn census(nodes: usize) -> Census {
    let mut census = Census::new();
    for node in 0..nodes {
        let service = format!("service-{}", node % nodes.div_ceil(SERVICE));
        census.entry(service).or_default().insert(NodeId(node as u64));
    }
    census
}
