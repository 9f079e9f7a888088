//! The rules of zones: what one record set has to be, what all sets of a name have to be, and what a zone has to
//! be, each told by name with what was found and what would be accepted.
//!
//! [`record_set`] and [`owner`] are for a change, which knows what it touches; [`zone`] is for a whole zone, as
//! an import brings it. The data plane does not depend on any of this: it answers sanely from every zone that
//! [`Zone::compile`](crate::Zone::compile) takes. What is odd but works is no error; [`notes`] and [`lame_name_servers`] tell it.

mod note;

use std::collections::{BTreeMap, HashSet};

pub use self::note::{NOTES_MAX, Note, lame_name_servers, notes};
use crate::{
    Name, RrSet,
    present::{data_is_valid, data_text, type_name},
    rdata, rtype,
};

/// The longest time to live (RFC 2181 §8).
pub const TTL_MAX: u32 = i32::MAX as u32;

/// Records of one set.
pub const RECORDS_MAX: usize = 4000;

/// Why record sets are no zone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// The owner is of another zone.
    #[error("{owner}: is not in zone {zone}; accepted are names at or below it")]
    OutOfZone {
        /// Owner of the set.
        owner: Name,
        /// The zone.
        zone: Name,
    },
    /// The type is only a question or a part of packets.
    #[error("{owner} {rtype}: this type cannot be in a zone; accepted are types of records")]
    NotData {
        /// Owner of the set.
        owner: Name,
        /// The type's name.
        rtype: String,
    },
    /// RFC 2181 §8.
    #[error("{owner} {rtype}: TTL {found}; accepted is 0 to {TTL_MAX} seconds")]
    Ttl {
        /// Owner of the set.
        owner: Name,
        /// The type's name.
        rtype: String,
        /// The TTL.
        found: u32,
    },
    /// A set is never empty, and one of some types is a single record (RFC 2181 §10.1, RFC 6672 §2.4).
    #[error("{owner} {rtype}: {found} records; accepted is 1 to {max}")]
    Count {
        /// Owner of the set.
        owner: Name,
        /// The type's name.
        rtype: String,
        /// How many there are.
        found: usize,
        /// How many there may be.
        max: usize,
    },
    /// The same record twice (RFC 2181 §5).
    #[error("{owner} {rtype}: {data} is there twice; accepted is each record once")]
    Repeated {
        /// Owner of the set.
        owner: Name,
        /// The type's name.
        rtype: String,
        /// The data in presentation form.
        data: String,
    },
    /// The octets are not the data of the type.
    #[error("{owner} {rtype}: {data} is not data of this type")]
    Malformed {
        /// Owner of the set.
        owner: Name,
        /// The type's name.
        rtype: String,
        /// The data in the form for unknown types.
        data: String,
    },
    /// A record of one name only is at another.
    #[error("{owner} SOA: accepted is the zone's own name only, {zone}")]
    SoaBelowApex {
        /// Owner of the set.
        owner: Name,
        /// The zone.
        zone: Name,
    },
    /// RFC 4592 §4.2 leaves open what it would mean, RFC 6672 §3.3 advises against it.
    #[error(
        "{owner} {rtype}: a wildcard cannot have this type; accepted are names without '*' as the first label"
    )]
    Wildcard {
        /// Owner of the set.
        owner: Name,
        /// The type's name.
        rtype: String,
    },
    /// RFC 1034 §3.6.2, RFC 6672 §2.4.
    #[error("{owner} CNAME: cannot be together with {other} of the same name; accepted is either")]
    NotAlone {
        /// Owner of the sets.
        owner: Name,
        /// The other type's name.
        other: String,
    },
    /// Two sets of one owner and type.
    #[error("{owner} {rtype}: two record sets; accepted is one")]
    TwoSets {
        /// Owner of the sets.
        owner: Name,
        /// The type's name.
        rtype: String,
    },
    /// A zone without one of these is none (RFC 1035 §5.2).
    #[error("{zone}: no {rtype} record of the zone's own name; accepted is at least one")]
    Missing {
        /// The zone.
        zone: Name,
        /// `SOA` or `NS`.
        rtype: &'static str,
    },
    /// RFC 6672 §2.4.
    #[error("{owner} {rtype}: is below the DNAME of {dname}; accepted is either the DNAME or names below it")]
    BelowDname {
        /// Owner of the set.
        owner: Name,
        /// The type's name.
        rtype: String,
        /// Owner of the DNAME.
        dname: Name,
    },
}

