//! A record set as it goes onto the wire: built once, copied into every answer.
//!
//! The bytes are complete records whose owner is a pointer to the question. Names in the data are compressed at
//! build time, against the owner's ancestors and against earlier names of the same set; where such a pointer
//! goes in a message is only known when the set is copied, so each is listed as a [`Fixup`]. Only names that
//! match byte for byte are compressed, so that the case of the data survives.
//!
//! Encoded: length of the records `u32`, records `u16`, fixups `u16`, the records, the fixups (6 octets each:
//! place `u16`, kind `u16`, target `u16`); integers little-endian.

use crate::{
    RrSet, ZoneError,
    labels::POINTER_END,
    name::split_first,
    rdata::{self, Shape},
    rtype,
};

/// Owner, type, class, TTL and data length before the data of each record.
pub(crate) const RECORD_HEAD: usize = 12;
/// Where the data length is in a record.
const DATA_LENGTH: usize = 10;
/// What an owner is until it is known: a pointer to the question's name.
pub(crate) const TO_QUESTION: [u8; 2] = [0xc0, 12];

const HEAD: usize = 8;
const FIXUP: usize = 6;

/// Octets of a set's records: what fits a message with a question, a header and an OPT record.
pub(crate) const RECORDS_BYTES_MAX: usize = 65_535 - 12 - 259 - 11;
/// Names beyond this place of a set are not pointed at: a pointer reaches the first 16 KiB of a message only, and
/// a chain of aliases may come before the set.
const INSIDE_MAX: usize = 4096;
/// Suffixes of earlier names that are tried.
const EARLIER_MAX: usize = 32;

const _: () = assert!(INSIDE_MAX < POINTER_END / 2, "room for the chain before the set");

/// Where a pointer in the data goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The owner's ancestor at this depth.
    Owner(u16),
    /// This place of the same set.
    Inside(u16),
}

/// A pointer that is written when the set is copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fixup {
    pub(crate) at: u16,
    pub(crate) target: Target,
}

/// A built record set.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blob<'a> {
    /// The records.
    pub(crate) records: &'a [u8],
    /// How many.
    pub(crate) count: u16,
    fixups: &'a [u8],
}

impl<'a> Blob<'a> {
    /// The set that `encoded` begins with.
    pub(crate) fn read(encoded: &'a [u8]) -> Option<Blob<'a>> {
        let (head, rest) = encoded.split_first_chunk::<HEAD>()?;
        let [a, b, c, d, count @ .., e, f] = *head;
        let (records, rest) = rest.split_at_checked(u32::from_le_bytes([a, b, c, d]) as usize)?;
        let fixups = rest.get(..usize::from(u16::from_le_bytes([e, f])) * FIXUP)?;
        Some(Blob { records, count: u16::from_le_bytes(count), fixups })
    }

    /// Octets that the set takes encoded.
    pub(crate) fn encoded_length(&self) -> usize {
        HEAD + self.records.len() + self.fixups.len()
    }

    /// The pointers in the data, by place.
    pub(crate) fn fixups(&self) -> impl Iterator<Item = Fixup> + 'a {
        self.fixups.chunks_exact(FIXUP).filter_map(Fixup::read)
    }

    /// Time to live of the set.
    pub(crate) fn ttl(&self) -> u32 {
        self.records.get(6..10).and_then(|ttl| ttl.first_chunk()).map_or(0, |ttl| u32::from_be_bytes(*ttl))
    }

