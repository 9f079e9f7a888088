//! A name of a zone with everything that is there: one contiguous record, so that an answer touches one place in
//! memory.
//!
//! Encoded: flags `u8`, length of the name `u8`, sets `u16`, children `u32`, length of it all `u32`; for each set,
//! by type, its type `u16`, two zero octets and its place `u32`; the name in wire form in its own case; the sets
//! as [`Blob`]s. Integers little-endian. A name without sets that has names below it (an empty non-terminal, RFC
//! 4592 §2.2.2) is a node as well.

use crate::{rtype, zone::blob::Blob};

const HEAD: usize = 12;
const ENTRY: usize = 8;

/// A delegation: name servers below the apex.
const CUT: u8 = 1;
/// An alias.
const ALIAS: u8 = 2;
/// A redirection of everything below.
const DNAME: u8 = 4;
/// `*` exists right below.
const WILDCARD: u8 = 8;
/// The name does not exist: hides one in the base.
const GONE: u8 = 16;

/// One name of a zone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node<'a>(&'a [u8]);

impl<'a> Node<'a> {
    /// The node that `arena` has at `at`.
    pub(crate) fn at(arena: &'a [u8], at: usize) -> Option<Node<'a>> {
        let rest = arena.get(at..)?;
        let length = u32_at(rest, 8)? as usize;
        rest.get(..length).map(Node)
    }

    /// A node that was encoded alone.
    pub(crate) fn whole(record: &'a [u8]) -> Node<'a> {
        Node(record)
    }

    /// The encoded form.
    pub(crate) fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    fn flags(self) -> u8 {
        self.0.first().copied().unwrap_or(GONE)
    }

    /// Whether this is a delegation.
    pub(crate) fn is_cut(self) -> bool {
        self.flags() & CUT != 0
    }

    /// Whether this is an alias.
    pub(crate) fn is_alias(self) -> bool {
        self.flags() & ALIAS != 0
    }

    /// Whether everything below is redirected.
    pub(crate) fn is_dname(self) -> bool {
        self.flags() & DNAME != 0
    }

    /// Whether `*` exists right below.
    pub(crate) fn has_wildcard(self) -> bool {
        self.flags() & WILDCARD != 0
    }

    /// Whether the name does not exist.
    pub(crate) fn is_gone(self) -> bool {
        self.flags() & GONE != 0
    }

    fn sets(self) -> usize {
        u16_at(self.0, 2).map_or(0, usize::from)
    }

    /// How many names are right below.
    pub(crate) fn children(self) -> u32 {
        u32_at(self.0, 4).unwrap_or(0)
    }

    /// Wire form of the name in its own case.
    pub(crate) fn name(self) -> &'a [u8] {
        let from = HEAD + self.sets() * ENTRY;
        let length = self.0.get(1).map_or(0, |length| usize::from(*length));
        self.0.get(from..from + length).unwrap_or_default()
    }

    /// Whether it is called so; `lower` in lower case.
    pub(crate) fn is_called(self, lower: &[u8]) -> bool {
        let name = self.name();
        name == lower || name.eq_ignore_ascii_case(lower)
    }

    /// Whether it is the wildcard right below `lower`.
    pub(crate) fn is_wildcard_of(self, lower: &[u8]) -> bool {
        self.name().strip_prefix(b"\x01*").is_some_and(|rest| rest.eq_ignore_ascii_case(lower))
    }

    fn entry(self, index: usize) -> Option<(u16, usize)> {
        let from = HEAD + index * ENTRY;
        Some((u16_at(self.0, from)?, u32_at(self.0, from + 4)? as usize))
    }

    /// The set of a type.
    pub(crate) fn set(self, rtype: u16) -> Option<Blob<'a>> {
        let (mut low, mut high) = (0, self.sets());
        while low < high {
            let middle = low.midpoint(high);
            let (found, at) = self.entry(middle)?;
            match found.cmp(&rtype) {
                std::cmp::Ordering::Equal => return Blob::read(self.0.get(at..)?),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// All sets by type.
    pub(crate) fn all_sets(self) -> impl Iterator<Item = (u16, Blob<'a>)> {
        (0..self.sets()).filter_map(move |index| {
            let (rtype, at) = self.entry(index)?;
            Some((rtype, Blob::read(self.0.get(at..)?)?))
        })
    }

    /// The encoded form of all sets by type.
    pub(crate) fn encoded_sets(self) -> Vec<(u16, Vec<u8>)> {
        let encoded = |index| {
            let (rtype, at) = self.entry(index)?;
            let rest = self.0.get(at..)?;
            Some((rtype, rest.get(..Blob::read(rest)?.encoded_length())?.to_vec()))
        };
        (0..self.sets()).filter_map(encoded).collect()
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|number| u16::from_le_bytes(*number))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|number| u32::from_le_bytes(*number))
}

/// What a node is made of.
#[derive(Debug, Clone, Default)]
pub(crate) struct Content {
    /// Wire form in the case to keep.
    pub(crate) name: Box<[u8]>,
    /// Encoded sets by type.
    pub(crate) sets: Vec<(u16, Vec<u8>)>,
    /// Names right below.
    pub(crate) children: u32,
    /// Whether one of them is `*`.
    pub(crate) wildcard: bool,
}

impl Content {
    /// What is in a node.
    pub(crate) fn of(node: Node<'_>) -> Content {
        Content {
            name: node.name().into(),
            sets: node.encoded_sets(),
            children: node.children(),
            wildcard: node.has_wildcard(),
        }
    }

    /// Whether the name exists, below the apex.
    pub(crate) fn exists(&self) -> bool {
        !self.sets.is_empty() || self.children > 0
    }

    fn flags(&self, apex: bool) -> u8 {
        let of = |(rtype, _): &(u16, Vec<u8>)| match *rtype {
            rtype::NS if !apex => CUT,
            rtype::CNAME => ALIAS,
            rtype::DNAME => DNAME,
            _ => 0,
        };
        let gone = if apex || self.exists() { 0 } else { GONE };
        let wildcard = if self.wildcard { WILDCARD } else { 0 };
        self.sets.iter().fold(gone | wildcard, |flags, set| flags | of(set))
    }

    /// The node; `None` if a length does not fit its field.
    pub(crate) fn encode(&self, apex: bool) -> Option<Vec<u8>> {
        let names_at = HEAD + self.sets.len() * ENTRY;
        let length = names_at + self.name.len() + self.sets.iter().map(|(_, set)| set.len()).sum::<usize>();
        let mut record = Vec::with_capacity(length);
        record.extend_from_slice(&[self.flags(apex), u8::try_from(self.name.len()).ok()?]);
        record.extend_from_slice(&u16::try_from(self.sets.len()).ok()?.to_le_bytes());
        record.extend_from_slice(&self.children.to_le_bytes());
        record.extend_from_slice(&u32::try_from(length).ok()?.to_le_bytes());
        let mut at = names_at + self.name.len();
        for (rtype, set) in &self.sets {
            record.extend_from_slice(&rtype.to_le_bytes());
            record.extend_from_slice(&[0, 0]);
            record.extend_from_slice(&u32::try_from(at).ok()?.to_le_bytes());
            at += set.len();
        }
        record.extend_from_slice(&self.name);
        for (_, set) in &self.sets {
            record.extend_from_slice(set);
        }
        Some(record)
    }
}
