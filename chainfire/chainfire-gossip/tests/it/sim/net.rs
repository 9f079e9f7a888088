//! The network between the nodes: datagrams that get lost, streams that get through later.

use std::time::Duration;

use rand::{RngExt as _, rngs::StdRng};

/// Datagrams that wait at a node that does not read them; more are lost, as by a socket's buffer.
pub(crate) const INBOX_MAX: usize = 256;

/// What the network does not let through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Block {
    /// Anything between the first so many nodes and the others.
    Split(usize),
    /// Gossip from and to a node.
    Gossip(usize),
    /// Datagrams from and to a node.
    Datagrams(usize),
}

/// How the network is.
#[derive(Debug)]
pub(crate) struct Net {
    loss_percent: u32,
    pub(crate) block: Option<Block>,
    pub(crate) rng: StdRng,
}

impl Net {
    pub(crate) fn new(loss_percent: u32, rng: StdRng) -> Self {
        Self { loss_percent, block: None, rng }
    }

    pub(crate) fn passes(&self, from: usize, to: usize, is_stream: bool) -> bool {
        match self.block {
            None => true,
            Some(Block::Split(first)) => (from < first) == (to < first),
            Some(Block::Gossip(node)) => from != node && to != node,
            Some(Block::Datagrams(node)) => is_stream || (from != node && to != node),
        }
    }

    pub(crate) fn recorded(&mut self) -> bool {
        self.rng.random_range(0..100) == 0
    }

    pub(crate) fn lost(&mut self) -> bool {
        self.rng.random_range(0..100) < self.loss_percent
    }

    /// How long a packet is on its way: mostly under a millisecond, one in a hundred much longer.
    pub(crate) fn delay(&mut self) -> Duration {
        let slow = self.rng.random_range(0..100) == 0;
        Duration::from_micros(self.rng.random_range(if slow { 5_000..30_000 } else { 100..900 }))
    }

    /// When a datagram arrives, if it does.
    pub(crate) fn datagram(&mut self) -> Option<Duration> {
        if self.lost() { None } else { Some(self.delay()) }
    }

    /// How long until a stream is open: each loss of its first packets costs a second (Linux, RFC 6298 §2.1).
    pub(crate) fn handshake(&mut self) -> Duration {
        self.repeated(Duration::from_secs(1)) + self.repeated(Duration::from_secs(1))
    }

    /// How long bytes take over an open stream: each loss costs 200 ms and then twice as much.
    pub(crate) fn stream(&mut self) -> Duration {
        self.repeated(Duration::from_millis(200))
    }

    fn repeated(&mut self, mut timeout: Duration) -> Duration {
        let mut delay = self.delay();
        while self.lost() {
            delay += timeout;
            timeout *= 2;
        }
        delay
    }
}
