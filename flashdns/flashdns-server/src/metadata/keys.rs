//! Where FlashDNS's records are in the metadata store.
//!
//! ```text
//! /flashdns/zones/{zone}                       one zone; the commit point of every change of it
//! /flashdns/rr/{root}/{owner}/{TYPE}           one record set; `root` names one generation of a zone's rows
//! /flashdns/log/{zone id}/{sequence:020}       one change of a zone
//! /flashdns/done/{zone id}/{idempotency id}    the answer to a change that its caller may ask for again
//! /flashdns/trash/{id}                         rows that belong to nothing, or will if nobody claims them
//! ```
//! An owner is written from the top label down (`example.www`), so that names below each other are beside each
//! other. It is lower case, since names are equal without regard to case (RFC 4343); the case as given is in the
//! record. Bytes other than letters, digits, `-`, `_` and `*` are escaped, so that no label passes for a
//! separator, whatever is in it.

use super::records::Id;

/// Everything of FlashDNS.
pub const PREFIX: &str = "/flashdns/";
/// All zones.
pub const ZONES: &str = "/flashdns/zones/";
/// All record sets of all generations.
pub const RECORD_SETS: &str = "/flashdns/rr/";
/// All changes of all zones.
pub const LOG: &str = "/flashdns/log/";
/// All answers kept for repeats.
pub const DONE: &str = "/flashdns/done/";

/// All rows to be collected.
pub const TRASH: &str = "/flashdns/trash/";

/// Key of a zone by its name in wire form.
pub fn zone(apex: &[u8]) -> String {
    let mut key = ZONES.to_owned();
    for label in labels(apex) {
        escape(&label.to_ascii_lowercase(), &mut key);
        key.push('.');
    }
    key
}

/// Prefix of a generation's rows.
pub fn rows(root: Id) -> String {
    format!("{RECORD_SETS}{root}/")
}

/// Prefix of the rows of one owner, given in wire form.
pub fn owner(root: Id, owner: &[u8]) -> String {
    format!("{RECORD_SETS}{root}/{}/", path_of(owner))
}

/// Key of one record set.
pub fn record_set(root: Id, owner: &[u8], mnemonic: &str) -> String {
    format!("{RECORD_SETS}{root}/{}/{mnemonic}", path_of(owner))
}

/// Prefix of a zone's log.
pub fn log(zone: Id) -> String {
    format!("{LOG}{zone}/")
}

/// Key of one change.
pub fn change(zone: Id, sequence: u64) -> String {
    format!("{LOG}{zone}/{sequence:020}")
}

/// Prefix of the answers kept for a zone.
pub fn answers(zone: Id) -> String {
    format!("{DONE}{zone}/")
}

/// Key of one answer kept for repeats.
pub fn answer(zone: Id, idempotency_id: &str) -> String {
    let mut key = answers(zone);
    escape(idempotency_id.as_bytes(), &mut key);
    key
}

/// Key of a note about rows to be collected.
pub fn trash(id: Id) -> String {
    format!("{TRASH}{id}")
}

/// What a row's key says.
#[derive(Debug, PartialEq, Eq)]
pub struct RowKey<'a> {
    /// The generation that it belongs to.
    pub root: Id,
    /// Its owner in wire form, lower case.
    pub owner: Vec<u8>,
    /// Its type.
    pub mnemonic: &'a str,
}

/// Reads the key of a row; `None` when it is none.
pub fn parse_row(key: &str) -> Option<RowKey<'_>> {
    let mut parts = key.strip_prefix(RECORD_SETS)?.split('/');
    let (root, path, mnemonic) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || mnemonic.is_empty() {
        return None;
    }
    Some(RowKey { root: root.parse().ok()?, owner: owner_of(path)?, mnemonic })
}

/// The labels of an uncompressed name in wire form, without the root's.
fn labels(mut wire: &[u8]) -> Vec<&[u8]> {
    let mut labels = Vec::new();
    while let Some((&length, rest)) = wire.split_first()
        && length > 0
        && let Some((label, next)) = rest.split_at_checked(usize::from(length))
    {
        labels.push(label);
        wire = next;
    }
    labels
}

fn path_of(owner: &[u8]) -> String {
    let mut path = String::with_capacity(owner.len());
    for label in labels(owner).iter().rev() {
        if !path.is_empty() {
            path.push('.');
        }
        escape(&label.to_ascii_lowercase(), &mut path);
    }
    path
}

fn owner_of(path: &str) -> Option<Vec<u8>> {
    let mut wire = Vec::with_capacity(path.len() + 2);
    for label in path.split('.').rev() {
        let label = unescape(label)?;
        wire.push(u8::try_from(label.len()).ok().filter(|length| (1..=63).contains(length))?);
        wire.extend(label);
    }
    wire.push(0);
    (wire.len() <= 255).then_some(wire)
}

fn escape(bytes: &[u8], into: &mut String) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'*' => into.push(char::from(byte)),
            _ => {
                into.push('%');
                into.push(char::from(HEX[usize::from(byte >> 4)]));
                into.push(char::from(HEX[usize::from(byte & 0xf)]));
            }
        }
    }
}

fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (hex, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(byte);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(labels: &[&[u8]]) -> Vec<u8> {
        let mut wire = Vec::new();
        for label in labels {
            wire.push(u8::try_from(label.len()).unwrap());
            wire.extend_from_slice(label);
        }
        wire.push(0);
        wire
    }

    #[test]
    fn owner_is_written_from_the_top_down_in_lower_case() {
        let root = Id::random();
        let key = record_set(root, &wire(&[b"WWW", b"Example", b"net"]), "A");
        assert_eq!(key, format!("/flashdns/rr/{root}/net.example.www/A"));
    }

    #[test]
    fn separators_inside_a_label_are_escaped() {
        let root = Id::random();
        let one = record_set(root, &wire(&[b"a.b/c%", b"x"]), "A");
        assert_eq!(one, format!("/flashdns/rr/{root}/x.a%2eb%2fc%25/A"));
        assert_eq!(zone(&wire(&[b"0/25", b"Arpa"])), "/flashdns/zones/0%2f25.arpa.");
    }

    #[test]
    fn idempotency_ids_that_differ_in_case_are_different() {
        let zone = Id::random();
        assert_ne!(answer(zone, "a"), answer(zone, "A"));
    }

    proptest! {
        #[test]
        fn every_owner_is_read_back_from_its_key(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 1..10),
        ) {
            let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
            let owner = wire(&labels);
            let root = Id::random();
            let key = record_set(root, &owner, "TYPE1234");
            let parsed = parse_row(&key).unwrap();
            prop_assert_eq!(parsed.owner, owner.to_ascii_lowercase());
            prop_assert_eq!((parsed.root, parsed.mnemonic), (root, "TYPE1234"));
        }

        #[test]
        fn no_text_makes_the_parser_panic(key in "(/flashdns/rr/)?[0-9a-f%./A-Z-]{0,60}") {
            let _parsed = parse_row(&key);
        }
    }
}
