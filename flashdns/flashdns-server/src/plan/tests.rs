//! Plans by example, and what holds of every one.

use proptest::prelude::*;

use super::*;
use crate::{
    editor::ZoneName,
    metadata::{decode_value, records::Id},
    text,
};

fn name() -> ZoneName {
    text::zone_name("example.org").unwrap()
}

fn author() -> Author {
    Author { actor: "ada".to_owned(), comment: "why".to_owned(), at_unix_ms: 5 }
}

fn set(owner: &str, rtype: &str, data: &[&str]) -> SetChange {
    let texts: Vec<String> = data.iter().map(|text| (*text).to_owned()).collect();
    let (wire, text) = text::owner(&name(), owner).unwrap();
    let set = match data {
        [] => RecordSetRecord { name: text, rtype: rtype.to_owned(), ttl_s: 0, data: Vec::new() },
        _ => text::record_set(&name(), owner, rtype, 60, &texts).unwrap().1,
    };
    SetChange { owner: wire, set, precondition: Precondition::None }
}

fn basis(sets: &[SetChange]) -> Basis {
    let soa = SoaRecord {
        primary: "ns1.example.org.".to_owned(),
        mailbox: "h.example.org.".to_owned(),
        refresh_s: 1,
        retry_s: 2,
        expire_s: 3,
        minimum_s: 4,
        ttl_s: 5,
    };
    let zone = ZoneRecord {
        name: name().text,
        id: Id::random(),
        root: Id::random(),
        serial: 7,
        soa,
        record_sets: sets.len() as u64 + 1,
        created_unix_ms: 1,
        change_seq: 3,
    };
    let row = |change: &SetChange| {
        let key = keys::record_set(zone.root, &change.owner, &change.set.rtype);
        (key, Row { set: change.set.clone(), version: Version(11) })
    };
    let rows = sets.iter().map(row).collect();
    Basis { zone, version: Version(12), apex: name().wire, rows }
}

fn request(changes: Vec<SetChange>) -> Request {
    Request { changes, soa: None, expected: Version(0), author: author(), repeat: None }
}

/// The value that a plan puts under `key`.
fn put_in<E: metadata_store::Entity>(planned: &Planned, key: &str) -> E {
    let value = planned.writes.iter().find_map(|write| match write {
        Write::Put { key: written, value } if written == key => Some(value),
        _ => None,
    });
    decode_value(key, value.unwrap()).unwrap()
}

#[test]
fn change_is_one_commit_with_its_rows_its_serial_and_its_entry_in_the_log() {
    let basis = basis(&[set("@", "NS", &["ns1"]), set("old", "A", &["192.0.2.1"])]);
    let wanted = vec![set("old", "A", &[]), set("new", "A", &["192.0.2.2"])];
    let planned = plan(&basis, &request(wanted)).unwrap().unwrap();
    let zone: ZoneRecord = put_in(&planned, &name().key());
    assert_eq!((zone.serial, zone.change_seq, zone.record_sets), (8, 4, 3));
    let entry: ChangeRecord = put_in(&planned, &keys::change(zone.id, 4));
    assert_eq!((entry.serial, entry.actor.as_str(), entry.comment.as_str()), (8, "ada", "why"));
    assert_eq!((entry.removed.len(), entry.added.len()), (1, 1));
    assert_eq!((planned.writes.len(), planned.compares.len()), (4, 3));
    assert!(planned.compares.contains(&compare(name().key(), Version(12))));
}

#[test]
fn request_that_changes_nothing_is_no_plan() {
    let basis = basis(&[set("@", "NS", &["ns1"]), set("www", "A", &["192.0.2.1"])]);
    assert!(plan(&basis, &request(vec![set("www", "A", &["192.0.2.1"])])).unwrap().is_none());
    assert!(plan(&basis, &request(vec![set("gone", "A", &[])])).unwrap().is_none());
}

#[test]
fn rules_over_several_sets_hold_for_the_owner_as_it_will_be() {
    let basis = basis(&[set("@", "NS", &["ns1"]), set("www", "A", &["192.0.2.1"])]);
    let refused = |changes| plan(&basis, &request(changes)).unwrap_err();
    assert!(matches!(refused(vec![set("www", "CNAME", &["x"])]), Refused::NotAlone { .. }));
    assert!(matches!(refused(vec![set("@", "CNAME", &["x"])]), Refused::NotAlone { .. }));
    assert!(matches!(refused(vec![set("@", "NS", &[])]), Refused::NoNameServers { .. }));
    let exchanged = vec![set("www", "A", &[]), set("www", "CNAME", &["x"])];
    plan(&basis, &request(exchanged)).unwrap().unwrap();
}

#[test]
fn entry_that_does_not_fit_the_log_is_refused() {
    let texts: Vec<String> = (0..200).map(|number| format!("\"{number:0>240}\"")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let changes = (0..30).map(|number| set(&format!("n{number}"), "TXT", &texts)).collect();
    let refused = plan(&basis(&[set("@", "NS", &["ns1"])]), &request(changes)).unwrap_err();
    assert!(matches!(refused, Refused::TooLarge { .. }), "{refused}");
}

proptest! {
    #[test]
    fn next_serial_is_newer_and_never_0(serial: u32) {
        let next = next_serial(serial);
        prop_assert!(is_newer(next, serial) && next != 0);
        prop_assert!(!is_newer(serial, next) && !is_newer(serial, serial));
    }

    #[test]
    fn every_plan_depends_on_the_zone_and_on_all_that_it_writes(
        wanted in prop::collection::btree_map(0..6_u8, prop::option::of(0..4_u8), 1..6),
    ) {
        let data = |address: u8| format!("192.0.2.{address}");
        let there = [set("@", "NS", &["ns1"]), set("n0", "A", &[&data(0)]), set("n1", "A", &[&data(1)])];
        let basis = basis(&there);
        let change = |(owner, address): (u8, Option<u8>)| {
            let texts: Vec<String> = address.map(data).into_iter().collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            set(&format!("n{owner}"), "A", &texts)
        };
        let request = request(wanted.into_iter().map(change).collect());
        if let Some(planned) = plan(&basis, &request).unwrap() {
            let compared = |key: &str| planned.compares.iter().any(|compare| compare.key == key);
            prop_assert!(compared(&name().key()));
            for write in &planned.writes {
                prop_assert!(compared(write.key()) || write.key().starts_with(keys::LOG), "{}", write.key());
            }
            let entry: ChangeRecord = put_in(&planned, &keys::change(basis.zone.id, 4));
            let sets = 4 + entry.added.len() as u64 - entry.removed.len() as u64;
            prop_assert_eq!(planned.zone.record_sets, sets);
        }
    }
}
