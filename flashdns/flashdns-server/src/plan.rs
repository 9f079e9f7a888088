//! Decides what a change of a zone writes. Pure: no clock, no store, no randomness; they come in as arguments.
//!
//! A plan is one atomic commit: the compares that make it true only of what was read, the changed rows, the zone
//! with its next serial, the entry in the log, and the answer kept for a repeat. Since every change of a zone
//! compares and writes the zone's own record, two changes of one zone can never both be planned from the same
//! state and both commit: serials are never shared, and rules over several record sets (a CNAME is alone) hold.

use std::collections::{BTreeMap, BTreeSet};

use metadata_store::{Compare, Version, Write};

use crate::metadata::{
    encode, keys,
    records::{ChangeRecord, DoneRecord, RecordSetRecord, SoaRecord, ZoneRecord},
};

/// A log entry larger than this does not fit a value of the store together with its envelope.
const LOG_BYTES_MAX: usize = 900 << 10;

/// Record sets of one owner; there are not nearly as many types in use.
pub const OWNER_SETS_MAX: usize = 1000;

/// What has to be true of a record set for a change to take place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// Anything.
    None,
    /// It is not there.
    Absent,
    /// It is there, at this version unless that is 0.
    Present(Version),
}

/// A wanted change of one record set, validated as far as it can be alone.
#[derive(Debug, Clone)]
pub struct SetChange {
    /// Owner in wire form, lower case.
    pub owner: Vec<u8>,
    /// What it becomes; no data means that it goes.
    pub set: RecordSetRecord,
    /// What has to be true before.
    pub precondition: Precondition,
}

/// Who changes, when and why.
#[derive(Debug, Clone)]
pub struct Author {
    /// The principal, as the log shows it.
    pub actor: String,
    /// In the words of the one who changes.
    pub comment: String,
    /// Now.
    pub at_unix_ms: i64,
}

/// A wanted change of one zone.
#[derive(Debug, Clone)]
pub struct Request {
    /// Changed record sets, each at most once.
    pub changes: Vec<SetChange>,
    /// A new start of authority.
    pub soa: Option<SoaRecord>,
    /// Version that the zone has to be at; 0: any.
    pub expected: Version,
    /// Who, when, why.
    pub author: Author,
    /// The caller's idempotency id with the fingerprint of its request.
    pub repeat: Option<(String, u32)>,
}

/// A row as it was read.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is there.
    pub set: RecordSetRecord,
    /// Since when.
    pub version: Version,
}

/// What a change is decided on: the zone, and every row of every owner that the request touches, by key.
#[derive(Debug, Clone)]
pub struct Basis {
    /// The zone.
    pub zone: ZoneRecord,
    /// Its version.
    pub version: Version,
    /// The zone's own name in wire form, lower case.
    pub apex: Vec<u8>,
    /// Rows by key.
    pub rows: BTreeMap<String, Row>,
}

/// A commit that carries out a request.
#[derive(Debug, Clone)]
pub struct Planned {
    /// What it depends on.
    pub compares: Vec<Compare>,
    /// What it writes.
    pub writes: Vec<Write>,
    /// The zone as it will be.
    pub zone: ZoneRecord,
    /// Record sets that it writes, in the order of the request.
    pub record_sets: Vec<RecordSetRecord>,
}

