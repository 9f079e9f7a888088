//! Scans that are lazy, watches that resume, snapshots that are whole.

use flaredb_client::{Error, WatchResponse};
use flaredb_proto::v1::{
    Member, Record, RegionStatus, RestoreSnapshotResponse, ScanRequest, ScanResponse, SnapshotChunk,
    StatusResponse, WatchEvent,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::Status;

use crate::node::{Asked, Node, Step, client, too_old};

fn record(key: &'static str) -> Record {
    Record { key: key.into(), value: "v".into(), version: 1 }
}

fn page(keys: &[&'static str], next_key: &'static str) -> Step {
    let records = keys.iter().map(|key| record(key)).collect();
    Step::Scan(ScanResponse { records, revision: 9, next_key: next_key.into() })
}

fn revision(revision: u64) -> WatchResponse {
    let event = WatchEvent { key: "/a/k".into(), value: Some("v".into()), previous_version: 0 };
    WatchResponse { revision, events: vec![event] }
}

fn cut(revisions: impl IntoIterator<Item = u64>) -> Step {
    Step::Watch(revisions.into_iter().map(revision).collect(), Some(Status::unavailable("cut")))
}

fn watched_from(node: &Node) -> Vec<u64> {
    let from = |asked| if let Asked::Watch(request) = asked { Some(request.from_revision) } else { None };
    node.asked().into_iter().filter_map(from).collect()
}

#[tokio::test]
async fn scan_asks_for_a_page_when_the_one_before_it_is_used_up_and_keeps_to_one_revision() {
    let node = Node::start([page(&["/a/1", "/a/2"], "/a/3"), page(&["/a/3"], "")]).await;
    let mut records = client(&[&node]).scan_prefix("n", "/a/");
    assert_eq!(node.asked().len(), 0);
    assert_eq!(records.next().await.unwrap().unwrap().key, "/a/1");
    assert_eq!(records.next().await.unwrap().unwrap().key, "/a/2");
    assert_eq!(node.asked().len(), 1);
    assert_eq!(records.try_collect::<Vec<Record>>().await.unwrap(), [record("/a/3")]);
    let first = ScanRequest {
        namespace: "n".to_owned(),
        start_key: "/a/".into(),
        end_key: "/a0".into(),
        ..ScanRequest::default()
    };
    let second = ScanRequest { start_key: "/a/3".into(), revision: 9, ..first.clone() };
    assert_eq!(node.asked(), [Asked::Scan(first), Asked::Scan(second)]);
}

#[tokio::test]
async fn scan_whose_revision_is_forgotten_on_the_way_ends_with_that_error() {
    let node = Node::start([page(&["/a/1"], "/a/2"), Step::Fails(too_old(9, 12))]).await;
    let mut records = client(&[&node]).scan_prefix("n", b"\xff");
    assert!(records.next().await.unwrap().is_ok());
    assert!(matches!(records.next().await, Some(Err(Error::TooOld { requested: 9, oldest: 12 }))));
    assert!(records.next().await.is_none());
    assert!(matches!(&node.asked()[0], Asked::Scan(scan) if scan.end_key.is_empty()));
}

#[tokio::test]
async fn watch_resumes_behind_what_it_has_delivered_without_gap_or_repetition() {
    let progress = WatchResponse { revision: 8, events: Vec::new() };
    let quiet = Step::Watch(vec![revision(7), progress], Some(Status::unknown("connection reset")));
    let node = Node::start([cut([5, 6]), cut([]), cut([6, 7]), quiet, cut([9])]).await;
    let watch = client(&[&node]).watch("n", "/a/", 5).await.unwrap();
    let seen: Vec<WatchResponse> = watch.take(5).try_collect().await.unwrap();
    let seen: Vec<(u64, usize)> = seen.iter().map(|seen| (seen.revision, seen.events.len())).collect();
    assert_eq!(seen, [(5, 1), (6, 1), (7, 1), (8, 0), (9, 1)]);
    assert_eq!(watched_from(&node), [5, 7, 7, 8, 9]);
}

#[tokio::test]
async fn watch_resumes_at_another_node_and_ends_where_history_does() {
    let one = Node::start([cut([5]), cut([6, 7]), Step::Fails(too_old(8, 20))]).await;
    let two = Node::beside(&one).await;
    let mut watch = client(&[&one, &two]).watch("n", "", 5).await.unwrap();
    for expected in 5..=7 {
        assert_eq!(watch.next().await.unwrap().unwrap().revision, expected);
    }
    assert!(matches!(watch.next().await, Some(Err(Error::TooOld { requested: 8, oldest: 20 }))));
    assert!(watch.next().await.is_none());
    assert_eq!(watched_from(&one), [5, 6, 8]);
    // Which of the two is asked first is drawn by lot.
    assert!(matches!(one.askers()[..], [0, 1, 0] | [1, 0, 1]), "{:?}", one.askers());
}

#[tokio::test]
async fn watch_from_now_on_starts_at_the_moment_of_the_call_whenever_it_connects() {
    let node = Node::start([page(&[], ""), Step::Fails(Status::unavailable("")), cut([]), cut([10])]).await;
    let mut watch = client(&[&node]).watch("n", "/a/", 0).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().revision, 10);
    assert_eq!(watched_from(&node), [10, 10, 10]);
    assert_eq!(node.timeouts(), 1, "only the read of the revision has a deadline at the server");
}

#[tokio::test]
async fn watch_that_cannot_begin_says_so_at_once() {
    let node = Node::start([Step::Fails(too_old(1, 20)), Step::Fails(Status::not_found("nowhere"))]).await;
    let client = client(&[&node]);
    assert!(matches!(client.watch("n", "", 1).await, Err(Error::TooOld { requested: 1, oldest: 20 })));
    assert!(matches!(client.watch("n", "", 1).await, Err(Error::NotFound { .. })));
}

fn chunk(sequence: u64, last: bool) -> SnapshotChunk {
    SnapshotChunk { sequence, data: "rows".into(), crc32: 0, last }
}

#[tokio::test]
async fn snapshot_without_its_last_chunk_or_with_a_gap_is_an_error() {
    let whole = vec![chunk(0, false), chunk(1, true)];
    let steps = [whole.clone(), vec![chunk(0, false)], vec![chunk(0, false), chunk(2, true)]];
    let node = Node::start(steps.map(Step::Chunks)).await;
    let maintenance = client(&[&node]).maintenance();
    let saved: Vec<SnapshotChunk> = maintenance.save_snapshot().await.unwrap().try_collect().await.unwrap();
    assert_eq!(saved, whole);
    for _ in 0..2 {
        let mut chunks = maintenance.save_snapshot().await.unwrap();
        assert!(chunks.next().await.unwrap().is_ok());
        assert!(matches!(chunks.next().await, Some(Err(Error::Unavailable { .. }))));
        assert!(chunks.next().await.is_none());
    }
}

#[tokio::test]
async fn snapshot_is_restored_at_the_leader() {
    let restored = RestoreSnapshotResponse { records: 3, namespaces: 1 };
    let leader = Node::start([Step::Restored(restored)]).await;
    let member = Member { node_id: 2, endpoint: leader.address.clone(), ..Member::default() };
    let region = RegionStatus { leader_id: 2, members: vec![member], ..RegionStatus::default() };
    let status = StatusResponse { regions: vec![region], ..StatusResponse::default() };
    let follower = Node::start([Step::Status(status)]).await;
    let chunks = stream::iter([chunk(0, false), chunk(1, true)]);
    let answer = client(&[&follower]).maintenance().restore_snapshot(chunks).await.unwrap();
    assert_eq!(answer, restored);
    assert_eq!(leader.asked(), [Asked::Restore(2)]);
}
