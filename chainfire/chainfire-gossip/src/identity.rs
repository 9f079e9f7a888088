//! Who a member is: a node, at an address, in one of its lives.
//!
//! SWIM cannot take back that an identity is down. So each life of a node has a generation that is higher than that of
//! the life before; a node that was declared down while it lived goes on as its next generation.

use std::{fmt, net::SocketAddr};

/// A node of the cluster, for as long as it is the same node: over restarts and changes of address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u64);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One life of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The node.
    pub node: NodeId,
    /// Where it receives gossip, by UDP and TCP.
    pub addr: SocketAddr,
    /// Rises with each start of the node. Milliseconds since 1970 do: should the clock have gone back, a peer tells the
    /// node, and it goes on above the generation that the peer knows.
    pub generation: u64,
    /// It said farewell. Its end is then no failure.
    pub leaving: bool,
}

impl Identity {
    /// A node that starts.
    pub fn new(node: NodeId, addr: SocketAddr, generation: u64) -> Self {
        Self { node, addr, generation, leaving: false }
    }

    /// Whoever lives at `addr`; good to announce oneself to, and for nothing else.
    pub(crate) fn unknown(addr: SocketAddr) -> Self {
        Self::new(NodeId(0), addr, 0)
    }

    fn rank(&self) -> (u64, bool, NodeId) {
        (self.generation, self.leaving, self.node)
    }
}

impl foca::Identity for Identity {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        let generation = self.generation.checked_add(1)?;
        (!self.leaving).then_some(Self { generation, ..*self })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.rank() > adversary.rank()
    }
}

#[cfg(test)]
mod tests {
    use foca::Identity as _;

    use super::*;

    #[test]
    fn next_life_wins_over_the_one_before_and_a_farewell_over_both() {
        let first = Identity::new(NodeId(1), "10.0.0.1:1".parse().unwrap(), 7);
        let next = first.renew().unwrap();
        assert!(next.win_addr_conflict(&first) && !first.win_addr_conflict(&next));
        let farewell = Identity { leaving: true, ..next };
        assert!(farewell.win_addr_conflict(&next));
        assert_eq!(farewell.renew(), None, "who left does not come back by itself");
    }
}
