//! The data of one record: text to octets and back.
//!
//! Whatever a text was parsed to is read again as its type before it is accepted, so data written in the form
//! for unknown types (`\# 4 c0000201`) is checked as well, and nothing with compressed names or trailing octets
//! gets in. Names are printed by our own code, since `domain` leaves some of the characters bare that a zone
//! file gives a meaning; what would not read back as the same octets is printed in the form for unknown types.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;
use domain::{
    base::{
        Name as DomainName, ParsedName, Rtype,
        rdata::{ComposeRecordData as _, ParseRecordData as _},
        zonefile_fmt::{DisplayKind, ZonefileFmt as _},
    },
    dep::octseq::Parser,
    rdata::ZoneRecordData,
    zonefile::inplace::{Entry, Zonefile},
};

use super::{
    tokens::{push_string, tokens},
    type_name,
};
use crate::{
    Name,
    name::wire_length,
    rdata::{Shape, is_well_formed},
    rtype,
};

/// Octets of one record's text: more than the largest data takes with every octet escaped.
pub const DATA_TEXT_BYTES_MAX: usize = 5 * 65_535;

/// How much of a text an error shows.
const SHOWN_CHARS: usize = 80;

/// Why a text is not the data of its type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rtype} data {text:?}: {reason}; accepted is {accepted}")]
pub struct DataError {
    /// The type's name.
    pub rtype: String,
    /// The text, cut short.
    pub text: String,
    /// What is wrong with it.
    pub reason: Cow<'static, str>,
    /// What would be right.
    pub accepted: &'static str,
}

/// What the data of a type looks like.
pub(super) const fn accepted(rtype: u16) -> &'static str {
    match rtype {
        rtype::A => "an IPv4 address, as in 192.0.2.1",
        rtype::AAAA => "an IPv6 address, as in 2001:db8::1",
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => "a name, as in host.example.org.",
        rtype::MX => "preference and host, as in 10 mail.example.org.",
        rtype::TXT => "strings in quotes, as in \"v=spf1 -all\"",
        rtype::SRV => "priority, weight, port and host, as in 0 5 443 web.example.org.",
        rtype::CAA => "flags, tag and value, as in 0 issue \"ca.example.net\"",
        rtype::DS => "key tag, algorithm, digest type and digest in hex, as in 12345 13 2 49fd46e6...",
        rtype::SOA => "server, mailbox, serial, and refresh, retry, expire and minimum in seconds",
        _ => "the type's presentation form, or \\# LENGTH HEX (RFC 3597)",
    }
}

/// The data that `text` is the presentation form of, uncompressed; relative names are below `origin`.
///
/// # Errors
/// [`DataError`].
pub fn parse_data(rtype: u16, text: &str, origin: &Name) -> Result<Box<[u8]>, DataError> {
    parse(rtype, text, origin).map_err(|reason| DataError {
        rtype: type_name(rtype),
        text: text.chars().take(SHOWN_CHARS).collect(),
        reason,
        accepted: accepted(rtype),
    })
}

fn parse(rtype: u16, text: &str, origin: &Name) -> Result<Box<[u8]>, Cow<'static, str>> {
    let data = scan(&line(rtype, text, origin)?, origin)?;
    check(rtype, &data)?;
    Ok(data)
}

/// The line of a zone file that has this one record.
fn line(rtype: u16, text: &str, origin: &Name) -> Result<String, &'static str> {
    if text.len() > DATA_TEXT_BYTES_MAX {
        return Err("the text is too long");
    }
    let tokens = tokens(text)?;
    let first = *tokens.first().ok_or("nothing is there")?;
    let (has_names, has_strings) = (Shape::of(rtype).is_some(), rtype == rtype::TXT && first != "\\#");
    let mut line = String::with_capacity(text.len() + 64);
    line.push_str(". 0 IN ");
    line.push_str(&type_name(rtype));
    for token in tokens {
        line.push(' ');
        match token {
            "@" if has_names => line.push_str(&origin.to_string()),
            _ if has_strings => push_string(&mut line, token),
            _ => line.push_str(token),
        }
    }
    line.push('\n');
    Ok(line)
}