/// Why a request is not carried out. Nothing was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The zone is at another version than the caller expects.
    #[error("zone {zone}: expected version {}, found {}", expected.0, found.0)]
    ZoneVersion {
        /// Which.
        zone: String,
        /// What the caller expects.
        expected: Version,
        /// What is there.
        found: Version,
    },
    /// The record set is at another version than the caller expects.
    #[error("{name} {rtype}: expected version {}, found {}", expected.0, found.0)]
    SetVersion {
        /// Owner.
        name: String,
        /// Type.
        rtype: String,
        /// What the caller expects.
        expected: Version,
        /// What is there.
        found: Version,
    },
    /// It had to be absent.
    #[error("{name} {rtype}: exists already, at version {}; update it instead", found.0)]
    Exists {
        /// Owner.
        name: String,
        /// Type.
        rtype: String,
        /// What is there.
        found: Version,
    },
    /// It had to be there.
    #[error("{name} {rtype}: does not exist; create it instead")]
    Absent {
        /// Owner.
        name: String,
        /// Type.
        rtype: String,
    },
    /// RFC 2181 §10.1, RFC 6672 §2.4.
    #[error("{name} {alone}: cannot be together with {other} of the same name")]
    NotAlone {
        /// Owner.
        name: String,
        /// `CNAME`.
        alone: String,
        /// What else would be there.
        other: String,
    },
    /// One record at most.
    #[error("{name} {rtype}: found {found} records, accepted is 1")]
    NotSingle {
        /// Owner.
        name: String,
        /// `CNAME` or `DNAME`.
        rtype: String,
        /// How many would be there.
        found: usize,
    },
    /// A change reads everything of the owners that it touches.
    #[error("{name}: {found} types of records, accepted are at most {OWNER_SETS_MAX}")]
    OwnerFull {
        /// Owner.
        name: String,
        /// How many there would be.
        found: usize,
    },
    /// A zone without name servers is no zone.
    #[error("{zone} NS: the name servers of the zone itself cannot be removed; replace them instead")]
    NoNameServers {
        /// Which.
        zone: String,
    },
    /// The log could not tell what happened.
    #[error(
        "the change is {found} bytes as a log entry, accepted are {LOG_BYTES_MAX}; split it into several"
    )]
    TooLarge {
        /// Bytes.
        found: usize,
    },
    /// A record cannot be written.
    #[error("record cannot be stored: {0}")]
    Unencodable(String),
}

/// The serial after `current` (RFC 1982). 0 is skipped: some secondaries take it for "none".
pub fn next_serial(current: u32) -> u32 {
    current.wrapping_add(1).max(1)
}

/// Whether `candidate` is newer than `current` (RFC 1982 §3.2).
pub fn is_newer(candidate: u32, current: u32) -> bool {
    let ahead = candidate.wrapping_sub(current);
    ahead != 0 && ahead < 1 << 31
}

/// The commit for `request` on `basis`; `None` when everything is already as it asks.
///
/// # Errors
/// What in the request cannot be, on this basis.
pub fn plan(basis: &Basis, request: &Request) -> Result<Option<Planned>, Refused> {
    check_zone_version(basis, request.expected)?;
    for change in &request.changes {
        check_precondition(basis, change)?;
    }
    let mut effect = differences(basis, request)?;
    if effect.removed.is_empty() && effect.added.is_empty() {
        return Ok(None);
    }
    check_owners(basis, request)?;
    let zone = successor(basis, request, &effect);
    let entry = ChangeRecord {
        serial: zone.serial,
        at_unix_ms: request.author.at_unix_ms,
        actor: request.author.actor.clone(),
        comment: request.author.comment.clone(),
        removed: std::mem::take(&mut effect.removed),
        added: std::mem::take(&mut effect.added),
        unlisted: false,
    };
    effect.compares.push(compare(keys::zone(&basis.apex), basis.version));
    effect.writes.push(put(keys::zone(&basis.apex), &zone)?);
    effect.writes.push(log_entry(&zone, &entry)?);
    keep_answer(&zone, request, &mut effect)?;
    Ok(Some(Planned {
        compares: effect.compares,
        writes: effect.writes,
        zone,
        record_sets: wanted_sets(request),
    }))
}

/// The log's write for `entry` as the zone's newest change.
///
/// # Errors
/// [`Refused::TooLarge`].
pub fn log_entry(zone: &ZoneRecord, entry: &ChangeRecord) -> Result<Write, Refused> {
    let write = put(keys::change(zone.id, zone.change_seq), entry)?;
    match &write {
        Write::Put { value, .. } if value.len() > LOG_BYTES_MAX => {
            Err(Refused::TooLarge { found: value.len() })
        }
        _ => Ok(write),
    }
}