    /// Where each record's data is.
    pub(crate) fn data(&self) -> DataRanges<'a> {
        DataRanges { records: self.records, at: 0 }
    }

    fn fixup_at(&self, at: usize) -> Option<Target> {
        let (mut low, mut high) = (0, self.fixups.len() / FIXUP);
        while low < high {
            let middle = low.midpoint(high);
            let fixup = self.fixups.get(middle * FIXUP..).and_then(Fixup::read)?;
            match usize::from(fixup.at).cmp(&at) {
                std::cmp::Ordering::Equal => return Some(fixup.target),
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// The data of each record, uncompressed; `owner` in wire form and in the case that it was built with.
    pub(crate) fn unpack(&self, rtype: u16, owner: &[u8]) -> Vec<Box<[u8]>> {
        let shape = Shape::of(rtype).filter(|shape| shape.compress);
        let unpack = |(from, to): (usize, usize)| match shape {
            Some(shape) => self.expand(shape, from, to, owner),
            None => self.records.get(from..to).unwrap_or_default().into(),
        };
        self.data().map(unpack).collect()
    }

    fn expand(&self, shape: Shape, from: usize, to: usize, owner: &[u8]) -> Box<[u8]> {
        let mut data = self.records.get(from..from + shape.head).unwrap_or_default().to_vec();
        let mut at = from + shape.head;
        for _ in 0..shape.names {
            at = self.expand_name(at, owner, &mut data);
        }
        data.extend_from_slice(self.records.get(at..to).unwrap_or_default());
        data.into()
    }

    /// Appends the name at `from` and returns where it ends.
    fn expand_name(&self, from: usize, owner: &[u8], data: &mut Vec<u8>) -> usize {
        let (mut at, mut end) = (from, None);
        loop {
            match self.fixup_at(at) {
                Some(Target::Owner(depth)) => {
                    data.extend_from_slice(ancestor(owner, usize::from(depth)));
                    return end.unwrap_or(at + 2);
                }
                // Targets lie before the pointers to them, so this ends.
                Some(Target::Inside(to)) => {
                    end = end.or(Some(at + 2));
                    at = usize::from(to);
                }
                None => {
                    let length = self.records.get(at).map_or(0, |length| usize::from(*length));
                    data.extend_from_slice(self.records.get(at..=at + length).unwrap_or(&[0]));
                    at += 1 + length;
                    if length == 0 {
                        return end.unwrap_or(at);
                    }
                }
            }
        }
    }
}

impl Fixup {
    const INSIDE: u16 = u16::MAX;

    fn read(bytes: &[u8]) -> Option<Fixup> {
        let [a, b, c, d, e, f] = *bytes.first_chunk::<FIXUP>()?;
        let (kind, inside) = (u16::from_le_bytes([c, d]), u16::from_le_bytes([e, f]));
        let target = if kind == Fixup::INSIDE { Target::Inside(inside) } else { Target::Owner(kind) };
        Some(Fixup { at: u16::from_le_bytes([a, b]), target })
    }

    fn write(self, to: &mut Vec<u8>) {
        let (kind, inside) = match self.target {
            Target::Owner(depth) => (depth, 0),
            Target::Inside(at) => (Fixup::INSIDE, at),
        };
        for number in [self.at, kind, inside] {
            to.extend_from_slice(&number.to_le_bytes());
        }
    }
}

/// Iterator over where the data of each record begins and ends.
#[derive(Debug, Clone)]
pub(crate) struct DataRanges<'a> {
    records: &'a [u8],
    at: usize,
}

impl Iterator for DataRanges<'_> {
    type Item = (usize, usize);

    fn next(&mut self) -> Option<(usize, usize)> {
        let length = self.records.get(self.at + DATA_LENGTH..)?.first_chunk::<2>()?;
        let from = self.at + RECORD_HEAD;
        self.at = from + usize::from(u16::from_be_bytes(*length));
        Some((from, self.at))
    }
}

/// The ancestor of `name` at `depth`, which counts from the root.
fn ancestor(name: &[u8], depth: usize) -> &[u8] {
    let mut rest = name;
    let labels =
        std::iter::successors(Some(name), |rest| split_first(rest).map(|(_, rest)| rest)).count() - 1;
    for _ in depth..labels {
        rest = split_first(rest).map_or(rest, |(_, rest)| rest);
    }
    rest
}

/// Builds the records of `set` for a node called `owner`, which is the set's owner but for case.
pub(crate) fn encode(set: &RrSet, owner: &[u8], ttl: u32) -> Result<Vec<u8>, ZoneError> {
    let mut builder =
        Builder { records: Vec::new(), fixups: Vec::new(), owner: Vec::new(), earlier: Vec::new() };
    builder.know_owner(owner);
    for data in &set.data {
        builder.record(set, ttl, data)?;
    }
    builder.finish(set)
}

struct Builder<'a> {
    records: Vec<u8>,
    fixups: Vec<Fixup>,
    /// The owner's ancestors by depth, from 1.
    owner: Vec<&'a [u8]>,
    /// Suffixes of earlier names with their place.
    earlier: Vec<(&'a [u8], u16)>,
}

