//! Where the data plane finds what to answer with: the current catalog, swapped whole.
//!
//! The feed is the only writer. A worker loads one [`Snapshot`] for a batch and answers all of it from there, so
//! an answer never mixes two revisions, and loading costs nothing that workers share.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use flashdns_core::{Catalog, Transport};

use crate::counters::Tally;

/// A cheap handle on the current catalog.
#[derive(Debug, Clone)]
pub(crate) struct Answerer(Arc<ArcSwap<Catalog>>);

/// One catalog, held for as long as it is answered from.
pub(crate) struct Snapshot(Guard<Arc<Catalog>>);

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
    /// Answers one datagram; `None` when it deserves no reply.
    pub(crate) fn udp(&self, query: &[u8], limit: u16, reply: &mut [u8], tally: &mut Tally) -> Option<usize> {
        self.answer(query, Transport::Udp { limit }, reply, tally)
    }

    /// Answers one message of a TCP connection; `None` when it deserves no reply.
    pub(crate) fn tcp(&self, query: &[u8], reply: &mut [u8], tally: &mut Tally) -> Option<usize> {
        let most = reply.len().min(usize::from(u16::MAX));
        self.answer(query, Transport::Tcp, &mut reply[..most], tally)
    }

    fn answer(&self, query: &[u8], by: Transport, reply: &mut [u8], tally: &mut Tally) -> Option<usize> {
        let length = flashdns_core::answer(&self.0, query, by, reply)?;
        tally.reply(&reply[..length]);
        Some(length)
    }
}
