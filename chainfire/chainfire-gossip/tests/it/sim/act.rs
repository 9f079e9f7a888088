//! What is done to the nodes.

use std::time::Duration;

use chainfire_gossip::Gossip;
use rand::RngExt as _;

use super::{
    net::Block,
    node::{Node, metadata},
    report::Kill,
    world::{Happening, World},
};

/// How long a node that leaves goes on telling so, as the driver does.
const FAREWELL: Duration = Duration::from_millis(500);

/// Something that is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// A healthy node dies.
    Kill,
    /// From now on the network lets through what the block says.
    Block(Option<Block>),
    /// The process of a node is replaced by one whose clock says this.
    Restart { node: usize, generation: u64 },
    /// A node says something new about itself.
    Rename(usize),
    /// A node says farewell.
    Leave(usize),
    /// Its process ends.
    Stop(usize),
}

impl World {
    pub(crate) fn act(&mut self, act: Act) {
        match act {
            Act::Kill => self.kill(),
            Act::Block(block) => self.net.block = block,
            Act::Restart { node, generation } => {
                self.nodes[node] = Node::new(node, generation, &mut self.net.rng);
                self.call(node, None, Gossip::begin);
            }
            Act::Rename(node) => {
                let renamed = metadata(node, "renamed");
                self.nodes[node].metadata = renamed.clone();
                self.nodes[node].gossip.set_metadata(renamed);
            }
            Act::Leave(node) => {
                self.nodes[node].left = true;
                self.call(node, None, Gossip::leave);
                self.after(FAREWELL, Happening::Act(Act::Stop(node)));
            }
            Act::Stop(node) => self.nodes[node].alive = false,
        }
    }

    fn kill(&mut self) {
        let candidates = self.healthy().into_iter().collect::<Vec<_>>();
        let node = candidates[self.net.rng.random_range(0..candidates.len())];
        self.nodes[node].alive = false;
        let unknown = Duration::MAX;
        self.report.kills.push(Kill { node, at: self.now, known_after: unknown, marked_after: unknown });
    }

    pub(crate) fn freeze(&mut self, node: usize) {
        let until = self.now + self.within(300, 6000);
        self.nodes[node].frozen_since = Some(self.now);
        self.nodes[node].frozen_until = Some(until);
        self.at(until, Happening::Thaw(node));
    }

    /// Whether its timers or what came in is seen first is chance.
    pub(crate) fn thaw(&mut self, node: usize) {
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
}
