//! A zone compiled for answering: immutable, and cheap to change by making the next one.
//!
//! The bulk is the [`Base`]; names that changed since it was built are in an overlay that is looked into first.
//! [`Zone::with_changes`] makes a zone that shares the base and all of the overlay that it does not touch;
//! [`Zone::merged`] folds the overlay into a new base, which whoever owns the zone does in the background when
//! [`Zone::overlay_len`] has grown.
//!
//! Only what the data plane itself relies on is checked here. Whether a zone makes sense is
//! [`validate`](crate::validate)'s to say.

mod base;
pub(crate) mod blob;
mod edit;
pub(crate) mod node;

use std::sync::Arc;

use crate::{
    Change, Name, RrSet,
    hash::Seed,
    labels::Labels,
    rtype,
    shards::{Entry, Shards},
};
use base::Base;
use blob::Blob;
use edit::{Edit, Edited};
use node::Node;

/// Why record sets are no zone. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneError {
    /// The owner is not at or below the zone's name.
    #[error("{owner} is not in zone {zone}")]
    OutOfZone {
        /// Owner of the record set.
        owner: Name,
        /// The zone.
        zone: Name,
    },
    /// The type is only a question or a pseudo-record.
    #[error("{owner}: type {rtype} cannot be in a zone")]
    NotData {
        /// Owner of the record set.
        owner: Name,
        /// Type number.
        rtype: u16,
    },
    /// No records in the set.
    #[error("{owner}: record set of type {rtype} is empty")]
    Empty {
        /// Owner of the record set.
        owner: Name,
        /// Type number.
        rtype: u16,
    },
    /// The set is there twice.
    #[error("{owner}: two record sets of type {rtype}")]
    Duplicate {
        /// Owner of the record set.
        owner: Name,
        /// Type number.
        rtype: u16,
    },
    /// The data is none of its type.
    #[error("{owner}: malformed data of type {rtype}")]
    Malformed {
        /// Owner of the record set.
        owner: Name,
        /// Type number.
        rtype: u16,
    },
    /// The set does not fit a message.
    #[error("{owner}: record set of type {rtype} is larger than a message")]
    TooLarge {
        /// Owner of the record set.
        owner: Name,
        /// Type number.
        rtype: u16,
    },
    /// What is at one name exceeds 4 GiB or 65,535 types.
    #[error("{owner}: too much data at one name")]
    NameTooLarge {
        /// The name.
        owner: Name,
    },
    /// A start of authority below the apex, or of more than one record.
    #[error("{owner}: a zone has one SOA record, at its apex")]
    Soa {
        /// Owner of the record set.
        owner: Name,
    },
    /// No start of authority.
    #[error("{zone}: no SOA record at the apex")]
    NoSoa {
        /// The zone.
        zone: Name,
    },
    /// The zone exceeds 32 GiB.
    #[error("{zone}: zone larger than 32 GiB")]
    ZoneTooLarge {
        /// The zone.
        zone: Name,
    },
}

/// A name that changed since the base was built.
#[derive(Debug, Clone)]
struct Overlaid {
    hash: u32,
    record: Arc<[u8]>,
}

impl Entry for Overlaid {
    fn hash(&self) -> u32 {
        self.hash
    }

    fn is_same(&self, other: &Overlaid) -> bool {
        self.node().name().eq_ignore_ascii_case(other.node().name())
    }
}

impl Overlaid {
    fn node(&self) -> Node<'_> {
        Node::whole(&self.record)
    }
}

/// A compiled zone.
#[derive(Debug, Clone)]
pub struct Zone {
    name: Name,
    depth: usize,
    base: Arc<Base>,
    overlay: Shards<Overlaid>,
    /// The apex again, since most answers need it.
    apex: Arc<[u8]>,
    /// The encoded SOA with the TTL of negative answers.
    negative: Arc<[u8]>,
    /// Depths at which there may be a cut or a DNAME, one bit each.
    special: u128,
    sets: usize,
}

