//! Who is there: ChainFire's gossip, as a pure core and a driver that runs it.
//!
//! [`Gossip`] is SWIM (Das, Gupta, Motivala 2002) on the `foca` crate, with what foca leaves to its user: joining that
//! is tried again, Lifeguard's local health, a probe over TCP when UDP does not answer, metadata, sealed packets that
//! cannot be replayed, and lives of a node that survive a restart with a wrong clock. It has no clock, no socket and no
//! randomness of its own: the server's driver ([`Node`]) and the simulation in the tests run the same code.
//!
//! What gossip says about the end of a node is hearsay, a *hint*. A [`Judge`], run by whoever may write the registry,
//! turns hints into verdicts: it has the node asked over a second way, and never takes more than a share of a service
//! away ([`exhausted`]).
//!
//! What it refuses to do: decide who votes in Raft, mark anybody down by itself, speak without a key.
//!
//! ```
//! use std::time::Duration;
//!
//! use chainfire_gossip::{Config, Gossip, Identity, Key, Keyring, Metadata, Metrics, NodeId, Outbox, Path, Start};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let start = |node: u8, seed: u8| -> Result<Start, Box<dyn std::error::Error>> {
//!     Ok(Start {
//!         config: Config::default(),
//!         identity: Identity::new(NodeId(node.into()), ([10, 0, 0, node], 7946).into(), 1),
//!         metadata: Metadata::new(format!("node-{node}"), "zone-a", vec![], vec!["flaredb".to_owned()])?,
//!         seeds: vec![([10, 0, 0, seed], 7946).into()],
//!         keyring: Keyring::new(Key::new([7; 32])), // random, and the same on all nodes
//!         entropy: [node; 32],                      // random
//!     })
//! };
//! let mut nodes = [Gossip::new(start(1, 2)?, Metrics::default())?, Gossip::new(start(2, 1)?, Metrics::default())?];
//!
//! // A network that loses nothing, between two nodes, for one second.
//! let mut now = Duration::ZERO;
//! let mut out = Outbox::default();
//! nodes[0].begin(now, &mut out);
//! nodes[1].begin(now, &mut out);
//! while now < Duration::from_secs(1) {
//!     for packet in std::mem::take(&mut out.packets) {
//!         let to = nodes.iter_mut().find(|node| node.identity().addr == packet.to).ok_or("nobody is there")?;
//!         to.receive(now, &packet.bytes, Path::Datagram, &mut out);
//!     }
//!     now += Duration::from_millis(10);
//!     nodes.iter_mut().for_each(|node| node.wake(now, &mut out));
//! }
//! let other = nodes[0].member(NodeId(2)).ok_or("they did not meet")?;
//! assert!(other.is_active());
//! assert_eq!(other.metadata.as_ref().map(Metadata::name), Some("node-2"));
//! # Ok(())
//! # }
//! ```

mod budget;
mod codec;
mod config;
mod damping;
mod driver;
mod event;
mod frame;
mod gossip;
mod health;
mod identity;
mod judge;
mod keyring;
mod link;
mod metadata;
mod metrics;
mod outbox;
mod peers;
mod roster;
mod rumors;
mod timers;
mod window;
mod wire;

pub use crate::{
    budget::{Census, DOWN_PERCENT_MAX, exhausted},
    config::{Config, ConfigError},
    driver::{Handle, KeyError, Members, Node, Sockets, Stopped},
    event::Event,
    frame::PACKET_BYTES_MAX,
    gossip::{Gossip, Start},
    identity::{Identity, NodeId},
    judge::{Judge, Question, Rules, Step, Verdict},
    keyring::{KEYS_MAX, Key, KeyId, Keyring, KeyringError},
    metadata::{METADATA_BYTES_MAX, Metadata, MetadataError},
    metrics::{Metrics, Values},
    outbox::{Outbox, Packet, Path},
    roster::{Member, Status},
};
