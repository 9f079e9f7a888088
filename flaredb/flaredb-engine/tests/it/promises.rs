//! One example for each promise of the data model.

use bytes::Bytes;
use flaredb_engine::{EventLimits, NamespaceId, ReadError, ScanRange};
use flaredb_proto::v1::{
    CollectTombstones, CompactHistory, CreateNamespaceRequest, DeleteNamespaceRequest, KvDelete, KvPut,
    NamespaceMode, flare_request::Command, flare_response::Outcome, refused::Reason,
};

use crate::store::{Store, commit, delete, put};

const ONE: NamespaceId = NamespaceId(1);
const ALL: EventLimits = EventLimits { revisions_max: 1_000, bytes_max: 1 << 20 };

fn reason(outcome: &Outcome) -> Reason {
    match outcome {
        Outcome::Refused(refused) => refused.reason(),
        other => panic!("{other:?} is no refusal"),
    }
}

fn keys_at(store: &Store, revision: Option<u64>) -> Vec<(String, u64)> {
    let range = ScanRange { revision, ..ScanRange::default() };
    let page = store.region.scan(ONE, range).unwrap();
    page.records
        .iter()
        .map(|record| (String::from_utf8_lossy(&record.key).into_owned(), record.version))
        .collect()
}

#[test]
fn versions_never_repeat_not_even_after_delete_and_create() {
    let mut store = Store::strong();
    assert_eq!(store.apply(put("k", "a", 0)), Outcome::Done(1));
    assert_eq!(store.apply(delete("k", 1)), Outcome::Done(2));
    assert_eq!(store.apply(put("k", "b", 0)), Outcome::Done(3));
    assert!(matches!(store.apply(put("k", "c", 1)), Outcome::Conflicts(_)));
    assert_eq!(store.get("k"), Some(("b".to_owned(), 3)));
}

#[test]
fn absence_comes_with_a_revision_at_which_the_record_was_absent() {
    let mut store = Store::strong();
    let region = store.region.clone();
    std::thread::scope(|threads| {
        // It is there at odd revisions and absent at even ones.
        let changing = threads.spawn(move || {
            for revision in (1..4_000).step_by(2) {
                store.apply(put("k", "a", 0));
                store.apply(delete("k", revision));
            }
        });
        while !changing.is_finished() {
            match region.get(ONE, b"k").unwrap() {
                (Some(record), revision) => assert_eq!(record.version, revision),
                (None, revision) => assert!(revision.is_multiple_of(2), "absent at {revision}"),
            }
        }
    });
}

#[test]
fn failed_compare_reports_what_was_found_and_changes_nothing() {
    let mut store = Store::strong();
    store.apply(put("k", "a", 0));
    let Outcome::Conflicts(found) = store.apply(commit(&[("k", 7)], &[("k", Some("b")), ("l", None)], ""))
    else {
        panic!("it took effect")
    };
    let conflict = &found.conflicts[0];
    assert_eq!((conflict.expected, conflict.actual, &conflict.actual_value[..]), (7, 1, &b"a"[..]));
    assert_eq!(store.region.namespace("strong").unwrap().revision, 1);
}

#[test]
fn batch_has_one_revision_and_an_id_takes_effect_once() {
    let mut store = Store::strong();
    let batch = || commit(&[], &[("a", Some("1")), ("b", Some("2"))], "id");
    assert_eq!(store.apply(batch()), Outcome::Done(1));
    assert_eq!(store.apply_all(vec![batch(), put("c", "3", 0), batch()])[2], Outcome::Done(1));
    assert_eq!(store.get("a"), Some(("1".to_owned(), 1)));
    assert_eq!(store.region.namespace("strong").unwrap().revision, 2);
}

#[test]
fn scan_at_a_past_revision_sees_what_was_there_then() {
    let mut store = Store::strong();
    store.apply(put("a", "1", 0));
    store.apply(put("b", "1", 0));
    store.apply(delete("a", 1));
    store.apply(put("b", "2", 2));
    store.apply(put("a", "2", 0));
    assert_eq!(keys_at(&store, Some(2)), [("a".to_owned(), 1), ("b".to_owned(), 2)]);
    assert_eq!(keys_at(&store, Some(3)), [("b".to_owned(), 2)]);
    assert_eq!(keys_at(&store, None), [("a".to_owned(), 5), ("b".to_owned(), 4)]);
}

