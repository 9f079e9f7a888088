//! Laws that hold for all zones and all texts.

use flashdns_core::{Catalog, Change, Name, RrSet, Transport, Zone, present, rtype};
use proptest::prelude::*;

use crate::ask::{HEAD, query, reply};

const TYPES: [(&str, &str); 7] = [
    ("A", "192.0.2.1"),
    ("TXT", "text"),
    ("CNAME", "b.a"),
    ("NS", "ns.a"),
    ("DNAME", "c"),
    ("MX", "10 a.b"),
    ("DS", "1 13 2 00"),
];

fn apex() -> Name {
    "example".parse().unwrap()
}

fn owner() -> impl Strategy<Value = Name> {
    prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "*"]), 1..4)
        .prop_map(|labels| Name::parse(&format!("{}.example", labels.join("."))).unwrap())
}

fn change() -> impl Strategy<Value = Change> {
    (owner(), prop::sample::select(TYPES.to_vec()), any::<bool>(), 1..3u32).prop_map(
        |(owner, (rtype, data), put, ttl)| {
            let rtype = present::parse_type(rtype).unwrap();
            let data = vec![present::parse_data(rtype, data, &apex()).unwrap()];
            if put { Change::Put(RrSet { owner, rtype, ttl, data }) } else { Change::Delete { owner, rtype } }
        },
    )
}

fn start() -> Vec<RrSet> {
    present::parse_file(HEAD, &apex()).unwrap().sets
}

/// The zone that the changes lead to, built from nothing.
fn rebuilt(changes: &[Change]) -> Zone {
    let mut sets = start();
    for change in changes {
        sets.retain(|set| set.owner != *change.owner() || set.rtype != change.rtype());
        if let Change::Put(set) = change {
            sets.push(set.clone());
        }
    }
    Zone::compile(apex(), sets).unwrap()
}

/// The zone that the changes lead to, changed step by step, sometimes merged.
fn edited(changes: &[Change], step: usize, merge_every: usize) -> Zone {
    let mut zone = Zone::compile(apex(), start()).unwrap();
    for (index, changes) in changes.chunks(step).enumerate() {
        zone = zone.with_changes(changes).unwrap();
        if index % merge_every == 0 {
            zone = zone.merged();
        }
    }
    zone
}

fn answers(zone: Zone, names: &[Name]) -> Vec<Option<Vec<u8>>> {
    let catalog: Catalog = [std::sync::Arc::new(zone)].into_iter().collect();
    let questions =
        names.iter().flat_map(|name| ["A", "TXT", "NS", "DS", "ANY"].map(|rtype| format!("{name} {rtype}")));
    questions.map(|question| reply(&catalog, &query(&question), Transport::Tcp)).collect()
}

fn sorted(zone: &Zone) -> Vec<RrSet> {
    let mut sets: Vec<RrSet> = zone.rrsets().collect();
    sets.sort_by_key(|set| (set.owner.clone(), set.rtype));
    sets
}

/// A name of any octets.
fn any_name() -> impl Strategy<Value = Vec<u8>> {
    let label = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..20),
        prop::sample::select(vec![&b"@"[..], b"*", b"a.b", b"\\", b"\"", b";", b"(", b" "])
            .prop_map(<[u8]>::to_vec)
    ];
    prop::collection::vec(label, 0..5).prop_map(|labels| {
        let mut wire: Vec<u8> =
            labels.iter().flat_map(|label| [&[label.len() as u8][..], label].concat()).collect();
        wire.push(0);
        wire
    })
}