/// Whether a set can be in the zone called `zone`, whatever else is there.
///
/// # Errors
/// The first rule that it breaks.
pub fn record_set(zone: &Name, set: &RrSet) -> Result<(), RuleError> {
    let (owner, rtype) = (set.owner.clone(), || type_name(set.rtype));
    if !set.owner.is_within(zone) {
        return Err(RuleError::OutOfZone { owner, zone: zone.clone() });
    }
    if !rtype::is_data(set.rtype) {
        return Err(RuleError::NotData { owner, rtype: rtype() });
    }
    if set.ttl > TTL_MAX {
        return Err(RuleError::Ttl { owner, rtype: rtype(), found: set.ttl });
    }
    if set.rtype == rtype::SOA && set.owner != *zone {
        return Err(RuleError::SoaBelowApex { owner, zone: zone.clone() });
    }
    if set.owner.is_wildcard() && matches!(set.rtype, rtype::NS | rtype::DNAME) {
        return Err(RuleError::Wildcard { owner, rtype: rtype() });
    }
    count(set)?;
    data(set)
}

fn count(set: &RrSet) -> Result<(), RuleError> {
    let max = match set.rtype {
        rtype::SOA | rtype::CNAME | rtype::DNAME => 1,
        _ => RECORDS_MAX,
    };
    let found = set.data.len();
    if (1..=max).contains(&found) {
        return Ok(());
    }
    Err(RuleError::Count { owner: set.owner.clone(), rtype: type_name(set.rtype), found, max })
}

fn data(set: &RrSet) -> Result<(), RuleError> {
    let mut seen = HashSet::with_capacity(set.data.len());
    for data in &set.data {
        let (owner, rtype) = (set.owner.clone(), type_name(set.rtype));
        let text = || data_text(set.rtype, data);
        if !data_is_valid(set.rtype, data) {
            return Err(RuleError::Malformed { owner, rtype, data: text() });
        }
        if !seen.insert(rdata::canonical(set.rtype, data)) {
            return Err(RuleError::Repeated { owner, rtype, data: text() });
        }
    }
    Ok(())
}

/// Whether sets of one owner can be together: each type once, and a CNAME alone but for DNSSEC's own types.
///
/// # Errors
/// The first rule that they break.
pub fn owner<'a>(sets: impl IntoIterator<Item = &'a RrSet>) -> Result<(), RuleError> {
    let mut by_type = BTreeMap::new();
    for set in sets {
        if by_type.insert(set.rtype, set).is_some() {
            return Err(RuleError::TwoSets { owner: set.owner.clone(), rtype: type_name(set.rtype) });
        }
    }
    let alone = by_type.get(&rtype::CNAME);
    let other = by_type.keys().find(|rtype| !matches!(**rtype, rtype::CNAME | rtype::RRSIG | rtype::NSEC));
    match (alone, other) {
        (Some(cname), Some(other)) => {
            Err(RuleError::NotAlone { owner: cname.owner.clone(), other: type_name(*other) })
        }
        _ => Ok(()),
    }
}

/// Whether `sets` are the zone called `zone`: each of them for itself, those of each owner, a start of authority
/// and name servers at the apex, nothing below a DNAME.
///
/// # Errors
/// The first rule that they break, in canonical order of owners.
pub fn zone(zone: &Name, sets: &[RrSet]) -> Result<(), RuleError> {
    let mut owners: BTreeMap<&Name, Vec<&RrSet>> = BTreeMap::new();
    for set in sets {
        owners.entry(&set.owner).or_default().push(set);
    }
    let at_apex = owners.get(zone).map(Vec::as_slice).unwrap_or_default();
    for (rtype, name) in [(rtype::SOA, "SOA"), (rtype::NS, "NS")] {
        if !at_apex.iter().any(|set| set.rtype == rtype) {
            return Err(RuleError::Missing { zone: zone.clone(), rtype: name });
        }
    }
    // In canonical order a name comes right after those above it, so the last DNAME is the one to be below.
    let mut dname = None;
    for (name, sets) in &owners {
        sets.iter().try_for_each(|set| record_set(zone, set))?;
        owner(sets.iter().copied())?;
        if let Some(above) = dname
            && name.is_within(above)
        {
            return Err(below(sets, above));
        }
        if sets.iter().any(|set| set.rtype == rtype::DNAME) {
            dname = Some(*name);
        }
    }
    Ok(())
}

fn below(sets: &[&RrSet], dname: &Name) -> RuleError {
    let (owner, rtype) = sets.first().map_or_else(|| (Name::root(), 0), |set| (set.owner.clone(), set.rtype));
    RuleError::BelowDname { owner, rtype: type_name(rtype), dname: dname.clone() }
}
