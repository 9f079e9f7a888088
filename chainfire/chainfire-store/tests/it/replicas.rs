//! What other replicas get: entries a second time, and whole states.

use chainfire_proto::etcdserverpb::AuthUserAddRequest;
use chainfire_store::{
    Store,
    internal::{BeginTerm, Caller, command::Request},
};
use flaredb_engine::{Applied, Entry};

use crate::driver::{Driver, encode, put, put_with_lease};

/// A store with some of everything.
fn filled() -> Driver {
    let mut driver = Driver::new();
    driver.apply(Request::BeginTerm(BeginTerm { term: 3 }));
    driver.grant(7);
    driver.apply(put_with_lease("a", "1", 7));
    driver.put("b", "1");
    driver.put("b", "2");
    driver.apply(Request::UserAdd(AuthUserAddRequest { name: "alice".to_owned(), ..Default::default() }));
    driver
}

fn same(one: &Store, two: &Store) {
    assert_eq!(one.region().state_hash().unwrap(), two.region().state_hash().unwrap());
    assert_eq!(one.region().applied(), two.region().applied());
    assert_eq!(one.hash_kv(0).unwrap(), two.hash_kv(0).unwrap());
    assert_eq!(one.revision(), two.revision());
    assert_eq!(one.lease(7).unwrap(), two.lease(7).unwrap());
    assert!(one.auth().unwrap().users().eq(two.auth().unwrap().users()));
}

/// Brings the whole state of one store to another.
fn install(from: &Store, to: &Store) {
    let snapshot = from.region().snapshot().unwrap();
    let (mut install, mut cursor) = (to.region().install().unwrap(), Some(Vec::new()));
    while let Some(at) = cursor {
        let chunk = snapshot.read(&at, 64).unwrap();
        install.write(&chunk.data).unwrap();
        cursor = chunk.next;
    }
    install.finish(snapshot.applied().clone()).unwrap();
}

#[test]
fn snapshot_brings_everything() {
    let (from, mut to) = (filled(), Driver::new());
    to.put("other", "1");
    to.apply(Request::UserAdd(AuthUserAddRequest { name: "bob".to_owned(), ..Default::default() }));
    assert!(to.store.auth().unwrap().users().eq(["bob"]));
    install(&from.store, &to.store);
    same(&from.store, &to.store);
    assert!(to.get("other").is_none());
    let to = to.restart();
    same(&from.store, &to.store);
}

#[test]
fn replica_that_got_a_snapshot_goes_on_as_the_others_do() {
    let (mut from, mut to) = (filled(), Driver::new());
    install(&from.store, &to.store);
    to.index = from.index;
    for driver in [&mut from, &mut to] {
        driver.put("b", "3");
        driver.apply(put_with_lease("c", "1", 7));
    }
    same(&from.store, &to.store);
}

#[test]
fn entries_that_come_again_after_a_crash_are_applied_once() {
    let mut driver = filled();
    driver.store.region().flush().unwrap();
    let flushed = driver.index;
    driver.put("b", "3");
    driver.grant(8);
    let (revision, hash) = (driver.store.revision(), driver.store.region().state_hash().unwrap());
    // What was not flushed is gone, and comes again with what was.
    drop(driver.store);
    driver.store = crate::driver::open(driver.folder.path());
    let lost = driver.store.region().applied().index;
    assert!(lost >= flushed, "{lost}");
    let commands = [
        encode(&Caller::default(), put("b", "2")),
        encode(
            &Caller::default(),
            Request::UserAdd(AuthUserAddRequest { name: "alice".to_owned(), ..Default::default() }),
        ),
        encode(&Caller::default(), put("b", "3")),
        encode(
            &Caller::default(),
            Request::LeaseGrant(chainfire_proto::etcdserverpb::LeaseGrantRequest { id: 8, ttl: 10 }),
        ),
    ];
    let entries: Vec<_> =
        (5..).zip(&commands).map(|(index, command)| Entry { index, command: Some(command) }).collect();
    let applied = Applied { index: driver.index, host: "host".into() };
    let answers = driver.store.apply(&entries, applied).unwrap();
    let answered: Vec<bool> = answers.iter().map(|answer| !answer.is_empty()).collect();
    assert_eq!(answered, (5..9).map(|index| index > lost).collect::<Vec<_>>());
    assert_eq!((driver.store.revision(), driver.store.region().state_hash().unwrap()), (revision, hash));
}

#[test]
fn watchers_are_told_of_changes_and_of_installations() {
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };
    let (from, mut to) = (filled(), Driver::new());
    let told = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&told);
    to.store.set_listener(Box::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
    }));
    to.put("a", "1");
    assert_eq!(told.load(Ordering::Relaxed), 1);
    install(&from.store, &to.store);
    assert_eq!(told.load(Ordering::Relaxed), 2);
}
