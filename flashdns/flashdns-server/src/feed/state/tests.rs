//! Following revisions and listing anew have to lead to the same zones, whatever happened in which order.

use std::collections::BTreeMap;

use bytes::Bytes;
use flashdns_core::RrSet;
use proptest::prelude::*;

use super::*;
use crate::{editor::ZoneName, metadata::encode, metadata::records::SoaRecord};

/// The records of a store, and the revisions that made them.
#[derive(Debug, Default)]
struct Store {
    records: BTreeMap<String, Record>,
    version: u64,
    pending: BTreeMap<String, Option<Bytes>>,
    /// The generation of each zone, and the one that it will have next.
    roots: [Option<Id>; 2],
    next: [Option<Id>; 2],
}

fn zone_name(zone: usize) -> ZoneName {
    text::zone_name(["one.example", "two.example"][zone]).unwrap()
}

fn soa() -> SoaRecord {
    SoaRecord {
        primary: "ns1.one.example.".to_owned(),
        mailbox: "h.one.example.".to_owned(),
        refresh_s: 1,
        retry_s: 2,
        expire_s: 3,
        minimum_s: 4,
        ttl_s: 5,
    }
}

fn zone_record(name: &ZoneName, root: Id, serial: u32) -> ZoneRecord {
    ZoneRecord {
        name: name.text.clone(),
        id: root,
        root,
        serial,
        soa: soa(),
        record_sets: 1,
        created_unix_ms: 1,
        change_seq: 1,
    }
}

impl Store {
    fn put(&mut self, key: String, value: Bytes) {
        self.pending.insert(key, Some(value));
    }

    fn delete(&mut self, key: String) {
        if self.records.contains_key(&key) {
            self.pending.insert(key, None);
        }
    }

    fn put_zone(&mut self, zone: usize, renewed: bool, serial: u32) {
        let name = zone_name(zone);
        let next = self.next[zone].take();
        let root = match self.roots[zone].filter(|_| !renewed) {
            Some(root) => root,
            None => next.unwrap_or_else(Id::random),
        };
        self.roots[zone] = Some(root);
        self.put(name.key(), encode(&zone_record(&name, root, serial)).unwrap());
    }

    fn drop_zone(&mut self, zone: usize) {
        self.roots[zone] = None;
        self.delete(zone_name(zone).key());
    }

    /// A row of the generation that the zone has, or will have; `data` 0 deletes it.
    fn row(&mut self, zone: usize, staged: bool, owner: usize, data: u8) {
        let next = *self.next[zone].get_or_insert_with(Id::random);
        let root = self.roots[zone].filter(|_| !staged).unwrap_or(next);
        let name =
            [".one.example.", "a.b.one.example.", "*.two.example.", "two.example.", "x.elsewhere."][owner];
        let name = name.trim_start_matches('.');
        let (wire, rtype) = (Name::parse(name).unwrap(), ["A", "TXT"][usize::from(data % 2)]);
        let key = keys::record_set(root, wire.as_wire(), rtype);
        if data == 0 {
            return self.delete(key);
        }
        let data = if rtype == "A" { format!("192.0.2.{data}") } else { format!("\"{data}\"") };
        let set =
            RecordSetRecord { name: name.to_owned(), rtype: rtype.to_owned(), ttl_s: 9, data: vec![data] };
        self.put(key, encode(&set).unwrap());
    }

    /// Everything since the last revision, as one.
    fn revision(&mut self) -> Revision {
        self.version += 1;
        let version = Version(self.version);
        let mut events = Vec::new();
        for (key, value) in std::mem::take(&mut self.pending) {
            let before = match value.clone() {
                Some(value) => self.records.insert(key.clone(), Record { key: key.clone(), value, version }),
                None => self.records.remove(&key),
            };
            events.push(Event { key, value, previous: before.map_or(Version(0), |record| record.version) });
        }
        Revision { version, events }
    }

    /// What a list of the store leads to.
    fn listed(&self) -> State {
        let mut loading = Loading::default();
        self.records.values().cloned().for_each(|record| loading.add(record));
        loading.finish(Version(self.version))
    }
}

/// What is served, in a form that can be compared.
fn served(state: &State) -> BTreeMap<String, Vec<RrSet>> {
    let sets = |zone: &Arc<Zone>| {
        let mut sets: Vec<RrSet> = zone.rrsets().collect();
        sets.sort_by(|one, other| (&one.owner, one.rtype).cmp(&(&other.owner, other.rtype)));
        sets
    };
    state.catalog().zones().map(|zone| (zone.name().to_string(), sets(zone))).collect()
}

fn assert_same(followed: &State, listed: &State) {
    assert_eq!(served(followed), served(listed));
    let statuses = |state: &State| state.statuses().into_iter().collect::<BTreeMap<_, _>>();
    assert_eq!(statuses(followed), statuses(listed));
}

#[derive(Debug, Clone)]
enum Step {
    PutZone { zone: usize, renewed: bool },
    DropZone { zone: usize },
    Row { zone: usize, staged: bool, owner: usize, data: u8 },
    Commit,
    Merge,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2_usize, prop::bool::weighted(0.3)).prop_map(|(zone, renewed)| Step::PutZone { zone, renewed }),
        1 => (0..2_usize).prop_map(|zone| Step::DropZone { zone }),
        6 => (0..2_usize, any::<bool>(), 0..5_usize, 0..6_u8)
            .prop_map(|(zone, staged, owner, data)| Step::Row { zone, staged, owner, data }),
        4 => Just(Step::Commit),
        1 => Just(Step::Merge),
    ]
}

