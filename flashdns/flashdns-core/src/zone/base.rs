//! The bulk of a zone: all its nodes in one block of memory, found by one probe of an open-addressing table.
//!
//! It is built once and never changes. The table is at most half full, so a probe ends after a few slots; it is
//! bounded by the table all the same.

use crate::zone::node::Node;

/// Nodes begin at multiples of this, so that a place of 32 bits reaches 32 GiB.
const ALIGN: usize = 8;
/// Octets of a line of the processor's cache.
const LINE: usize = 64;
/// Slots that are looked at for a likely place: nearly always enough, and in one line of the cache or two.
const LIKELY_STEPS: usize = 4;
const EMPTY: u32 = u32::MAX;

#[derive(Debug, Clone, Copy)]
struct Slot {
    hash: u32,
    place: u32,
}

/// The table and the nodes.
#[derive(Debug)]
pub(crate) struct Base {
    slots: Box<[Slot]>,
    arena: Box<[u8]>,
    places: Box<[u32]>,
}

impl Base {
    /// A base of encoded nodes, each with the hash of its name; `None` if they take more than 32 GiB.
    pub(crate) fn build<'a>(nodes: impl Iterator<Item = (u32, &'a [u8])>) -> Option<Base> {
        let mut arena = Vec::new();
        let mut filled = Vec::new();
        for (hash, record) in nodes {
            let place = u32::try_from(arena.len() / ALIGN).ok().filter(|&place| place != EMPTY)?;
            filled.push(Slot { hash, place });
            arena.extend_from_slice(record);
            arena.resize(arena.len().next_multiple_of(ALIGN), 0);
        }
        let places = filled.iter().map(|slot| slot.place).collect();
        Some(Base { slots: table(&filled), arena: arena.into(), places })
    }

    /// The node with this hash that `matches`.
    pub(crate) fn find(&self, hash: u32, matches: impl Fn(Node<'_>) -> bool) -> Option<Node<'_>> {
        let mask = self.slots.len() - 1;
        let first = hash as usize;
        for step in 0..=mask {
            let slot = self.slots.get((first + step) & mask)?;
            if slot.place == EMPTY {
                return None;
            }
            if slot.hash == hash
                && let Some(node) = self.node(slot.place)
                && matches(node)
            {
                return Some(node);
            }
        }
        None
    }

    /// The place of the first node with this hash; not whether it is the one that is looked for.
    pub(crate) fn likely_place(&self, hash: u32) -> Option<u32> {
        let mask = self.slots.len() - 1;
        let slots = (0..LIKELY_STEPS).map_while(|step| self.slots.get((hash as usize + step) & mask));
        let mut filled = slots.take_while(|slot| slot.place != EMPTY);
        filled.find(|slot| slot.hash == hash).map(|slot| slot.place)
    }

    /// Reads from the lines of memory that a usual node at `place` takes.
    pub(crate) fn touch(&self, place: u32) -> u8 {
        let at = place as usize * ALIGN;
        let octet = |at: usize| self.arena.get(at).copied().unwrap_or(0);
        octet(at) ^ octet(at + LINE)
    }

    fn node(&self, place: u32) -> Option<Node<'_>> {
        Node::at(&self.arena, place as usize * ALIGN)
    }

    /// All nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        self.places.iter().filter_map(|&place| self.node(place))
    }
}

fn table(filled: &[Slot]) -> Box<[Slot]> {
    let size = (filled.len() * 2).next_power_of_two().max(2);
    let mut slots = vec![Slot { hash: 0, place: EMPTY }; size].into_boxed_slice();
    for slot in filled {
        let mut at = slot.hash as usize & (size - 1);
        // Half of the slots stay empty.
        while slots[at].place != EMPTY {
            at = (at + 1) & (size - 1);
        }
        slots[at] = *slot;
    }
    slots
}