/// The write of one record.
///
/// # Errors
/// [`Refused::Unencodable`], which no record of ours should cause.
pub fn put<E: metadata_store::Entity>(key: String, record: &E) -> Result<Write, Refused> {
    let value = encode(record).map_err(|error| Refused::Unencodable(error.to_string()))?;
    Ok(Write::Put { key, value })
}

/// A compare of one key.
pub fn compare(key: String, version: Version) -> Compare {
    Compare { key, version }
}

/// The record sets that a request leaves behind, in its order.
fn wanted_sets(request: &Request) -> Vec<RecordSetRecord> {
    request.changes.iter().map(|change| &change.set).filter(|set| !set.data.is_empty()).cloned().collect()
}

fn check_zone_version(basis: &Basis, expected: Version) -> Result<(), Refused> {
    if expected == Version(0) || expected == basis.version {
        return Ok(());
    }
    Err(Refused::ZoneVersion { zone: basis.zone.name.clone(), expected, found: basis.version })
}

fn check_precondition(basis: &Basis, change: &SetChange) -> Result<(), Refused> {
    let (name, rtype) = (change.set.name.clone(), change.set.rtype.clone());
    let found = basis.rows.get(&row_key(basis, change)).map(|row| row.version);
    match (change.precondition, found) {
        (Precondition::Absent, Some(found)) => Err(Refused::Exists { name, rtype, found }),
        (Precondition::Present(_), None) => Err(Refused::Absent { name, rtype }),
        (Precondition::Present(expected), Some(found)) if expected.0 != 0 && expected != found => {
            Err(Refused::SetVersion { name, rtype, expected, found })
        }
        _ => Ok(()),
    }
}

fn row_key(basis: &Basis, change: &SetChange) -> String {
    keys::record_set(basis.zone.root, &change.owner, &change.set.rtype)
}

/// What the request really changes, as log and as writes. What is already as wanted is in neither.
#[derive(Default)]
struct Effect {
    removed: Vec<RecordSetRecord>,
    added: Vec<RecordSetRecord>,
    compares: Vec<Compare>,
    writes: Vec<Write>,
    created: u64,
    deleted: u64,
}

fn differences(basis: &Basis, request: &Request) -> Result<Effect, Refused> {
    let mut effect = Effect::default();
    if let Some(soa) = request.soa.as_ref().filter(|soa| **soa != basis.zone.soa) {
        let serial = next_serial(basis.zone.serial);
        effect.removed.push(soa_set(&basis.zone));
        effect.added.push(soa_set(&ZoneRecord { soa: soa.clone(), serial, ..basis.zone.clone() }));
    }
    for change in &request.changes {
        effect.note(row_key(basis, change), basis, &change.set)?;
    }
    Ok(effect)
}

impl Effect {
    fn note(&mut self, key: String, basis: &Basis, wanted: &RecordSetRecord) -> Result<(), Refused> {
        let before = basis.rows.get(&key);
        let after = (!wanted.data.is_empty()).then_some(wanted);
        if before.map(|row| &row.set) == after {
            return Ok(());
        }
        self.compares.push(compare(key.clone(), before.map_or(Version(0), |row| row.version)));
        self.created += u64::from(before.is_none());
        self.deleted += u64::from(after.is_none());
        self.removed.extend(before.map(|row| row.set.clone()));
        self.added.extend(after.cloned());
        self.writes.push(match after {
            Some(set) => put(key, set)?,
            None => Write::Delete { key },
        });
        Ok(())
    }
}

fn successor(basis: &Basis, request: &Request, effect: &Effect) -> ZoneRecord {
    let zone = basis.zone.clone();
    ZoneRecord {
        serial: next_serial(zone.serial),
        change_seq: zone.change_seq + 1,
        record_sets: (zone.record_sets + effect.created).saturating_sub(effect.deleted),
        soa: request.soa.clone().unwrap_or(zone.soa),
        ..zone
    }
}

