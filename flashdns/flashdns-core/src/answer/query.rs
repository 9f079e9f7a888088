//! Reads a query: header, one question, EDNS. Everything else in it is skipped, but has to be well-formed.

use super::{OUR_UDP_BYTES, PLAIN_UDP_BYTES, Rcode, Transport};
use crate::{labels::Labels, rtype};

/// Octets of a header (RFC 1035 §4.1.1).
pub(crate) const HEADER: usize = 12;

/// Octets of an OPT record without options (RFC 6891 §6.1.2).
pub(crate) const OPT_BYTES: usize = 11;

/// The first four octets of a query and its counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    pub(crate) id: [u8; 2],
    pub(crate) opcode: u8,
    pub(crate) recursion_desired: bool,
    pub(crate) checking_disabled: bool,
    questions: u16,
    skipped: u16,
    additional: u16,
}

/// EDNS of a query (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Edns {
    pub(crate) payload: u16,
    pub(crate) version: u8,
    pub(crate) dnssec: bool,
}

/// A query, once it was read without a [`Fault`].
#[derive(Default)]
pub(crate) struct Query {
    pub(crate) name: Labels,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    /// Where the question ends in the message.
    pub(crate) question_end: usize,
    pub(crate) edns: Option<Edns>,
}

/// Why a message is no query that we answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) rcode: Rcode,
    /// Where the question ends, if it could be read.
    pub(crate) question_end: Option<usize>,
}

impl Header {
    /// `None`: too short, or a response.
    pub(crate) fn read(message: &[u8]) -> Option<Header> {
        let head = message.first_chunk::<HEADER>()?;
        let [id @ .., a, b, q0, q1, n0, n1, s0, s1, r0, r1] = *head;
        let count = |high, low| u16::from_be_bytes([high, low]);
        let header = Header {
            id,
            opcode: a >> 3 & 0xf,
            recursion_desired: a & 1 != 0,
            checking_disabled: b & 0x10 != 0,
            questions: count(q0, q1),
            skipped: count(n0, n1).saturating_add(count(s0, s1)),
            additional: count(r0, r1),
        };
        (a & 0x80 == 0).then_some(header)
    }
}

impl Query {
    /// Becomes the query in a message whose header was read already.
    pub(crate) fn read(&mut self, message: &[u8], header: Header) -> Result<(), Fault> {
        let has_question = header.questions == 1 && self.question(message).is_some();
        let question_end = has_question.then_some(self.question_end);
        let fault = |rcode| Err(Fault { rcode, question_end });
        if header.opcode != 0 {
            return fault(Rcode::NOT_IMPLEMENTED);
        }
        match edns(message, self.question_end, header) {
            Ok(edns) if has_question => self.edns = edns,
            _ => return fault(Rcode::FORMAT_ERROR),
        }
        Ok(())
    }

    fn question(&mut self, message: &[u8]) -> Option<()> {
        let end = self.name.read(message, HEADER, false)?;
        let [t0, t1, c0, c1] = *message.get(end..)?.first_chunk()?;
        (self.rtype, self.class) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([c0, c1]));
        self.question_end = end + 4;
        Some(())
    }

    /// How many octets the reply may measure.
    pub(crate) fn reply_bytes(&self, transport: Transport) -> usize {
        let Transport::Udp { limit } = transport else { return usize::from(u16::MAX) };
        let client = self.edns.map_or(PLAIN_UDP_BYTES, |edns| edns.payload);
        usize::from(client.min(limit).max(PLAIN_UDP_BYTES))
    }
}

/// What we announce to a client: what it may send us.
pub(crate) fn announced(transport: Transport) -> u16 {
    match transport {
        Transport::Udp { limit } => limit.max(PLAIN_UDP_BYTES),
        Transport::Tcp => OUR_UDP_BYTES,
    }
}

/// A message that ends within a record, or has a bad OPT record.
struct Broken;

/// Walks the records after the question; finds the OPT record, of which there may be one.
fn edns(message: &[u8], question_end: usize, header: Header) -> Result<Option<Edns>, Broken> {
    let mut at = question_end;
    let mut edns = None;
    // Every record takes octets of the message, which therefore bounds this, not the counts.
    for _ in 0..header.skipped {
        at = Record::read(message, at)?.end;
    }
    for _ in 0..header.additional {
        let record = Record::read(message, at)?;
        if record.rtype == rtype::OPT && edns.replace(record.edns(message)?).is_some() {
            return Err(Broken);
        }
        at = record.end;
    }
    Ok(edns)
}

/// A record of a query, as far as it is looked at.
struct Record {
    rooted: bool,
    rtype: u16,
    class: u16,
    ttl: [u8; 4],
    data: usize,
    end: usize,
}

impl Record {
    fn read(message: &[u8], at: usize) -> Result<Record, Broken> {
        let name_end = skip_name(message, at).ok_or(Broken)?;
        let head = message.get(name_end..).and_then(|rest| rest.first_chunk::<10>()).ok_or(Broken)?;
        let [t0, t1, c0, c1, ttl @ .., l0, l1] = *head;
        let data = name_end + head.len();
        let end = data + usize::from(u16::from_be_bytes([l0, l1]));
        if end > message.len() {
            return Err(Broken);
        }
        let (rtype, class) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([c0, c1]));
        Ok(Record { rooted: name_end == at + 1, rtype, class, ttl, data, end })
    }

    fn edns(&self, message: &[u8]) -> Result<Edns, Broken> {
        let [_, version, flags, _] = self.ttl;
        let options = message.get(self.data..self.end).ok_or(Broken)?;
        if !self.rooted || !are_options(options) {
            return Err(Broken);
        }
        Ok(Edns { payload: self.class, version, dnssec: flags & 0x80 != 0 })
    }
}

/// Whether `rest` is a sequence of EDNS options.
fn are_options(mut rest: &[u8]) -> bool {
    while let Some((head, data)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        match data.get(length..) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Where the name at `at` ends, without following it.
fn skip_name(message: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    for _ in 0..=crate::name::LABELS_MAX {
        let length = *message.get(at)?;
        match length {
            0 => return Some(at + 1),
            1..0x40 => at += 1 + usize::from(length),
            0xc0.. => return Some(at + 2),
            _ => return None,
        }
    }
    None
}
