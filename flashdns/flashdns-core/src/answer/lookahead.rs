//! Answers a batch of queries faster than one by one.
//!
//! Most of the time that an answer takes is spent waiting for two places of memory: the slot of the zone's table
//! and the node that it leads to. The places of different queries do not depend on each other, so a processor
//! waits for many of them at once if it is asked to in a row. That is all that happens here: first all queries
//! of a batch are read, then all their slots are looked at, then all their nodes, and then each is answered from
//! the cache, by the same code as any other.

use std::{fmt, hint::black_box};

use super::{Fault, Header, Query, Transport, reply, resolve::zone_of};
use crate::Catalog;

/// Room for the queries of a batch, to be used again for the next.
pub struct Lookahead {
    slots: Box<[Slot]>,
}

struct Slot {
    asked: Query,
    /// The message's header and how it was read; `None`: it deserves no reply.
    read: Option<(Header, Result<(), Fault>)>,
}

impl fmt::Debug for Lookahead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookahead").field("queries_max", &self.slots.len()).finish_non_exhaustive()
    }
}

impl Lookahead {
    /// For batches of at most `queries_max`. The only place that allocates.
    pub fn new(queries_max: usize) -> Lookahead {
        let slot = || Slot { asked: Query::default(), read: None };
        Lookahead { slots: (0..queries_max).map(|_| slot()).collect() }
    }

    /// Reads the queries of a batch, and brings what they will be answered from near. Queries beyond the
    /// batch's size are not read.
    pub fn read<'q>(&mut self, catalog: &Catalog, queries: impl IntoIterator<Item = &'q [u8]>) {
        let mut filled = 0;
        for (slot, query) in self.slots.iter_mut().zip(queries) {
            slot.read = Header::read(query).map(|header| (header, slot.asked.read(query, header)));
            filled += 1;
        }
        let (filled, empty) = self.slots.split_at_mut(filled);
        empty.iter_mut().for_each(|slot| slot.read = None);
        look(catalog, filled);
    }

    /// Answers the query that was read at `index` of the batch; all else as [`answer`](super::answer()).
    ///
    /// `query` has to be the same message; with another the reply is meaningless.
    pub fn answer(
        &self,
        catalog: &Catalog,
        index: usize,
        query: &[u8],
        transport: Transport,
        out: &mut [u8],
    ) -> Option<usize> {
        let slot = self.slots.get(index)?;
        let (header, read) = slot.read?;
        reply(catalog, query, header, (&slot.asked, read), transport, out)
    }
}

/// Looks at the places of memory that the answers will need.
fn look(catalog: &Catalog, slots: &[Slot]) {
    const AT_ONCE: usize = 64;
    for slots in slots.chunks(AT_ONCE) {
        let mut found = [None; AT_ONCE];
        for (found, slot) in found.iter_mut().zip(slots) {
            if let Some((_, Ok(()))) = slot.read {
                let name = &slot.asked.name;
                *found = zone_of(catalog, name, slot.asked.rtype).map(|zone| (zone, zone.likely_place(name)));
            }
        }
        let touched = found.iter().flatten().fold(0u8, |sum, (zone, place)| sum ^ zone.touch(*place));
        // Without a use of what was read it would not be read.
        black_box(touched);
    }
}