impl<'a> Builder<'a> {
    fn know_owner(&mut self, owner: &'a [u8]) {
        // A wildcard is never itself in a message; its parent is.
        let from = if owner.starts_with(b"\x01*") { &owner[2..] } else { owner };
        self.owner = suffixes(from).collect();
        self.owner.reverse();
    }

    fn record(&mut self, set: &RrSet, ttl: u32, data: &'a [u8]) -> Result<(), ZoneError> {
        if !rdata::is_well_formed(set.rtype, data) {
            return Err(ZoneError::Malformed { owner: set.owner.clone(), rtype: set.rtype });
        }
        self.records.extend_from_slice(&TO_QUESTION);
        for number in [set.rtype, rtype::CLASS_IN] {
            self.records.extend_from_slice(&number.to_be_bytes());
        }
        self.records.extend_from_slice(&ttl.to_be_bytes());
        self.records.extend_from_slice(&[0, 0]);
        let from = self.records.len();
        self.data(set.rtype, data);
        let too_large = |_| ZoneError::TooLarge { owner: set.owner.clone(), rtype: set.rtype };
        let length = u16::try_from(self.records.len() - from).map_err(too_large)?;
        self.records[from - 2..from].copy_from_slice(&length.to_be_bytes());
        if self.records.len() > RECORDS_BYTES_MAX {
            return Err(ZoneError::TooLarge { owner: set.owner.clone(), rtype: set.rtype });
        }
        Ok(())
    }

    fn data(&mut self, rtype: u16, data: &'a [u8]) {
        let Some(shape) = Shape::of(rtype).filter(|shape| shape.compress) else {
            self.records.extend_from_slice(data);
            return;
        };
        let (head, mut rest) = data.split_at_checked(shape.head).unwrap_or_default();
        self.records.extend_from_slice(head);
        for _ in 0..shape.names {
            rest = self.name(rest);
        }
        self.records.extend_from_slice(rest);
    }

    /// Appends the name that `data` begins with, compressed, and returns what comes after it.
    fn name(&mut self, data: &'a [u8]) -> &'a [u8] {
        let length = crate::name::wire_length(data).unwrap_or(0);
        let (name, after) = data.split_at(length);
        for suffix in suffixes(name) {
            if let (Some(target), Ok(at)) = (self.known(suffix), u16::try_from(self.records.len())) {
                self.fixups.push(Fixup { at, target });
                self.records.extend_from_slice(&[0xc0, 0]);
                return after;
            }
            self.note(suffix);
            let label = split_first(suffix).map_or(0, |(label, _)| label.len());
            self.records.extend_from_slice(&suffix[..=label]);
        }
        self.records.push(0);
        after
    }

    fn known(&self, suffix: &[u8]) -> Option<Target> {
        let depth = suffixes(suffix).count();
        if self.owner.get(depth - 1).is_some_and(|owner| *owner == suffix) {
            return u16::try_from(depth).ok().map(Target::Owner);
        }
        self.earlier.iter().find(|(earlier, _)| *earlier == suffix).map(|(_, at)| Target::Inside(*at))
    }

    fn note(&mut self, suffix: &'a [u8]) {
        let at = self.records.len();
        if self.earlier.len() < EARLIER_MAX
            && at < INSIDE_MAX
            && let Ok(at) = u16::try_from(at)
        {
            self.earlier.push((suffix, at));
        }
    }

    fn finish(self, set: &RrSet) -> Result<Vec<u8>, ZoneError> {
        let too_large = |_| ZoneError::TooLarge { owner: set.owner.clone(), rtype: set.rtype };
        let mut encoded = Vec::with_capacity(HEAD + self.records.len() + self.fixups.len() * FIXUP);
        let length = u32::try_from(self.records.len()).map_err(too_large)?;
        encoded.extend_from_slice(&length.to_le_bytes());
        for number in [set.data.len(), self.fixups.len()] {
            encoded.extend_from_slice(&u16::try_from(number).map_err(too_large)?.to_le_bytes());
        }
        encoded.extend_from_slice(&self.records);
        for fixup in self.fixups {
            fixup.write(&mut encoded);
        }
        Ok(encoded)
    }
}

/// The name, its parent, and so on, without the root.
fn suffixes(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(name), |rest| split_first(rest).map(|(_, rest)| rest))
        .take_while(|rest| split_first(rest).is_some())
}
