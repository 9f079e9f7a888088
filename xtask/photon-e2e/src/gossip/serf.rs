//! Serf's agents, as they come, with the timings of a local network, which are its default.

use std::path::Path;

use anyhow::Result;

use super::{
    NODES,
    swarm::{Node, Swarm, Words},
};
use crate::faults::network::{End, Network, address};

const PORT: u16 = 7946;
/// 32 random bytes would be better; 32 equal ones cost as much to seal with.
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

const WORDS: Words = Words {
    there: |line, node| line.contains(&format!("EventMemberJoin: {} ", node.name)),
    failed: |line, node| line.contains(&format!("EventMemberFailed: {} ", node.name)),
    any_failed: "EventMemberFailed",
};

/// Starts them in the slots behind ours.
///
/// # Errors
/// When Serf is not installed, or they do not meet.
pub(super) async fn start(network: &Network, folder: &Path) -> Result<Swarm> {
    let nodes = (0..NODES).map(|number| node(network, folder, number)).collect::<Result<_>>()?;
    Swarm::start(nodes, WORDS).await
}

fn node(network: &Network, folder: &Path, number: usize) -> Result<Node> {
    let at = |number: usize| format!("{}:{PORT}", address(End::Node(NODES + number)));
    let name = format!("s{}", number + 1);
    let mut words = network.wrapper(NODES + number)?.to_vec();
    let join = (0..NODES).filter(|other| *other != number).map(|other| format!("-retry-join={}", at(other)));
    words.extend(["serf", "agent", "-log-level=info", "-profile=lan"].map(str::to_owned));
    words.extend([format!("-node={name}"), format!("-bind={}", at(number)), format!("-encrypt={KEY}")]);
    words.extend(join);
    Ok(Node::new(name.clone(), at(number), words, folder.join(format!("serf-{name}.log"))))
}
