//! Sets of zones, and batches of queries.

use std::sync::Arc;

use flashdns_core::{Catalog, Change, Lookahead, Name, Transport};

use crate::ask::{catalog, query, reply, show, with_edns, zone};

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

/// The response code that the apex of each zone is answered with.
fn rcodes(catalog: &Catalog, names: &[&str]) -> Vec<String> {
    let ask = |name: &&str| show(&reply(catalog, &query(&format!("{name} SOA")), Transport::Tcp).unwrap());
    names.iter().map(ask).map(|shown| shown.lines().next().unwrap().to_owned()).collect()
}

#[test]
fn zones_come_and_go_without_a_trace_in_the_catalog_before() {
    let empty = Catalog::default();
    let one = empty.with_zone(Arc::new(zone("example", "")));
    let two = one.with_zone(Arc::new(zone("a.Example", "")));
    let replaced = two.with_zone(Arc::new(zone("EXAMPLE", "www A 192.0.2.1\n")));
    let gone = replaced.without_zone(&name("A.example")).without_zone(&name("nope"));
    let lengths =
        [&empty, &one, &two, &replaced, &gone].map(|catalog| (catalog.len(), catalog.zones().count()));
    assert_eq!(lengths, [(0, 0), (1, 1), (2, 2), (2, 2), (1, 1)]);
    assert!(empty.is_empty() && !gone.is_empty());
    assert_eq!(rcodes(&one, &["example", "a.example"]), ["NOERROR aa", "NXDOMAIN aa"]);
    assert_eq!(rcodes(&two, &["example", "a.example"]), ["NOERROR aa", "NOERROR aa"]);
    assert_eq!(rcodes(&gone, &["www.example", "a.example"]), ["NOERROR aa", "NXDOMAIN aa"]);
    assert_eq!(rcodes(&gone.without_zone(&name("example")), &["example"]), ["REFUSED"]);
    assert!(two.zone(&name("A.EXAMPLE")).is_some() && gone.zone(&name("a.example")).is_none());
}

#[test]
fn overlay_holds_what_changed_until_it_is_merged() {
    let change = |owner: &str| Change::Delete { owner: name(owner), rtype: 1 };
    let before = zone("example", "a A 192.0.2.1\nb A 192.0.2.2\n");
    let after = before.with_changes(&[change("a.example"), change("nope.example")]).unwrap();
    assert_eq!((before.rrset_count(), after.rrset_count()), (5, 4));
    // The apex is always in it; what never was is not.
    assert_eq!((before.overlay_len(), after.overlay_len(), after.merged().overlay_len()), (0, 2, 0));
    assert_eq!(after.merged().rrsets().count(), 4);
    assert_eq!((before.serial(), after.name()), (1, &name("example")));
}

#[test]
fn batch_answers_as_one_by_one() {
    let catalog = catalog(&[("example", "www A 192.0.2.1\n*.w TXT x\n"), ("org", "")]);
    let questions = ["www.example A", "no.example A", "q.w.example TXT", "org NS", "net A"];
    let mut packets: Vec<Vec<u8>> = questions.map(query).to_vec();
    packets.extend(questions.map(|question| with_edns(query(question), 4096, 0)));
    packets.push(b"no query".to_vec());
    let mut ahead = Lookahead::new(packets.len());
    for _ in 0..2 {
        ahead.read(&catalog, packets.iter().map(Vec::as_slice));
        for (index, packet) in packets.iter().enumerate() {
            let mut out = vec![0; 65_535];
            let length = ahead.answer(&catalog, index, packet, Transport::Tcp, &mut out);
            assert_eq!(length.map(|length| out[..length].to_vec()), reply(&catalog, packet, Transport::Tcp));
        }
        packets.reverse();
    }
}

#[test]
fn batch_knows_nothing_of_the_one_before() {
    let catalog = catalog(&[("example", "")]);
    let packet = query("example SOA");
    let mut out = [0; 512];
    let mut ahead = Lookahead::new(2);
    ahead.read(&catalog, [&packet[..], &packet, &packet]);
    let mut answered = |ahead: &Lookahead| {
        [0, 1, 2].map(|index| ahead.answer(&catalog, index, &packet, Transport::Tcp, &mut out).is_some())
    };
    assert_eq!(answered(&ahead), [true, true, false]);
    ahead.read(&catalog, [&packet[..]]);
    assert_eq!(answered(&ahead), [true, false, false]);
}
