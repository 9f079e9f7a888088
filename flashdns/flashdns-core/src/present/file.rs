//! Whole zones as zone files (RFC 1035 §5).
//!
//! A file comes from a tenant: its size and its number of records are bounded, it cannot name other files
//! (`$INCLUDE`) or multiply itself (`$GENERATE`), and all of it is inside the zone and of class IN. Equal records
//! are one record (RFC 2181 §5), and of different TTLs in a record set the lowest holds (RFC 2181 §5.2).

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use domain::{
    base::{ToName as _, iana::Class, rdata::ComposeRecordData as _},
    zonefile::inplace::{Entry, ScannedRecord, Zonefile},
};

use super::{
    data::{accepted, check, data_text, domain_name, without_place},
    tokens::check_closed,
    type_name,
};
use crate::{
    Name, RrSet, Zone,
    name::wire_length,
    rdata::{self, Shape},
    rtype,
};

/// Octets of a zone file.
pub const FILE_BYTES_MAX: usize = 64 << 20;
/// Records of a zone file.
pub const FILE_RECORDS_MAX: usize = 2_000_000;

/// Why a text is no zone file. Lines count from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It is too large to be read.
    #[error("the zone file has {found} bytes; accepted are at most {FILE_BYTES_MAX}")]
    TooLarge {
        /// Bytes.
        found: usize,
    },
    /// It has too many records.
    #[error("line {line}: more than {FILE_RECORDS_MAX} records; that many are accepted")]
    TooMany {
        /// Where.
        line: usize,
    },
    /// It cannot be read on from here.
    #[error("line {line}: {reason}{hint}")]
    Syntax {
        /// Where.
        line: usize,
        /// What is wrong.
        reason: String,
        /// What would be accepted, where the reason does not tell.
        hint: &'static str,
    },
    /// The record is of another zone.
    #[error("line {line}: {owner} is not in zone {zone}; accepted are names at or below it")]
    OutOfZone {
        /// Where.
        line: usize,
        /// The record's owner.
        owner: Name,
        /// The zone.
        zone: Name,
    },
    /// Such a record cannot be in a zone.
    #[error("line {line}: type {rtype} cannot be in a zone; it is only a question or part of a packet")]
    NotData {
        /// Where.
        line: usize,
        /// The type's name.
        rtype: String,
    },
    /// The data is not of its type.
    #[error("line {line}: {owner} {rtype}: {reason}; accepted is {accepted}")]
    Data {
        /// Where.
        line: usize,
        /// The record's owner.
        owner: Name,
        /// The type's name.
        rtype: String,
        /// What is wrong with it.
        reason: &'static str,
        /// What would be right.
        accepted: &'static str,
    },
}

/// What a zone file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneFile {
    /// Its record sets, in canonical order of owners, then by type; each owner and type once.
    pub sets: Vec<RrSet>,
    /// Records in them.
    pub records: usize,
}

/// Reads the zone file of the zone called `zone`, which is also what relative names are below at first.
///
/// Whether its records make a zone is [`validate`](crate::validate)'s to say.
///
/// # Errors
/// [`FileError`], for the first thing that is wrong.
pub fn parse_file(text: &str, zone: &Name) -> Result<ZoneFile, FileError> {
    if text.len() > FILE_BYTES_MAX {
        return Err(FileError::TooLarge { found: text.len() });
    }
    check_closed(text).map_err(|(line, reason)| syntax(line, reason))?;
    let mut reader = Reader::new(text, zone);
    while reader.read()? {}
    Ok(reader.finish())
}

/// A record set under way.
struct Draft {
    owner: Name,
    ttl: u32,
    /// In the order of the file.
    data: Vec<Box<[u8]>>,
}