proptest! {
    #[test]
    fn following_leads_to_what_listing_leads_to(steps in prop::collection::vec(step(), 1..60)) {
        let (mut store, mut followed) = (Store::default(), State::default());
        let mut merges = Vec::new();
        for (serial, step) in (1..).zip(steps) {
            match step {
                Step::PutZone { zone, renewed } => store.put_zone(zone, renewed, serial),
                Step::DropZone { zone } => store.drop_zone(zone),
                Step::Row { zone, staged, owner, data } => store.row(zone, staged, owner, data),
                Step::Commit => {
                    let revision = store.revision();
                    let touched = followed.apply(&revision);
                    for (key, status) in touched {
                        prop_assert_eq!(status, followed.status(&key));
                    }
                }
                Step::Merge => match merges.pop() {
                    None => merges = followed.force_merges(),
                    Some(merge) => followed.finish_merge(Merge::run(merge)),
                },
            }
        }
        followed.apply(&store.revision());
        assert_same(&followed, &store.listed());
        merges.into_iter().for_each(|merge| followed.finish_merge(merge.run()));
        assert_same(&followed, &store.listed());
    }
}

impl State {
    /// As if every overlay had grown.
    fn force_merges(&mut self) -> Vec<Merge> {
        let zones = self.zones.iter_mut();
        let begun =
            zones.filter_map(|(key, zone)| Some(Merge { key: key.clone(), zone: zone.force_merge()? }));
        begun.collect()
    }
}

fn one_zone() -> (Store, State) {
    let (mut store, mut state) = (Store::default(), State::default());
    store.put_zone(0, false, 1);
    store.row(0, false, 1, 2);
    state.apply(&store.revision());
    (store, state)
}

fn problem(state: &State) -> Option<String> {
    state.status(&zone_name(0).key()).and_then(|status| status.problem)
}

#[test]
fn row_that_cannot_be_read_is_told_and_the_zone_keeps_what_it_had() {
    let (mut store, mut state) = one_zone();
    let before = served(&state);
    let key =
        keys::record_set(store.roots[0].unwrap(), Name::parse("a.b.one.example").unwrap().as_wire(), "A");
    store.put(key.clone(), Bytes::from_static(b"{}"));
    state.apply(&store.revision());
    assert_eq!(served(&state), before);
    assert!(problem(&state).unwrap().contains(&key));
    store.row(0, false, 1, 4);
    state.apply(&store.revision());
    assert_eq!(problem(&state), None);
    assert_ne!(served(&state), before);
}

#[test]
fn zone_that_cannot_be_read_is_told_and_keeps_what_it_had() {
    let (mut store, mut state) = one_zone();
    let before = served(&state);
    store.put(zone_name(0).key(), Bytes::from_static(b"{}"));
    state.apply(&store.revision());
    assert_eq!(served(&state), before);
    assert!(problem(&state).is_some());
    store.put_zone(0, false, 2);
    state.apply(&store.revision());
    assert_eq!(problem(&state), None);
}

#[test]
fn row_under_another_ones_key_is_not_served() {
    let (mut store, mut state) = one_zone();
    let key =
        keys::record_set(store.roots[0].unwrap(), Name::parse("other.one.example").unwrap().as_wire(), "A");
    let (_, record) = text::record_set(&zone_name(0), "www", "A", 1, &["192.0.2.1".to_owned()]).unwrap();
    store.put(key, encode(&record).unwrap());
    state.apply(&store.revision());
    assert_eq!(served(&state).values().map(Vec::len).sum::<usize>(), 2);
    assert!(problem(&state).unwrap().contains("another key"));
}

#[test]
fn one_set_that_is_refused_holds_back_no_other() {
    let (mut store, mut state) = one_zone();
    store.row(0, false, 4, 2);
    store.row(0, false, 0, 2);
    state.apply(&store.revision());
    assert_eq!(served(&state).values().map(Vec::len).sum::<usize>(), 3);
    assert!(problem(&state).unwrap().contains("x.elsewhere."), "{:?}", problem(&state));
    assert_same(&state, &store.listed());
    store.row(0, false, 4, 0);
    store.delete(keys::record_set(
        store.roots[0].unwrap(),
        Name::parse("x.elsewhere").unwrap().as_wire(),
        "A",
    ));
    state.apply(&store.revision());
    assert_eq!(problem(&state), None);
}

#[test]
fn checkpoint_brings_back_what_was_served() {
    let (mut store, mut state) = one_zone();
    store.put_zone(1, false, 7);
    store.row(1, false, 3, 3);
    state.apply(&store.revision());
    let folder = tempfile::tempdir().unwrap();
    let shelf = crate::checkpoint::Shelf::open(folder.path()).unwrap();
    shelf.save_zones(state.version(), 1, &state.zones()).unwrap();
    let restored = State::restore(shelf.load().unwrap().unwrap());
    assert_eq!(served(&restored), served(&state));
    assert_eq!(restored.statuses(), state.statuses());
    assert_eq!(restored.version(), state.version());
}

#[test]
fn name_server_without_an_address_in_its_zone_is_lame() {
    let (mut store, mut state) = one_zone();
    let name = zone_name(0);
    let root = store.roots[0].unwrap();
    let servers = ["ns1".to_owned(), "ns.elsewhere.example.".to_owned()];
    let (owner, set) = text::record_set(&name, "@", "NS", 1, &servers).unwrap();
    store.put(keys::record_set(root, &owner, "NS"), encode(&set).unwrap());
    state.apply(&store.revision());
    assert_eq!(state.status(&name.key()).unwrap().lame, ["ns1.one.example."]);
    let (owner, set) = text::record_set(&name, "ns1", "AAAA", 1, &["2001:db8::1".to_owned()]).unwrap();
    store.put(keys::record_set(root, &owner, "AAAA"), encode(&set).unwrap());
    state.apply(&store.revision());
    assert_eq!(state.status(&name.key()).unwrap().lame, [""; 0]);
}
