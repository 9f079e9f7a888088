//! Watches: nothing is left out, nothing comes twice.

use chainfire_proto::{
    etcdserverpb::{
        CompactionRequest, WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest,
        WatchResponse, watch_request::RequestUnion as Asked,
    },
    mvccpb::event::EventType,
};
use futures::{Stream, StreamExt as _, stream};
use tokio::time::timeout;
use tonic::Streaming;

use crate::cloud::{Cloud, PATIENCE, Running};

fn asks(asked: Vec<Asked>) -> impl Stream<Item = WatchRequest> + Send + 'static {
    let asked = asked.into_iter().map(|asked| WatchRequest { request_union: Some(asked) });
    // The stream stays open: a client that has no more to ask has no more watches.
    stream::iter(asked).chain(stream::pending())
}

async fn open(node: &Running, asked: Vec<Asked>) -> Streaming<WatchResponse> {
    node.watch().watch(asks(asked)).await.unwrap().into_inner()
}

async fn next(answers: &mut Streaming<WatchResponse>) -> WatchResponse {
    timeout(PATIENCE, answers.message()).await.unwrap().unwrap().unwrap()
}

fn prefix(key: &str, end: &str) -> WatchCreateRequest {
    let (key, range_end) = (key.to_owned().into(), end.to_owned().into());
    WatchCreateRequest { key, range_end, ..WatchCreateRequest::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn watch_at_any_node_gets_every_event_once_and_in_order() {
    let cloud = Cloud::new();
    let nodes = cloud.three().await;
    let first = nodes[0].put("k/0", "").await.unwrap();
    let create = Asked::CreateRequest(WatchCreateRequest { start_revision: first, ..prefix("k/", "k0") });
    let mut watches = Vec::new();
    for node in &nodes {
        let mut answers = open(node, vec![create.clone()]).await;
        assert!(next(&mut answers).await.created);
        watches.push(answers);
    }
    for number in 1..50 {
        nodes[number % 3].put(&format!("k/{number}"), "").await.unwrap();
        nodes[number % 3].put("elsewhere", "").await.unwrap();
    }
    for mut answers in watches {
        let mut keys = Vec::new();
        while keys.len() < 50 {
            keys.extend(next(&mut answers).await.events.into_iter().map(|event| event.kv.unwrap().key));
        }
        assert_eq!(keys, (0..50).map(|number| format!("k/{number}")).collect::<Vec<_>>());
    }
    for node in nodes {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_tells_what_was_there_before_and_a_cancelled_watch_is_silent() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let first = node.put("a", "1").await.unwrap();
    node.put("a", "2").await.unwrap();
    let watch =
        WatchCreateRequest { prev_kv: true, start_revision: first + 1, watch_id: 7, ..prefix("a", "") };
    let cancel = Asked::CancelRequest(WatchCancelRequest { watch_id: 7 });
    let mut answers = open(&node, vec![Asked::CreateRequest(watch)]).await;
    assert!(next(&mut answers).await.created);
    let event = next(&mut answers).await.events.remove(0);
    assert_eq!(event.r#type(), EventType::Put);
    assert_eq!((&event.kv.unwrap().value[..], &event.prev_kv.unwrap().value[..]), (&b"2"[..], &b"1"[..]));
    let mut answers = open(
        &node,
        vec![Asked::CreateRequest(WatchCreateRequest { watch_id: 7, ..prefix("a", "") }), cancel],
    )
    .await;
    assert!(next(&mut answers).await.created);
    assert!(next(&mut answers).await.canceled);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_of_what_is_forgotten_is_cancelled_with_the_revision_from_which_it_could_begin() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let first = node.put("a", "1").await.unwrap();
    let last = node.put("a", "2").await.unwrap();
    node.kv().compact(CompactionRequest { revision: last, physical: false }).await.unwrap();
    let watch = WatchCreateRequest { start_revision: first, ..prefix("a", "") };
    let mut answers = open(&node, vec![Asked::CreateRequest(watch)]).await;
    assert!(next(&mut answers).await.created);
    let cancelled = next(&mut answers).await;
    assert!(cancelled.canceled);
    assert_eq!(cancelled.compact_revision, last);
    assert_eq!(cancelled.cancel_reason, "etcdserver: mvcc: required revision has been compacted");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn progress_is_told_once_all_watches_have_got_everything() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let revision = node.put("a", "1").await.unwrap();
    let watch = Asked::CreateRequest(WatchCreateRequest { start_revision: revision, ..prefix("a", "") });
    let mut answers = open(&node, vec![watch, Asked::ProgressRequest(WatchProgressRequest {})]).await;
    assert!(next(&mut answers).await.created);
    assert_eq!(next(&mut answers).await.events.len(), 1);
    let progress = next(&mut answers).await;
    assert_eq!((progress.watch_id, progress.events.len()), (-1, 0));
    assert_eq!(progress.header.unwrap().revision, revision);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_that_makes_no_sense_is_refused_and_the_others_go_on() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let watch = |request| Asked::CreateRequest(request);
    let twice = WatchCreateRequest { watch_id: 3, ..prefix("a", "") };
    let asked = vec![watch(prefix("b", "a")), watch(twice.clone()), watch(twice)];
    let mut answers = open(&node, asked).await;
    let empty = next(&mut answers).await;
    assert_eq!((empty.created, empty.canceled, empty.watch_id), (true, true, -1));
    assert_eq!(next(&mut answers).await.watch_id, 3);
    let duplicate = next(&mut answers).await;
    assert_eq!(duplicate.cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    node.put("a", "1").await.unwrap();
    assert_eq!(next(&mut answers).await.events.len(), 1);
    node.stop().await;
}