struct Reader<'a> {
    text: &'a str,
    zone: &'a Name,
    file: Zonefile,
    /// Where `line` was counted.
    at: usize,
    line: usize,
    /// Whether a label `@` is meant as one somewhere.
    has_escaped_at: bool,
    drafts: BTreeMap<(Name, u16), Draft>,
    records: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, zone: &'a Name) -> Reader<'a> {
        let mut file = Zonefile::from(text);
        if !text.ends_with('\n') {
            file.extend_from_slice(b"\n");
        }
        if let Some(origin) = domain_name(zone) {
            file.set_origin(origin);
        }
        file.set_default_class(Class::IN);
        let has_escaped_at = text.contains("\\@") || text.contains("\\064");
        Reader { text, zone, file, at: 0, line: 1, has_escaped_at, drafts: BTreeMap::new(), records: 0 }
    }

    /// Reads an entry; whether there was one.
    fn read(&mut self) -> Result<bool, FileError> {
        match self.file.next_entry() {
            Ok(Some(Entry::Record(record))) => self.record(&record).map(|()| true),
            Ok(Some(Entry::Include { .. })) => Err(syntax(self.here(), "$INCLUDE")),
            Ok(None) => Ok(false),
            Err(error) => Err(syntax(self.here(), without_place(&error.to_string()))),
        }
    }

    /// The line of the last token that was looked at.
    fn here(&mut self) -> usize {
        // The scanner counts an octet of its own at the start.
        let to = self.file.current_offset().saturating_sub(1).clamp(self.at, self.text.len());
        let read = self.text.as_bytes().get(self.at..to).unwrap_or_default();
        self.line += read.iter().filter(|&&octet| octet == b'\n').count();
        self.at = to;
        self.line
    }

    fn record(&mut self, record: &ScannedRecord) -> Result<(), FileError> {
        let line = self.here();
        let rtype = record.rtype().to_int();
        let owner = self.owner(line, record, rtype)?;
        let data = self.data(line, record, &owner, rtype)?;
        self.records += 1;
        if self.records > FILE_RECORDS_MAX {
            return Err(FileError::TooMany { line });
        }
        let ttl = record.ttl().as_secs();
        let draft = self.drafts.entry((owner.clone(), rtype));
        let draft = draft.or_insert_with(|| Draft { owner, ttl, data: Vec::new() });
        draft.ttl = draft.ttl.min(ttl);
        draft.data.push(data);
        Ok(())
    }

    fn owner(&self, line: usize, record: &ScannedRecord, rtype: u16) -> Result<Name, FileError> {
        let wire = record.owner().to_vec();
        let owner =
            Name::from_wire(wire.as_slice()).map_err(|_malformed| syntax(line, "the owner is no name"))?;
        if !owner.is_within(self.zone) {
            return Err(FileError::OutOfZone { line, owner, zone: self.zone.clone() });
        }
        if rtype::is_data(rtype) {
            Ok(owner)
        } else {
            Err(FileError::NotData { line, rtype: type_name(rtype) })
        }
    }

    fn data(
        &self,
        line: usize,
        record: &ScannedRecord,
        owner: &Name,
        rtype: u16,
    ) -> Result<Box<[u8]>, FileError> {
        let (rtype_name, accepted) = (type_name(rtype), accepted(rtype));
        let refuse = |reason| FileError::Data {
            line,
            owner: owner.clone(),
            rtype: rtype_name.clone(),
            reason,
            accepted,
        };
        let mut data = Vec::new();
        record.data().compose_rdata(&mut data).map_err(|_never| refuse("too long"))?;
        if !self.has_escaped_at
            && let Ok(origin) = self.file.origin()
        {
            data = with_origin(rtype, data, origin.as_slice());
        }
        check(rtype, &data).map_err(refuse)?;
        Ok(data.into())
    }

    fn finish(self) -> ZoneFile {
        let sets = self.drafts.into_iter().map(|((_, rtype), draft)| draft.finish(rtype)).collect::<Vec<_>>();
        let records = sets.iter().map(|set| set.data.len()).sum();
        ZoneFile { sets, records }
    }
}

impl Draft {
    fn finish(self, rtype: u16) -> RrSet {
        let mut seen = HashSet::with_capacity(self.data.len());
        let mut data = self.data;
        data.retain(|data| seen.insert(rdata::canonical(rtype, data)));
        RrSet { owner: self.owner, rtype, ttl: self.ttl, data }
    }
}

/// A free-standing `@` is the origin in data too (RFC 1035 §5.1); `domain` takes it for a label.
fn with_origin(rtype: u16, data: Vec<u8>, origin: &[u8]) -> Vec<u8> {
    let label = [b"\x01@", origin].concat();
    let Some(shape) = Shape::of(rtype).filter(|_| data.windows(label.len()).any(|window| window == label))
    else {
        return data;
    };
    let (head, mut rest) = data.split_at_checked(shape.head).unwrap_or_default();
    let mut replaced = head.to_vec();
    for _ in 0..shape.names {
        let (name, after) = rest.split_at_checked(wire_length(rest).unwrap_or(0)).unwrap_or_default();
        replaced.extend_from_slice(if name == label { origin } else { name });
        rest = after;
    }
    replaced.extend_from_slice(rest);
    replaced
}

fn syntax(line: usize, reason: &str) -> FileError {
    FileError::Syntax { line, reason: reason.to_owned(), hint: hint(reason) }
}

/// What would be accepted, where `domain`'s reason does not tell.
fn hint(reason: &str) -> &'static str {
    match reason.split(':').next().unwrap_or(reason) {
        "unknown control" | "$INCLUDE" => "; accepted are $ORIGIN and $TTL",
        "expected rtype" => {
            "; accepted are a TTL in seconds, the class IN and a type, each once, the type last"
        }
        "different class" => "; accepted is the class IN",
        "unknown record type with concrete data" => {
            "; accepted is the form for unknown types: \\# LENGTH HEX"
        }
        "missing last owner" => "; the first record has to begin with its owner",
        "bad charstr" => "; accepted are strings of at most 255 octets, several in a row",
        "bad name" => "; accepted are labels of at most 63 octets, names of at most 255",
        _ => "",
    }
}

/// The records of `set` as lines of a zone file, names absolute.
pub fn set_lines(set: &RrSet) -> String {
    let head = format!("{}\t{}\tIN\t{}\t", set.owner, set.ttl, type_name(set.rtype));
    set.data.iter().map(|data| format!("{head}{}\n", data_text(set.rtype, data))).collect()
}

/// Writes `zone` as a zone file: the start of authority first, then everything in canonical order.
///
/// # Errors
/// What `to` says.
pub fn export(zone: &Zone, to: &mut impl fmt::Write) -> fmt::Result {
    let mut sets: Vec<RrSet> = zone.rrsets().collect();
    sets.sort_by_cached_key(|set| (set.rtype != rtype::SOA, set.owner.clone(), set.rtype));
    sets.iter().try_for_each(|set| to.write_str(&set_lines(set)))
}