#[test]
fn forgotten_history_is_said_to_be_too_old_and_the_rest_stays_whole() {
    let mut store = Store::strong();
    for value in 0..5 {
        store.apply(put("a", "x", value));
    }
    store.apply(Command::CompactHistory(CompactHistory { namespace_id: 1, revision: 3 }));
    let events = store.region.events(ONE, b"", 3, ALL);
    assert!(matches!(events, Err(ReadError::TooOld { requested: 3, oldest: 4 })));
    assert_eq!(store.region.events(ONE, b"", 4, ALL).unwrap().revisions.len(), 2);
    assert_eq!(keys_at(&store, Some(3)), [("a".to_owned(), 3)]);
    let scan = store.region.scan(ONE, ScanRange { revision: Some(2), ..ScanRange::default() });
    assert!(matches!(scan, Err(ReadError::TooOld { .. })));
}

#[test]
fn events_are_whole_revisions_with_the_values_of_their_time() {
    let mut store = Store::strong();
    store.apply(commit(&[], &[("/a/1", Some("x")), ("/a/2", Some("y")), ("/b/1", Some("z"))], ""));
    store.apply(commit(&[], &[("/a/1", Some("later")), ("/a/2", None)], ""));
    let batch = store.region.events(ONE, b"/a/", 1, ALL).unwrap();
    let seen: Vec<_> = batch
        .revisions
        .iter()
        .map(|revision| {
            revision
                .events
                .iter()
                .map(|event| (event.value.clone(), event.previous_version))
                .collect::<Vec<_>>()
        })
        .collect();
    let value = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    let wanted: [Vec<(Option<Bytes>, u64)>; 2] =
        [vec![(value("x"), 0), (value("y"), 0)], vec![(value("later"), 1), (None, 1)]];
    assert_eq!(seen, wanted);
    assert_eq!(batch.next, 3);
}

#[test]
fn pages_end_where_the_prefix_does_also_at_its_highest_keys() {
    let mut store = Store::strong();
    for key in ["/fiberlb", "/fiberlb/a", "/fiberlb/\u{10ffff}", "/fiberlb2", "/fiberlb0"] {
        store.apply(put(key, "x", 0));
    }
    let end = flaredb_proto::prefix_end(b"/fiberlb/").map(Bytes::from);
    let range = ScanRange { start: "/fiberlb/".into(), end, limit: 1, ..ScanRange::default() };
    let first = store.region.scan(ONE, range.clone()).unwrap();
    assert_eq!(&first.records[0].key[..], b"/fiberlb/a");
    let second = store.region.scan(ONE, ScanRange { start: first.next.unwrap(), ..range }).unwrap();
    assert_eq!((second.records.len(), second.next), (1, None));
}

#[test]
fn operations_of_the_other_mode_and_keys_outside_the_prefix_are_refused() {
    let mut store = Store::strong();
    let raw = KvPut { namespace_id: 1, key: "k".into(), ..Default::default() };
    assert_eq!(reason(&store.apply(Command::KvPut(raw))), Reason::WrongMode);
    assert_eq!(reason(&store.create("strong", NamespaceMode::Eventual, "")), Reason::NamespaceExists);
    let mut store = Store::new();
    store.create("own", NamespaceMode::Strong, "/own/");
    assert_eq!(reason(&store.apply(put("/own2/x", "", 0))), Reason::OutsideKeyPrefix);
    assert_eq!(store.apply(put("/own/x", "", 0)), Outcome::Done(1));
}

#[test]
fn quota_refuses_growth_and_nothing_else() {
    let mut store = Store::new();
    store.apply(Command::CreateNamespace(CreateNamespaceRequest {
        name: "small".to_owned(),
        mode: NamespaceMode::Strong.into(),
        keys_max: 2,
        bytes_max: 10,
        ..Default::default()
    }));
    store.apply(put("a", "1234", 0));
    assert_eq!(reason(&store.apply(put("b", "12345678", 0))), Reason::QuotaExceeded);
    store.apply(put("b", "1234", 0));
    assert_eq!(reason(&store.apply(put("c", "", 0))), Reason::QuotaExceeded);
    assert_eq!(store.apply(put("a", "1", 1)), Outcome::Done(3));
    assert_eq!(store.region.namespace("small").unwrap().bytes, 7);
}

