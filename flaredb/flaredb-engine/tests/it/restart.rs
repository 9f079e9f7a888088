//! What a crash leaves, and what a snapshot carries.

use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use flaredb_engine::{Applied, Entry, NamespaceId, ReadError};
use flaredb_proto::v1::{
    CreateNamespaceRequest, NamespaceMode, RestoreRecords, flare_request::Command, flare_response::Outcome,
    refused::Reason,
};
use tempfile::TempDir;

use crate::store::{Store, commit, delete, encode, open, put};

fn history() -> Vec<Bytes> {
    let create = CreateNamespaceRequest {
        name: "n".to_owned(),
        mode: NamespaceMode::Strong.into(),
        ..Default::default()
    };
    [
        Command::CreateNamespace(create),
        put("a", "1", 0),
        put("a", "2", 1),
        commit(&[("a", 2)], &[("b", Some("x")), ("a", None)], "id"),
        delete("b", 3),
        put("c", "y", 0),
    ]
    .map(encode)
    .to_vec()
}

fn replay(region: &flaredb_engine::Region, commands: &[Bytes], from: u64) {
    for (index, command) in (1..).zip(commands).skip(usize::try_from(from).unwrap()) {
        let entry = Entry { index, command: Some(command) };
        region.apply(&[entry], Applied { index, host: Bytes::new() }).unwrap();
    }
}

/// The files as a power cut leaves them: closing the database would flush.
fn after_power_cut(folder: &TempDir) -> TempDir {
    let left = TempDir::new().unwrap();
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), left.path().join(file.file_name())).unwrap();
    }
    left
}

#[test]
fn flush_covers_what_a_snapshot_showed_before_it_although_others_write() {
    let mut store = Store::strong();
    let (region, stop) = (store.region.clone(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let flushing = scope.spawn(|| {
            for _ in 0..200 {
                let shown = region.snapshot().unwrap().applied().index;
                assert!(region.flush().unwrap() >= shown);
            }
            stop.store(true, Ordering::Relaxed);
        });
        while !stop.load(Ordering::Relaxed) && !flushing.is_finished() {
            store.apply(put("k", "v", 0));
        }
    });
}

#[test]
fn entries_applied_again_after_any_crash_leave_the_same_state() {
    let commands = history();
    let whole = TempDir::new().unwrap();
    let region = open(&whole);
    replay(&region, &commands, 0);
    let wanted = region.state_hash().unwrap();
    for flushed in 0..=commands.len() {
        let folder = TempDir::new().unwrap();
        let region = open(&folder);
        replay(&region, &commands[..flushed], 0);
        region.flush().unwrap();
        replay(&region, &commands, u64::try_from(flushed).unwrap());
        let left = after_power_cut(&folder);
        let region = open(&left);
        assert_eq!(region.flushed_index(), u64::try_from(flushed).unwrap());
        replay(&region, &commands, 0);
        assert_eq!(region.state_hash().unwrap(), wanted, "flushed at {flushed}");
    }
}

#[test]
fn installed_snapshot_is_the_same_state_however_small_its_chunks_are() {
    let mut source = Store::strong();
    for number in 0..50 {
        source.apply(put(&format!("key{number}"), &"v".repeat(number), 0));
    }
    let snapshot = source.region.snapshot().unwrap();
    source.apply(put("later", "not in it", 0));
    for bytes_max in [1, 100, 1 << 20] {
        let mut target = Store::eventual();
        target.create("to be replaced", NamespaceMode::Eventual, "");
        let mut install = target.region.install().unwrap();
        let mut cursor = Some(Vec::new());
        while let Some(at) = cursor {
            let chunk = snapshot.read(&at, bytes_max).unwrap();
            install.write(&chunk.data).unwrap();
            cursor = chunk.next;
        }
        install.finish(snapshot.applied().clone()).unwrap();
        assert_eq!(target.region.applied(), *snapshot.applied());
        assert_eq!(target.get("key49"), source.get("key49"));
        assert_eq!(target.get("later"), None);
        assert!(target.region.namespace("eventual").is_none());
    }
}

