//! The reply as it is written: record sets whole or not at all, in place, with every pointer set as it is copied.

use super::{
    Rcode, Transport,
    query::{HEADER, Header, OPT_BYTES, Query, announced},
};
use crate::{
    labels::{Labels, POINTER_END},
    rtype,
    zone::blob::{Blob, RECORD_HEAD, TO_QUESTION, Target},
};

/// The section that records go to; later ones come later in the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// There is no room for the record set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// What the OPT record of the reply says.
#[derive(Debug, Clone, Copy)]
struct OurEdns {
    payload: u16,
    dnssec: bool,
}

/// A reply under way.
pub(crate) struct Reply<'a> {
    out: &'a mut [u8],
    length: usize,
    /// Where the records have to end; room for OPT is behind it.
    end: usize,
    questions: u16,
    counts: [u16; 3],
    edns: Option<OurEdns>,
    rcode: Rcode,
    authoritative: bool,
    truncated: bool,
}

impl<'a> Reply<'a> {
    /// A reply to `query`, which `message` holds; `None`: no room for header and question.
    pub(crate) fn start(
        message: &[u8],
        query: &Query,
        transport: Transport,
        out: &'a mut [u8],
    ) -> Option<Reply<'a>> {
        let mut reply = Reply::bare(message, Some(query.question_end), out)?;
        let edns = query.edns.map(|edns| OurEdns { payload: announced(transport), dnssec: edns.dnssec });
        let reserved = if edns.is_some() { OPT_BYTES } else { 0 };
        reply.end = reply.out.len().min(query.reply_bytes(transport)).checked_sub(reserved)?;
        reply.edns = edns;
        (reply.length <= reply.end).then_some(reply)
    }

    /// A reply with the question, if it could be read, and nothing else.
    pub(crate) fn bare(message: &[u8], question_end: Option<usize>, out: &'a mut [u8]) -> Option<Reply<'a>> {
        let length = question_end.unwrap_or(HEADER);
        out.get_mut(HEADER..length)?.copy_from_slice(message.get(HEADER..length)?);
        Some(Reply {
            out,
            length,
            end: length,
            questions: u16::from(question_end.is_some()),
            counts: [0; 3],
            edns: None,
            rcode: Rcode::NO_ERROR,
            authoritative: false,
            truncated: false,
        })
    }

    pub(crate) fn set_authoritative(&mut self) {
        self.authoritative = true;
    }

    /// The reply refers to others.
    pub(crate) fn set_referral(&mut self) {
        self.authoritative = false;
    }

    /// Sets the response code.
    pub(crate) fn fail(&mut self, rcode: Rcode) {
        self.rcode = rcode;
    }

    /// Says that something that belongs into the reply is not there (RFC 2181 §9).
    pub(crate) fn truncate(&mut self) {
        self.truncated = true;
    }

    /// What is written so far.
    pub(crate) fn written(&self) -> &[u8] {
        self.out.get(..self.length).unwrap_or_default()
    }

    /// Appends a record set whose owner is the ancestor of `name` at `depth`; returns where it begins.
    pub(crate) fn put(
        &mut self,
        section: Section,
        name: &Labels,
        depth: usize,
        set: Blob<'_>,
    ) -> Result<usize, Full> {
        let place = name.place(depth);
        if usize::from(place) >= POINTER_END {
            return self.put_unpointed(section, name.suffix(depth), set);
        }
        let start = self.length;
        let owner = (0xc000 | place).to_be_bytes();
        let to = self.room(set.records.len())?;
        to.copy_from_slice(set.records);
        if owner != TO_QUESTION {
            for (data, _) in set.data() {
                write(to, data - RECORD_HEAD, owner);
            }
        }
        for fixup in set.fixups() {
            let target = match fixup.target {
                Target::Owner(depth) => usize::from(name.place(usize::from(depth))),
                Target::Inside(at) => start + usize::from(at),
            };
            // Every target is near enough: sets with pointers inside only follow a chain of bounded length.
            let target = u16::try_from(target).unwrap_or_default();
            write(to, usize::from(fixup.at), (0xc000 | target).to_be_bytes());
        }
        self.count(section, set.count);
        Ok(start)
    }

    /// As [`Reply::put`], for an owner that no pointer reaches. Only addresses come here; they hold no names.
    fn put_unpointed(&mut self, section: Section, owner: &[u8], set: Blob<'_>) -> Result<usize, Full> {
        let start = self.length;
        let extra = usize::from(set.count) * (owner.len() - TO_QUESTION.len());
        let mut to = self.room(set.records.len() + extra)?;
        for (from, end) in set.data() {
            let record = set.records.get(from - RECORD_HEAD + TO_QUESTION.len()..end).unwrap_or_default();
            for part in [owner, record] {
                let (head, rest) = to.split_at_mut_checked(part.len()).ok_or(Full)?;
                head.copy_from_slice(part);
                to = rest;
            }
        }
        self.count(section, set.count);
        Ok(start)
    }

    /// Appends the alias that a DNAME makes of `name` (RFC 6672 §3.1); returns where its target is.
    ///
    /// `dname` is where the DNAME's target is in the reply; `depth` is its owner's.
    pub(crate) fn put_synthesized(
        &mut self,
        name: &Labels,
        depth: usize,
        dname: usize,
        ttl: u32,
    ) -> Result<usize, Full> {
        let prefix = name.length() - name.suffix(depth).len();
        let start = self.length;
        let target = start + RECORD_HEAD;
        let mut head = [0; RECORD_HEAD];
        head[..2].copy_from_slice(&(0xc000 | name.place(name.depth())).to_be_bytes());
        head[2..4].copy_from_slice(&rtype::CNAME.to_be_bytes());
        head[4..6].copy_from_slice(&rtype::CLASS_IN.to_be_bytes());
        head[6..10].copy_from_slice(&ttl.to_be_bytes());
        head[10..].copy_from_slice(&u16::try_from(prefix + 2).unwrap_or_default().to_be_bytes());
        self.room(RECORD_HEAD + prefix + 2)?[..RECORD_HEAD].copy_from_slice(&head);
        let mut at = target;
        for depth in (depth + 1..=name.depth()).rev() {
            // From the message, since there the label has its own case.
            let from = usize::from(name.place(depth));
            let label = self.out.get(from).map_or(0, |length| usize::from(*length));
            self.out.copy_within(from..=from + label, at);
            at += 1 + label;
        }
        let pointer = u16::try_from(dname).unwrap_or_default();
        write(self.out, at, (0xc000 | pointer).to_be_bytes());
        self.count(Section::Answer, 1);
        Ok(target)
    }

    /// Takes the next `length` octets.
    fn room(&mut self, length: usize) -> Result<&mut [u8], Full> {
        let end = self.length.checked_add(length).filter(|&end| end <= self.end).ok_or(Full)?;
        let room = self.out.get_mut(self.length..end).ok_or(Full)?;
        self.length = end;
        Ok(room)
    }

    fn count(&mut self, section: Section, more: u16) {
        let count = &mut self.counts[section as usize];
        *count = count.saturating_add(more);
    }

    /// Appends OPT, writes the header, and returns the length of the reply.
    pub(crate) fn finish(mut self, header: Header) -> Option<usize> {
        if let Some(edns) = self.edns {
            let extended = self.rcode.0.to_be_bytes()[0] << 4 | self.rcode.0.to_le_bytes()[0] >> 4;
            let [p0, p1] = edns.payload.to_be_bytes();
            let flags = if edns.dnssec { 0x80 } else { 0 };
            let opt = [0, 0, 41, p0, p1, extended, 0, flags, 0, 0, 0];
            self.out.get_mut(self.length..self.length + OPT_BYTES)?.copy_from_slice(&opt);
            self.length += OPT_BYTES;
            self.count(Section::Additional, 1);
        }
        let head = self.header(header);
        self.out.first_chunk_mut::<HEADER>()?.copy_from_slice(&head);
        Some(self.length)
    }

    fn header(&self, header: Header) -> [u8; HEADER] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let mut head = [0; HEADER];
        head[..2].copy_from_slice(&header.id);
        head[2] = 0x80
            | header.opcode << 3
            | flag(self.authoritative, 4)
            | flag(self.truncated, 2)
            | flag(header.recursion_desired, 1);
        head[3] = flag(header.checking_disabled, 0x10) | self.rcode.0.to_le_bytes()[0] & 0xf;
        let counts = [self.questions, self.counts[0], self.counts[1], self.counts[2]];
        for (to, count) in head[4..].chunks_exact_mut(2).zip(counts) {
            to.copy_from_slice(&count.to_be_bytes());
        }
        head
    }
}

/// Writes a number of 16 bits if it is in bounds, as it always is.
fn write(to: &mut [u8], at: usize, number: [u8; 2]) {
    if let Some(to) = to.get_mut(at..at + 2) {
        to.copy_from_slice(&number);
    }
}