#[test]
fn namespace_made_again_goes_on_counting_where_the_old_one_ended() {
    let mut store = Store::strong();
    store.apply(put("k", "old", 0));
    let gone = Command::DeleteNamespace(DeleteNamespaceRequest { name: "strong".to_owned() });
    store.apply(gone);
    let Outcome::Namespace(again) = store.create("strong", NamespaceMode::Strong, "") else { panic!() };
    assert_eq!((again.id, again.revision, again.oldest_revision), (2, 1, 2));
    assert!(store.region.get(NamespaceId(2), b"k").unwrap().0.is_none());
    assert_eq!(reason(&store.apply(put("k", "x", 0))), Reason::NoSuchNamespace);
}

#[test]
fn eventual_writes_commute_and_deletes_stay_dead() {
    let write = |ts, origin, value: Option<&'static str>| match value {
        Some(value) => {
            Command::KvPut(KvPut { namespace_id: 1, key: "k".into(), value: value.into(), ts, origin })
        }
        None => Command::KvDelete(KvDelete { namespace_id: 1, key: "k".into(), ts, origin }),
    };
    let writes = [(5, 1, Some("a")), (5, 2, Some("b")), (7, 1, None), (6, 9, Some("late"))];
    let mut hashes = Vec::new();
    for turn in 0..writes.len() {
        let mut store = Store::eventual();
        for (ts, origin, value) in writes.iter().cycle().skip(turn).take(writes.len()) {
            store.apply(write(*ts, *origin, *value));
        }
        assert_eq!(store.region.raw_get(ONE, b"k").unwrap(), None);
        assert_eq!(store.region.namespace("eventual").unwrap().keys, 0);
        hashes.push(store.region.state_hash().unwrap());
    }
    assert!(hashes.windows(2).all(|pair| pair[0] == pair[1]));
}

fn tombstone(key: &str, ts: u64) -> Command {
    Command::KvDelete(KvDelete { namespace_id: 1, key: key.to_owned().into(), ts, origin: 0 })
}

fn raw_put(key: &str, ts: u64) -> Command {
    let (key, value) = (key.to_owned().into(), Bytes::from_static(b"v"));
    Command::KvPut(KvPut { namespace_id: 1, key, value, ts, origin: 0 })
}

#[test]
fn only_old_tombstones_are_collected() {
    let mut store = Store::eventual();
    store.apply_all(vec![tombstone("a", 1), tombstone("b", 9), raw_put("c", 2)]);
    let found = store.region.old_tombstones(ONE, 5, b"").unwrap();
    assert_eq!((found.keys, found.next), (vec![Bytes::from_static(b"a")], None));
    let keys = ["a", "b", "c", "d"].map(|key| Bytes::from_static(key.as_bytes())).to_vec();
    let collect = Command::CollectTombstones(CollectTombstones { namespace_id: 1, before_ts: 5, keys });
    assert_eq!(store.apply(collect), Outcome::Done(1));
    assert!(store.region.raw_get(ONE, b"c").unwrap().is_some());
}

#[test]
fn write_that_is_older_than_a_collected_tombstone_does_not_come_back() {
    let mut store = Store::eventual();
    store.apply(tombstone("a", 3));
    let keys = vec![Bytes::from_static(b"a")];
    store.apply(Command::CollectTombstones(CollectTombstones { namespace_id: 1, before_ts: 5, keys }));
    assert_eq!(reason(&store.apply(raw_put("a", 2))), Reason::StaleTs);
    assert_eq!(store.region.raw_get(ONE, b"a").unwrap(), None);
    assert_eq!(store.apply(raw_put("a", 5)), Outcome::Done(5));
}

#[test]
fn pages_among_many_deleted_records_are_bounded_and_lead_on() {
    let mut store = Store::eventual();
    store.apply_all((0..10_500).map(|number| tombstone(&format!("a{number:05}"), 1)).collect());
    store.apply(raw_put("b", 1));
    let first = store.region.raw_scan(ONE, b"", None, 0).unwrap();
    assert!(first.records.is_empty());
    let second = store.region.raw_scan(ONE, &first.next.unwrap(), None, 0).unwrap();
    assert_eq!((second.records.len(), second.next), (1, None));
    let some = store.region.old_tombstones(ONE, 2, b"").unwrap();
    assert_eq!((some.keys.len(), some.next), (1_000, Some(Bytes::from_static(b"a01000"))));
}