#[test]
fn crash_during_an_installation_leaves_an_empty_region() {
    let source = Store::strong();
    let chunk = source.region.snapshot().unwrap().read(&[], 1 << 20).unwrap();
    let mut target = Store::strong();
    target.apply(put("k", "v", 0));
    let mut install = target.region.install().unwrap();
    install.write(&chunk.data).unwrap();
    drop(install);
    assert!(matches!(target.region.get(NamespaceId(1), b"k"), Err(ReadError::Installing)));
    let folder = target.folder;
    drop(target.region);
    let region = open(&folder);
    assert_eq!((region.applied().index, region.namespaces().len()), (0, 0));
    assert!(region.get(NamespaceId(1), b"k").is_err());
}

#[test]
fn restored_rows_keep_versions_and_go_on_counting() {
    let mut source = Store::strong();
    source.apply(put("k", "v", 0));
    source.apply(put("k", "w", 1));
    let rows = source.region.snapshot().unwrap().read(&[], 1 << 20).unwrap().data;
    let mut target = Store::new();
    target.apply(restore(rows, true, true));
    assert_eq!(target.get("k"), Some(("w".to_owned(), 2)));
    target.apply(put("k", "x", 2));
    assert_eq!(target.get("k"), Some(("x".to_owned(), 3)));
}

fn restore(rows: Bytes, first: bool, last: bool) -> Command {
    Command::RestoreRecords(RestoreRecords { rows, last, first })
}

/// The chunks of a snapshot with one namespace of two records.
fn chunks() -> Vec<Bytes> {
    let mut source = Store::strong();
    source.apply(put("a", "v", 0));
    source.apply(put("b", "w", 0));
    let snapshot = source.region.snapshot().unwrap();
    let (mut chunks, mut cursor) = (Vec::new(), Some(Vec::new()));
    while let Some(at) = cursor {
        let chunk = snapshot.read(&at, 40).unwrap();
        chunks.push(chunk.data);
        cursor = chunk.next;
    }
    assert!(chunks.len() > 2);
    chunks
}

fn refusal(outcome: &Outcome) -> Option<Reason> {
    if let Outcome::Refused(refused) = outcome { Some(refused.reason()) } else { None }
}

#[test]
fn restored_namespaces_appear_with_the_last_rows_and_not_before() {
    let (chunks, mut target) = (chunks(), Store::new());
    for (number, rows) in chunks.iter().enumerate() {
        assert!(target.region.namespaces().is_empty());
        target.apply(restore(rows.clone(), number == 0, number + 1 == chunks.len()));
    }
    assert_eq!(target.get("a"), Some(("v".to_owned(), 1)));
    assert_eq!(refusal(&target.apply(restore(chunks[0].clone(), true, true))), Some(Reason::NotEmpty));
}

#[test]
fn nothing_of_an_unfinished_restore_shows_up_in_what_comes_after_it() {
    let (chunks, mut target) = (chunks(), Store::new());
    for (number, rows) in chunks[..chunks.len() - 1].iter().enumerate() {
        target.apply(restore(rows.clone(), number == 0, false));
    }
    target.create("another", NamespaceMode::Strong, "");
    assert_eq!(target.region.namespaces().len(), 1);
    let id = target.region.namespaces()[0].id;
    assert_eq!(target.region.get(id, b"a").unwrap().0, None);
    let last = chunks.last().unwrap().clone();
    assert_eq!(refusal(&target.apply(restore(last, false, true))), Some(Reason::NotEmpty));
    let mut again = Store::new();
    again.apply(restore(chunks[0].clone(), true, false));
    for (number, rows) in chunks.iter().enumerate() {
        again.apply(restore(rows.clone(), number == 0, number + 1 == chunks.len()));
    }
    assert_eq!(again.get("b"), Some(("w".to_owned(), 2)));
}

#[test]
fn rows_without_their_namespace_are_refused() {
    let mut target = Store::new();
    let rows = chunks().pop().unwrap();
    assert_eq!(refusal(&target.apply(restore(rows, true, true))), Some(Reason::Invalid));
    assert_eq!(
        refusal(&target.apply(restore(Bytes::from_static(b"junk"), true, true))),
        Some(Reason::Invalid)
    );
}