fn keep_answer(zone: &ZoneRecord, request: &Request, effect: &mut Effect) -> Result<(), Refused> {
    let Some((id, fingerprint)) = &request.repeat else { return Ok(()) };
    let key = keys::answer(zone.id, id);
    let done = DoneRecord {
        serial: zone.serial,
        at_unix_ms: request.author.at_unix_ms,
        fingerprint: *fingerprint,
        record_sets: wanted_sets(request),
    };
    effect.compares.push(compare(key.clone(), Version(0)));
    effect.writes.push(put(key, &done)?);
    Ok(())
}

/// The start of authority as a record set.
pub fn soa_set(zone: &ZoneRecord) -> RecordSetRecord {
    let SoaRecord { primary, mailbox, refresh_s, retry_s, expire_s, minimum_s, ttl_s } = &zone.soa;
    RecordSetRecord {
        name: zone.name.clone(),
        rtype: "SOA".to_owned(),
        ttl_s: *ttl_s,
        data: vec![format!(
            "{primary} {mailbox} {} {refresh_s} {retry_s} {expire_s} {minimum_s}",
            zone.serial
        )],
    }
}

/// The rules over all record sets of one owner, as it will be after the request.
fn check_owners(basis: &Basis, request: &Request) -> Result<(), Refused> {
    let owners: BTreeSet<&[u8]> = request.changes.iter().map(|change| change.owner.as_slice()).collect();
    for owner in owners {
        let sets = owner_after(basis, request, owner);
        check_owner(&sets.values().copied().collect::<Vec<_>>())?;
        let is_apex = owner == basis.apex;
        if is_apex && !sets.values().any(|set| set.rtype == "NS") {
            return Err(Refused::NoNameServers { zone: basis.zone.name.clone() });
        }
        if is_apex && let Some(cname) = sets.values().find(|set| set.rtype == "CNAME") {
            return Err(not_alone(cname, "SOA"));
        }
    }
    Ok(())
}

fn owner_after<'a>(
    basis: &'a Basis,
    request: &'a Request,
    owner: &[u8],
) -> BTreeMap<String, &'a RecordSetRecord> {
    let prefix = keys::owner(basis.zone.root, owner);
    let rows = basis.rows.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
    let mut sets: BTreeMap<String, &RecordSetRecord> =
        rows.map(|(key, row)| (key.clone(), &row.set)).collect();
    for change in request.changes.iter().filter(|change| change.owner == owner) {
        let key = row_key(basis, change);
        if change.set.data.is_empty() {
            sets.remove(&key);
        } else {
            sets.insert(key, &change.set);
        }
    }
    sets
}

/// The rules over the record sets of one owner: a CNAME is alone (but for DNSSEC's own types), a CNAME or DNAME
/// is one record, and no owner has sets without bound.
///
/// # Errors
/// The first rule that is broken.
pub fn check_owner(sets: &[&RecordSetRecord]) -> Result<(), Refused> {
    if sets.len() > OWNER_SETS_MAX {
        let name = sets.first().map(|set| set.name.clone()).unwrap_or_default();
        return Err(Refused::OwnerFull { name, found: sets.len() });
    }
    for set in sets {
        if matches!(set.rtype.as_str(), "CNAME" | "DNAME") && set.data.len() > 1 {
            let (name, rtype) = (set.name.clone(), set.rtype.clone());
            return Err(Refused::NotSingle { name, rtype, found: set.data.len() });
        }
    }
    let Some(cname) = sets.iter().find(|set| set.rtype == "CNAME") else { return Ok(()) };
    let other = sets.iter().find(|set| !matches!(set.rtype.as_str(), "CNAME" | "RRSIG" | "NSEC"));
    other.map_or(Ok(()), |other| Err(not_alone(cname, &other.rtype)))
}

fn not_alone(set: &RecordSetRecord, other: &str) -> Refused {
    Refused::NotAlone { name: set.name.clone(), alone: set.rtype.clone(), other: other.to_owned() }
}

#[cfg(test)]
mod tests;
