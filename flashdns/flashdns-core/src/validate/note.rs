//! What is odd in a zone but breaks no rule: the zone is served as it is, and its owner is told.

use crate::{Name, RrSet, Zone, name::wire_length, rdata::target_offset, rtype, zone::node::Node};

/// Notes of one zone.
pub const NOTES_MAX: usize = 100;

/// Something odd. Its text says what and why it matters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Note {
    /// RFC 1034 §4.2.1: nobody can reach such a name server.
    #[error("{owner} NS: {server} is inside the zone, but has no A or AAAA record; add one")]
    NoAddress {
        /// The apex, or the delegation.
        owner: Name,
        /// The name server.
        server: Name,
    },
    /// RFC 2181 §10.3.
    #[error("{owner} {rtype}: {target} is an alias; name the host that it stands for")]
    Alias {
        /// Owner of the set.
        owner: Name,
        /// `NS`, `MX` or `SRV`.
        rtype: &'static str,
        /// The alias.
        target: Name,
    },
    /// Only the servers that it is delegated to answer for it.
    #[error(
        "{owner}: is below the delegation of {cut} and no address of its name servers; it is never answered"
    )]
    Hidden {
        /// The name.
        owner: Name,
        /// Where the zone ends.
        cut: Name,
    },
}

/// The zone's own name servers that are inside it and have no address there. Costs as much as it has servers.
pub fn lame_name_servers(zone: &Zone) -> Vec<Name> {
    let servers = zone.rrset(zone.name(), rtype::NS);
    servers.iter().flat_map(targets).filter(|server| is_lame(zone, server)).collect()
}

fn is_lame(zone: &Zone, server: &Name) -> bool {
    // Below a delegation the address is not this zone's to know.
    server.is_within(zone.name()) && cut_above(zone, server).is_none() && !has_address(zone, server)
}

/// Whether there is an address of the name, or of the wildcard that stands for it.
fn has_address(zone: &Zone, name: &Name) -> bool {
    let has = |node: Node<'_>| node.set(rtype::A).or_else(|| node.set(rtype::AAAA)).is_some();
    if let Some(node) = zone.node(name.as_wire()) {
        return has(node);
    }
    let ancestors =
        std::iter::successors(name.parent(), Name::parent).take_while(|above| above.is_within(zone.name()));
    let encloser = ancestors.into_iter().find(|above| zone.node(above.as_wire()).is_some());
    let wildcard = encloser.map(|encloser| [b"\x01*", encloser.as_wire()].concat());
    wildcard.and_then(|wildcard| zone.node(&wildcard)).is_some_and(has)
}

/// The names that the data of `set` refers clients to.
fn targets(set: &RrSet) -> Vec<Name> {
    let Some(offset) = target_offset(set.rtype) else { return Vec::new() };
    let target = |data: &[u8]| {
        let name = data.get(offset..)?;
        Name::from_wire(name.get(..wire_length(name)?)?).ok()
    };
    set.data.iter().filter_map(|data| target(data)).collect()
}

/// The delegation that is above `name`, or its own.
fn cut_above(zone: &Zone, name: &Name) -> Option<Name> {
    let mut cut = None;
    let mut at = Some(name.clone());
    while let Some(here) = at.filter(|here| here != zone.name() && here.is_within(zone.name())) {
        if zone.rrset(&here, rtype::NS).is_some() {
            cut = Some(here.clone());
        }
        at = here.parent();
    }
    cut
}

/// What is odd in `zone`, at most [`NOTES_MAX`]. Costs as much as the zone is large.
pub fn notes(zone: &Zone) -> Vec<Note> {
    let mut sets: Vec<RrSet> = zone.rrsets().collect();
    sets.sort_by_cached_key(|set| (set.owner.clone(), set.rtype));
    let mut notes: Vec<Note> = sets.iter().flat_map(|set| of_set(zone, set)).take(NOTES_MAX).collect();
    let room = NOTES_MAX - notes.len();
    notes.extend(hidden(zone, &sets).into_iter().take(room));
    notes
}

fn of_set(zone: &Zone, set: &RrSet) -> Vec<Note> {
    let rtype = match set.rtype {
        rtype::NS => "NS",
        rtype::MX => "MX",
        rtype::SRV => "SRV",
        _ => return Vec::new(),
    };
    let owner = || set.owner.clone();
    let note = |target: Name| {
        if zone.rrset(&target, rtype::CNAME).is_some() {
            return Some(Note::Alias { owner: owner(), rtype, target });
        }
        let needs_address =
            set.rtype == rtype::NS && (set.owner == *zone.name() || target.is_within(&set.owner));
        let has_none = || !has_address(zone, &target);
        let is_ours = || cut_above(zone, &target).is_none_or(|cut| cut == set.owner);
        (needs_address && target.is_within(zone.name()) && has_none() && is_ours())
            .then(|| Note::NoAddress { owner: owner(), server: target })
    };
    targets(set).into_iter().filter_map(note).collect()
}

/// Names below a delegation that are no glue of any.
fn hidden(zone: &Zone, sets: &[RrSet]) -> Vec<Note> {
    let servers: std::collections::HashSet<Name> =
        sets.iter().filter(|set| set.rtype == rtype::NS).flat_map(targets).collect();
    let mut notes: Vec<Note> = Vec::new();
    for set in sets {
        let Some(cut) = cut_above(zone, &set.owner) else { continue };
        let is_glue = matches!(set.rtype, rtype::A | rtype::AAAA) && servers.contains(&set.owner);
        let is_cut =
            set.owner == cut && matches!(set.rtype, rtype::NS | rtype::DS | rtype::RRSIG | rtype::NSEC);
        let is_told = matches!(notes.last(), Some(Note::Hidden { owner, .. }) if *owner == set.owner);
        if !is_glue && !is_cut && !is_told {
            notes.push(Note::Hidden { owner: set.owner.clone(), cut });
        }
    }
    notes
}
