//! Asks zones that are given as text, and shows replies as text.

use std::sync::Arc;

use domain::{
    base::{
        Message, ParsedName, Rtype,
        zonefile_fmt::{DisplayKind, ZonefileFmt as _},
    },
    rdata::AllRecordData,
};
use flashdns_core::{Catalog, Name, Transport, Zone, answer, present};

/// What every zone of these tests begins with. Negative answers live for 60 seconds.
pub(crate) const HEAD: &str = "$TTL 300\n@ 3600 SOA ns host 1 2 3 4 60\n@ NS ns\nns A 192.0.2.53\n";

/// The negative answer's SOA in zone `example.`, as [`show`] shows it.
pub(crate) const SOA: &str = "aut example. 60 SOA ns.example. host.example. 1 2 3 4 60";

/// The zone called `name` with [`HEAD`] and `text`.
pub(crate) fn zone(name: &str, text: &str) -> Zone {
    let name: Name = name.parse().unwrap();
    let file = present::parse_file(&format!("{HEAD}{text}"), &name).unwrap();
    Zone::compile(name, file.sets).unwrap()
}

/// Several zones by name.
pub(crate) fn catalog(zones: &[(&str, &str)]) -> Catalog {
    zones.iter().map(|(name, text)| Arc::new(zone(name, text))).collect()
}

/// A query without EDNS for `NAME TYPE`.
pub(crate) fn query(question: &str) -> Vec<u8> {
    let (name, rtype) = question.split_once(' ').unwrap();
    let rtype: Rtype = rtype.parse().unwrap();
    let mut packet = vec![0xab, 0xcd, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend_from_slice(name.parse::<Name>().unwrap().as_wire());
    packet.extend_from_slice(&rtype.to_int().to_be_bytes());
    packet.extend_from_slice(&[0, 1]);
    packet
}

/// The same query with EDNS.
pub(crate) fn with_edns(mut query: Vec<u8>, payload: u16, version: u8) -> Vec<u8> {
    query[11] += 1;
    query.extend_from_slice(&[0, 0, 41]);
    query.extend_from_slice(&payload.to_be_bytes());
    query.extend_from_slice(&[0, version, 0, 0, 0, 0]);
    query
}

/// The reply to a packet.
pub(crate) fn reply(catalog: &Catalog, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
    let mut out = vec![0; 65_535];
    let length = answer(catalog, packet, transport, &mut out)?;
    out.truncate(length);
    Some(out)
}

/// A reply as lines: response code and flags, then the records of each section, OPT left out.
pub(crate) fn show(reply: &[u8]) -> String {
    let message = Message::from_octets(reply).unwrap();
    let header = message.header();
    let mut lines = vec![format!("{}", header.rcode())];
    for (flag, name) in [(header.aa(), " aa"), (header.tc(), " tc")] {
        lines[0].push_str(if flag { name } else { "" });
    }
    let (_, answers, authority, additional) = message.sections().unwrap();
    for (name, section) in [("ans", answers), ("aut", authority), ("add", additional)] {
        for record in section {
            let record = record.unwrap().to_any_record::<AllRecordData<_, ParsedName<_>>>().unwrap();
            if record.rtype() != Rtype::OPT {
                let (owner, ttl) = (record.owner(), record.ttl().as_secs());
                let data = record.data().display_zonefile(DisplayKind::Simple);
                lines.push(format!("{name} {owner}. {ttl} {} {data}", record.rtype()));
            }
        }
    }
    lines.join("\n")
}

/// Asks over TCP, so that nothing is cut, and compares the reply line by line.
pub(crate) fn check_all(zones: &[(&str, &str)], question: &str, expected: &[&str]) {
    let reply = reply(&catalog(zones), &query(question), Transport::Tcp).unwrap();
    assert_eq!(show(&reply), expected.join("\n"), "{question}");
}

/// As [`check_all`], for one zone called `example.`.
pub(crate) fn check(text: &str, question: &str, expected: &[&str]) {
    check_all(&[("example", text)], question, expected);
}