/// Lets `domain` read one line of a zone file.
fn scan(line: &str, origin: &Name) -> Result<Box<[u8]>, Cow<'static, str>> {
    let mut file = Zonefile::from(line);
    file.set_origin(domain_name(origin).ok_or("the origin is no name")?);
    match file.next_entry() {
        Ok(Some(Entry::Record(record))) => {
            let mut data = Vec::new();
            record.data().compose_rdata(&mut data).map_err(|_never| "too long")?;
            Ok(data.into())
        }
        Ok(_) => Err("no data".into()),
        Err(error) => Err(without_place(&error.to_string()).to_owned().into()),
    }
}

/// What `domain` says without its line and column, which are of a text that only we have seen, or inexact.
pub(super) fn without_place(message: &str) -> &str {
    message.splitn(3, ':').last().unwrap_or(message).trim()
}

/// The name as `domain` has it.
pub(super) fn domain_name(name: &Name) -> Option<DomainName<Bytes>> {
    DomainName::from_octets(Bytes::copy_from_slice(name.as_wire())).ok()
}

type Parsed<'a> = ZoneRecordData<&'a [u8], ParsedName<&'a [u8]>>;

fn read(rtype: u16, data: &[u8]) -> Option<Parsed<'_>> {
    let mut parser = Parser::from_ref(data);
    let parsed = Parsed::parse_rdata(Rtype::from_int(rtype), &mut parser).ok().flatten()?;
    (parser.remaining() == 0).then_some(parsed)
}

/// Whether `data` is data of its type: uncompressed, complete, nothing behind it.
pub(super) fn check(rtype: u16, data: &[u8]) -> Result<(), &'static str> {
    if data.len() > usize::from(u16::MAX) {
        return Err("more than 65,535 octets");
    }
    let parsed = read(rtype, data).ok_or("not the data of this type")?;
    let mut again = Vec::with_capacity(data.len());
    let is_same = parsed.compose_rdata(&mut again).is_ok() && again == data;
    if is_same && is_well_formed(rtype, data) { Ok(()) } else { Err("not the data of this type") }
}

/// The presentation form of `data`, on one line, names absolute.
///
/// [`parse_data`] makes the same octets of it. Data that is not well-formed, or that its type's form cannot
/// express, is written in the form for unknown types.
pub fn data_text(rtype: u16, data: &[u8]) -> String {
    if check(rtype, data).is_err() {
        return generic(data);
    }
    if let Some(shape) = Shape::of(rtype) {
        return with_names(rtype, shape, data).unwrap_or_else(|| generic(data));
    }
    let known = read(rtype, data).filter(|parsed| !matches!(parsed, ZoneRecordData::Unknown(_)));
    let text = known.map(|parsed| parsed.display_zonefile(DisplayKind::Simple).to_string());
    let is_safe = |text: &String| {
        matches!(rtype, rtype::A | rtype::AAAA)
            || parse(rtype, text, &Name::root()).is_ok_and(|again| *again == *data)
    };
    text.filter(is_safe).unwrap_or_else(|| generic(data))
}

/// The form for unknown types (RFC 3597 §5).
fn generic(data: &[u8]) -> String {
    let mut text = format!("\\# {}", data.len());
    for (index, octet) in data.iter().enumerate() {
        let space = if index == 0 { " " } else { "" };
        // Writing to a string cannot fail.
        let _always = write!(text, "{space}{octet:02x}");
    }
    text
}

/// Numbers of 16 bits, names, numbers of 32 bits: all types whose names the data plane knows.
fn with_names(rtype: u16, shape: Shape, data: &[u8]) -> Option<String> {
    let mut parts = Vec::new();
    let (head, mut rest) = data.split_at_checked(shape.head)?;
    parts.extend(
        head.chunks_exact(2)
            .filter_map(|pair| pair.first_chunk())
            .map(|pair| u16::from_be_bytes(*pair).to_string()),
    );
    for _ in 0..shape.names {
        let (name, after) = rest.split_at_checked(wire_length(rest)?)?;
        parts.push(Name::from_wire(name).ok()?.to_string());
        rest = after;
    }
    debug_assert_eq!(rest.len(), shape.tail, "type {rtype} was checked");
    parts.extend(
        rest.chunks_exact(4)
            .filter_map(|four| four.first_chunk())
            .map(|four| u32::from_be_bytes(*four).to_string()),
    );
    Some(parts.join(" "))
}