impl Zone {
    /// Compiles a zone.
    ///
    /// # Errors
    /// [`ZoneError`], naming the first set that cannot be served.
    pub fn compile(name: Name, sets: impl IntoIterator<Item = RrSet>) -> Result<Zone, ZoneError> {
        let mut edit = Edit::new(&name, None);
        for set in sets {
            edit.add(&set)?;
        }
        let sets = edit.sets_added.unsigned_abs();
        let edited = edit.finish()?;
        let seed = Seed::get();
        let nodes = edited.iter().filter(|edited| !edited.node().is_gone());
        let base = Base::build(nodes.map(|edited| (seed.name(&edited.name), &*edited.record)))
            .ok_or_else(|| ZoneError::ZoneTooLarge { zone: name.clone() })?;
        let mut zone = Zone {
            depth: name.depth(),
            base: Arc::new(base),
            overlay: Shards::default(),
            apex: Arc::default(),
            negative: Arc::default(),
            special: 0,
            sets,
            name,
        };
        zone.note(&edited)?;
        Ok(zone)
    }

    /// The zone after `changes`, in their order. Costs what they touch.
    ///
    /// # Errors
    /// [`ZoneError`], naming the first set that cannot be served.
    pub fn with_changes(&self, changes: &[Change]) -> Result<Zone, ZoneError> {
        let mut edit = Edit::new(&self.name, Some(self));
        for change in changes {
            edit.apply(change)?;
        }
        let mut zone = self.clone();
        zone.sets = self.sets.saturating_add_signed(edit.sets_added);
        let edited = edit.finish()?;
        zone.note(&edited)?;
        let seed = Seed::get();
        for Edited { name, record } in edited {
            zone.overlay(Overlaid { hash: seed.name(&name), record: record.into() }, &name);
        }
        Ok(zone)
    }

    fn overlay(&mut self, node: Overlaid, name: &[u8]) {
        let in_base = || self.base.find(node.hash, |other| other.is_called(name)).is_some();
        if node.node().is_gone() && !in_base() {
            self.overlay.remove(node.hash, |other| other.node().is_called(name));
        } else {
            self.overlay.insert(node);
        }
    }

    /// Takes over what is kept of the edited nodes beside the nodes themselves.
    fn note(&mut self, edited: &[Edited]) -> Result<(), ZoneError> {
        for edited in edited {
            let node = edited.node();
            let depth = Name::from_wire(&edited.name).map_or(0, |name| name.depth());
            self.special |= special_bit(node, depth);
            if node.is_called(self.name.to_lowercase().as_wire()) {
                self.negative = negative(&self.name, node)?;
                self.apex = node.as_bytes().into();
            }
        }
        Ok(())
    }

    /// The same zone with everything in the base. Costs as much as the zone is large.
    #[must_use]
    pub fn merged(&self) -> Zone {
        let seed = Seed::get();
        let nodes = self.nodes().map(|node| (seed.name(&node.name().to_ascii_lowercase()), node.as_bytes()));
        // Too large for one base: the overlay stays.
        let Some(base) = Base::build(nodes) else { return self.clone() };
        let depth_of = |node: Node<'_>| Name::from_wire(node.name()).map_or(0, |name| name.depth());
        let special = self.nodes().fold(0, |bits, node| bits | special_bit(node, depth_of(node)));
        Zone { base: Arc::new(base), overlay: Shards::default(), special, ..self.clone() }
    }

    /// Names that changed since the base was built.
    pub fn overlay_len(&self) -> usize {
        self.overlay.len()
    }

    /// The zone's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The serial of its start of authority.
    pub fn serial(&self) -> u32 {
        self.rrset(&self.name, rtype::SOA).and_then(|soa| soa.serial()).unwrap_or(0)
    }

    /// Number of record sets.
    pub fn rrset_count(&self) -> usize {
        self.sets
    }

    /// One record set as it is in the zone: no wildcard, no alias, no delegation is followed.
    pub fn rrset(&self, owner: &Name, rtype: u16) -> Option<RrSet> {
        let node = self.node(owner.as_wire())?;
        node.set(rtype).map(|blob| unpack(node, rtype, blob))
    }

    /// All record sets, in no particular order.
    pub fn rrsets(&self) -> impl Iterator<Item = RrSet> {
        self.nodes().flat_map(|node| node.all_sets().map(move |(rtype, blob)| unpack(node, rtype, blob)))
    }

    fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        let hidden = |node: &Node<'_>| self.overlay.len() > 0 && self.is_overlaid(*node);
        let old = self.base.nodes().filter(move |node| !hidden(node));
        old.chain(self.overlay.iter().map(Overlaid::node).filter(|node| !node.is_gone()))
    }

    fn is_overlaid(&self, node: Node<'_>) -> bool {
        let lower = node.name().to_ascii_lowercase();
        self.overlay.find(Seed::get().name(&lower), |other| other.node().is_called(&lower)).is_some()
    }

    /// The node of a name in wire form.
    pub(crate) fn node(&self, name: &[u8]) -> Option<Node<'_>> {
        let lower = name.to_ascii_lowercase();
        self.find_by(Seed::get().name(&lower), |node| node.is_called(&lower))
    }

    /// The node of the ancestor of `name` at `depth`.
    pub(crate) fn find(&self, name: &Labels, depth: usize) -> Option<Node<'_>> {
        if depth == self.depth {
            return Some(self.apex());
        }
        let lower = name.suffix(depth);
        self.find_by(name.hash_at(depth), |node| node.is_called(lower))
    }

    /// The wildcard that stands for `name`, which does not exist (RFC 4592 §3.3).
    pub(crate) fn wildcard_for(&self, name: &Labels) -> Option<Node<'_>> {
        let depth = self.closest_encloser(name);
        self.find(name, depth).filter(|encloser| encloser.has_wildcard())?;
        let lower = name.suffix(depth);
        self.find_by(Seed::get().extend(name.hash_at(depth), b"*"), |node| node.is_wildcard_of(lower))
    }

    /// Depth of the deepest ancestor that exists. Where a name exists, so do all of its ancestors.
    fn closest_encloser(&self, name: &Labels) -> usize {
        let (mut exists, mut missing) = (self.depth, name.depth());
        while missing - exists > 1 {
            let middle = exists.midpoint(missing);
            match self.find(name, middle) {
                Some(_) => exists = middle,
                None => missing = middle,
            }
        }
        exists
    }

    fn find_by(&self, hash: u32, matches: impl Fn(Node<'_>) -> bool) -> Option<Node<'_>> {
        if self.overlay.len() > 0
            && let Some(found) = self.overlay.find(hash, |other| matches(other.node()))
        {
            return Some(found.node()).filter(|node| !node.is_gone());
        }
        self.base.find(hash, matches)
    }

    /// Where in the base the node of `name` probably is.
    pub(crate) fn likely_place(&self, name: &Labels) -> Option<u32> {
        self.base.likely_place(name.hash_at(name.depth()))
    }

    /// Reads a little at a place of the base.
    pub(crate) fn touch(&self, place: Option<u32>) -> u8 {
        place.map_or(0, |place| self.base.touch(place))
    }

    /// The node of the zone's own name.
    pub(crate) fn apex(&self) -> Node<'_> {
        Node::whole(&self.apex)
    }

    /// The SOA as negative answers carry it (RFC 2308 §3).
    pub(crate) fn negative(&self) -> Option<Blob<'_>> {
        Blob::read(&self.negative)
    }

    /// Labels of the zone's name.
    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// Whether there may be a cut or a DNAME at `depth`.
    pub(crate) fn is_special(&self, depth: usize) -> bool {
        self.special & bit(depth) != 0
    }
}

/// One bit for each depth.
pub(crate) fn bit(depth: usize) -> u128 {
    u32::try_from(depth).ok().and_then(|depth| 1u128.checked_shl(depth)).unwrap_or(0)
}

fn special_bit(node: Node<'_>, depth: usize) -> u128 {
    if node.is_cut() || node.is_dname() { bit(depth) } else { 0 }
}

fn unpack(node: Node<'_>, rtype: u16, blob: Blob<'_>) -> RrSet {
    let owner = Name::from_wire(node.name()).unwrap_or_else(|_malformed| Name::root());
    RrSet { owner, rtype, ttl: blob.ttl(), data: blob.unpack(rtype, node.name()) }
}

fn negative(zone: &Name, apex: Node<'_>) -> Result<Arc<[u8]>, ZoneError> {
    let missing = || ZoneError::NoSoa { zone: zone.clone() };
    let set = apex.set(rtype::SOA).map(|blob| unpack(apex, rtype::SOA, blob)).ok_or_else(missing)?;
    let minimum = set.data.first().and_then(|data| data.last_chunk::<4>()).ok_or_else(missing)?;
    let ttl = set.ttl.min(u32::from_be_bytes(*minimum));
    blob::encode(&set, apex.name(), ttl).map(Arc::from)
}
