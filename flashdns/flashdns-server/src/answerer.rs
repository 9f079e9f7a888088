//! Where the data plane finds what to answer with: the current catalog, swapped whole.
//!
//! The feed is the only writer. A worker loads one [`Snapshot`] for a batch and answers all of it from there, so
//! an answer never mixes two revisions, and loading costs nothing that workers share.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use flashdns_core::{Catalog, Lookahead, Transport};

use crate::counters::Tally;

/// A cheap handle on the current catalog.
#[derive(Debug, Clone)]
pub(crate) struct Answerer(Arc<ArcSwap<Catalog>>);

/// One catalog, held for as long as it is answered from.
pub(crate) struct Snapshot(Guard<Arc<Catalog>>);

/// Datagrams that were read, to be answered from the same snapshot.
pub(crate) struct ReadBatch<'a> {
    snapshot: &'a Snapshot,
    ahead: &'a Lookahead,
}

impl Answerer {
    /// Starts with no zone: everything is refused.
    pub(crate) fn new() -> Answerer {
        Answerer(Arc::new(ArcSwap::from_pointee(Catalog::default())))
    }

    /// What is to be answered from now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.load())
    }

    /// Makes `catalog` what every later snapshot is.
    pub(crate) fn publish(&self, catalog: Catalog) {
        self.0.store(Arc::new(catalog));
    }
}

impl Snapshot {
    /// Reads a batch of datagrams together, and brings near what they will be answered from.
    pub(crate) fn read<'a, 'q>(
        &'a self,
        ahead: &'a mut Lookahead,
        queries: impl IntoIterator<Item = &'q [u8]>,
    ) -> ReadBatch<'a> {
        ahead.read(&self.0, queries);
        ReadBatch { snapshot: self, ahead }
    }

    /// Answers one message of a TCP connection; `None` when it deserves no reply.
    pub(crate) fn tcp(&self, query: &[u8], reply: &mut [u8], tally: &mut Tally) -> Option<usize> {
        let most = reply.len().min(usize::from(u16::MAX));
        let reply = &mut reply[..most];
        tallied(flashdns_core::answer(&self.0, query, Transport::Tcp, reply), reply, tally)
    }
}

impl ReadBatch<'_> {
    /// Answers the datagram that was read at `index`, which is `query`; `None` when it deserves no reply.
    pub(crate) fn udp(
        &self,
        index: usize,
        query: &[u8],
        limit: u16,
        reply: &mut [u8],
        tally: &mut Tally,
    ) -> Option<usize> {
        let length = self.ahead.answer(&self.snapshot.0, index, query, Transport::Udp { limit }, reply);
        tallied(length, reply, tally)
    }
}

fn tallied(length: Option<usize>, reply: &[u8], tally: &mut Tally) -> Option<usize> {
    let length = length?;
    tally.reply(&reply[..length]);
    Some(length)
}