/// Data of some type; not all of it is well-formed.
fn any_data() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let octets = |size| prop::collection::vec(any::<u8>(), size);
    let named = (prop::sample::select(vec![2u16, 5, 12, 39]), any_name());
    let with_head = |rtype: u16, head| {
        (octets(head), any_name()).prop_map(move |(head, name)| (rtype, [head, name].concat()))
    };
    let strings = prop::collection::vec(octets(0..256), 1..4).prop_map(|strings| {
        (rtype::TXT, strings.iter().flat_map(|s| [&[s.len() as u8][..], s].concat()).collect())
    });
    let caa = (any::<u8>(), "[a-z]{1,8}", octets(0..40)).prop_map(|(flags, tag, value)| {
        (rtype::CAA, [&[flags, tag.len() as u8], tag.as_bytes(), &value].concat())
    });
    let soa = (any_name(), any_name(), octets(20..21)).prop_map(|(a, b, c)| (rtype::SOA, [a, b, c].concat()));
    let raw = (any::<u16>(), octets(0..60));
    prop_oneof![named, with_head(rtype::MX, 2..3), with_head(rtype::SRV, 6..7), strings, caa, soa, raw]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn edited_zone_answers_as_if_it_had_been_built_anew(
        changes in prop::collection::vec(change(), 1..25),
        asked in prop::collection::vec(owner(), 1..6),
        step in 1..5usize,
        merge_every in 1..5usize,
    ) {
        let (edited, rebuilt) = (edited(&changes, step, merge_every), rebuilt(&changes));
        prop_assert_eq!(sorted(&edited), sorted(&rebuilt));
        prop_assert_eq!(edited.rrset_count(), rebuilt.rrset_count());
        let mut names: Vec<Name> = changes.iter().map(|change| change.owner().clone()).collect();
        names.extend(asked);
        prop_assert_eq!(answers(edited, &names), answers(rebuilt, &names));
    }

    #[test]
    fn exported_zone_is_imported_as_it_was(changes in prop::collection::vec(change(), 1..25)) {
        let zone = rebuilt(&changes);
        let mut text = String::new();
        present::export(&zone, &mut text).unwrap();
        prop_assert_eq!(present::parse_file(&text, &apex()).unwrap().sets, sorted(&zone));
    }

    #[test]
    fn printed_data_reads_back_as_the_same_octets((rtype, data) in any_data()) {
        let text = present::data_text(rtype, &data);
        if present::data_is_valid(rtype, &data) {
            let read = present::parse_data(rtype, &text, &apex());
            prop_assert_eq!(read.as_deref(), Ok(&data[..]), "{}", text);
        }
    }

    #[test]
    fn exported_record_sets_read_back_from_a_file((rtype, data) in any_data(), name in any_name()) {
        let name = [&name[..name.len() - 1], apex().as_wire()].concat();
        prop_assume!(rtype::is_data(rtype) && present::data_is_valid(rtype, &data));
        let set = RrSet { owner: Name::from_wire(&name).unwrap(), rtype, ttl: 7, data: vec![data.into()] };
        let text = present::set_lines(&set);
        prop_assert_eq!(present::parse_file(&text, &apex()).map(|file| file.sets), Ok(vec![set]), "{}", text);
    }

    #[test]
    fn no_text_makes_a_parser_panic(text in "([a-z@.*\\\\\"()$; \t\n0-9#-]|\\PC|IN|TXT|A|\\$ORIGIN|\\$TTL|\\\\# ){0,60}") {
        let _read = present::parse_file(&text, &apex());
        let _read = present::parse_type(&text);
        for (rtype, _) in TYPES {
            let _read = present::parse_data(present::parse_type(rtype).unwrap(), &text, &apex());
        }
        let _read = Name::parse_in(&text, &apex());
    }

    #[test]
    fn every_name_reads_back_from_its_text(wire in any_name()) {
        let name = Name::from_wire(&wire).unwrap();
        let again = Name::parse(&name.to_string()).unwrap();
        prop_assert_eq!(again.as_wire(), name.as_wire());
    }

    #[test]
    fn names_are_in_canonical_order(a in any_name(), b in any_name()) {
        let key = |wire: &[u8]| {
            let name = Name::from_wire(wire).unwrap();
            let mut labels: Vec<Vec<u8>> = name.labels().map(<[u8]>::to_ascii_lowercase).collect();
            labels.reverse();
            labels
        };
        let (left, right) = (Name::from_wire(&a).unwrap(), Name::from_wire(&b).unwrap());
        prop_assert_eq!(left.cmp(&right), key(&a).cmp(&key(&b)));
    }
}
