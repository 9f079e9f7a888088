//! Records: compares, scans of one revision, watches, timestamps.

use std::collections::BTreeSet;

use flaredb_client::{
    CommitRequest, Compare, Error, RdbClient, ScanRequest, Swap, Write, idempotency_id, write::Op,
};
use flaredb_proto::v1::{NamespaceMode, RawPutRequest, kv_raw_client::KvRawClient};
use futures::{StreamExt as _, TryStreamExt as _, future::join_all};
use tonic::Code;

use crate::cloud::{Cloud, Running, create};

async fn strong(cloud: &Cloud) -> (Running, RdbClient) {
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    create(&client, "notes", NamespaceMode::Strong).await;
    (node, client)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compared_writes_take_effect_only_at_the_version_that_they_name() {
    let cloud = Cloud::new();
    let (node, client) = strong(&cloud).await;
    assert_eq!(client.cas_put("notes", "k", "one", 0).await.unwrap(), Swap::Done(1));
    let found = Swap::Conflict { version: 1, value: "one".into() };
    assert_eq!(client.cas_put("notes", "k", "two", 0).await.unwrap(), found);
    assert_eq!(client.cas_delete("notes", "k", 9).await.unwrap(), found);
    assert_eq!(client.cas_put("notes", "k", "two", 1).await.unwrap(), Swap::Done(2));
    assert_eq!(client.cas_delete("notes", "k", 2).await.unwrap(), Swap::Done(3));
    assert_eq!(client.cas_put("notes", "k", "three", 0).await.unwrap(), Swap::Done(4));
    let read = client.get("notes", "k").await.unwrap();
    assert_eq!((read.record.unwrap().version, read.revision), (4, 4));
    node.stop().await;
}

fn batch(keys: &[&'static str]) -> CommitRequest {
    let write = |key: &&'static str| Write { key: (*key).into(), op: Some(Op::Put("v".into())) };
    CommitRequest {
        namespace: "notes".to_owned(),
        compares: Vec::new(),
        writes: keys.iter().map(write).collect(),
        idempotency_id: idempotency_id(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batch_with_an_id_takes_effect_once_and_is_one_revision() {
    let cloud = Cloud::new();
    let (node, client) = strong(&cloud).await;
    let request = batch(&["a", "b"]);
    assert_eq!(client.commit(request.clone()).await.unwrap(), 1);
    client.cas_put("notes", "a", "later", 1).await.unwrap();
    assert_eq!(client.commit(request).await.unwrap(), 1);
    assert_eq!(client.get("notes", "a").await.unwrap().record.unwrap().value, "later");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_batch_of_a_stream_is_committed_and_one_that_is_refused_does_not_stop_the_others() {
    let cloud = Cloud::new();
    let (node, client) = strong(&cloud).await;
    let (sender, commits) = client.commit_each().await.unwrap();
    let elsewhere = CommitRequest { namespace: "nowhere".to_owned(), ..batch(&["a"]) };
    let conflicting =
        CommitRequest { compares: vec![Compare { key: "b".into(), version: 77 }], ..batch(&["b"]) };
    let sending = async move {
        for request in [batch(&["a", "b"]), elsewhere, conflicting] {
            sender.send(request).await.unwrap();
        }
        for _ in 0..500 {
            sender.send(batch(&["c"])).await.unwrap();
        }
    };
    let ((), mut answers) = tokio::join!(sending, commits.collect::<Vec<_>>());
    let later = answers.split_off(3);
    assert!(
        matches!(&answers[..], [Ok(_), Err(Error::NotFound { .. }), Err(Error::Conflict { .. })]),
        "{answers:?}"
    );
    let revisions: BTreeSet<u64> = later.into_iter().map(Result::unwrap).collect();
    assert_eq!(revisions.len(), 500);
    assert_eq!(client.get("notes", "c").await.unwrap().revision, 501);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stream_of_a_node_that_stops_leaves_no_batch_in_doubt() {
    let cloud = Cloud::new();
    let (node, client) = strong(&cloud).await;
    let (sender, mut commits) = client.commit_each().await.unwrap();
    let sending = async move { while sender.send(batch(&["a"])).await.is_ok() {} };
    let answers = async move {
        commits.next().await.unwrap().unwrap();
        let (rest, ()) = tokio::join!(commits.collect::<Vec<_>>(), node.stop());
        rest
    };
    let ((), answers) = tokio::join!(sending, answers);
    let failed: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert!(failed.iter().all(|error| matches!(error, Error::Unavailable { .. })), "{failed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_under_way_together_take_effect_once_each() {
    let cloud = Cloud::new();
    let (node, client) = strong(&cloud).await;
    let writers = (0..40).map(|_| async {
        let mut revisions = Vec::new();
        for _ in 0..10 {
            revisions.push(client.commit(batch(&["a"])).await.unwrap());
        }
        revisions
    });
    let revisions: BTreeSet<u64> = join_all(writers).await.into_iter().flatten().collect();
    assert_eq!(revisions, (1..=400).collect());
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_scan_are_of_one_revision_while_others_write() {
    let cloud = Cloud::new();
    let (node, client) = strong(&cloud).await;
    client.commit(batch(&["a", "b", "c"])).await.unwrap();
    let page = |start: &'static [u8], revision| ScanRequest {
        namespace: "notes".to_owned(),
        start_key: start.into(),
        limit: 2,
        revision,
        ..ScanRequest::default()
    };
    let first = client.scan_page(page(b"", 0)).await.unwrap();
    assert_eq!((first.records.len(), first.revision, &first.next_key[..]), (2, 1, &b"c"[..]));
    client.cas_put("notes", "c", "changed", 1).await.unwrap();
    client.cas_put("notes", "d", "new", 0).await.unwrap();
    let second = client.scan_page(page(b"c", first.revision)).await.unwrap();
    assert_eq!((second.records.len(), second.records[0].version, second.next_key.len()), (1, 1, 0));
    let future = client.scan_page(page(b"", 99)).await;
    assert!(matches!(future, Err(Error::Invalid { field, .. }) if field == "revision"));
    let all: Vec<_> = client.scan_prefix("notes", "").try_collect().await.unwrap();
    assert_eq!(all.len(), 4);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watch_sees_each_revision_whole_and_in_order_from_any_retained_one() {
    let cloud = Cloud::new();
    let (node, client) = strong(&cloud).await;
    client.commit(batch(&["/a/1", "/a/2", "/b"])).await.unwrap();
    let mut watch = client.watch("notes", "/a/", 1).await.unwrap();
    client.cas_put("notes", "/b", "unseen", 1).await.unwrap();
    client.cas_delete("notes", "/a/1", 1).await.unwrap();
    let mut seen = Vec::new();
    while seen.len() < 2 {
        let revision = watch.try_next().await.unwrap().unwrap();
        if !revision.events.is_empty() {
            let events = revision.events.iter().map(|event| (event.key.clone(), event.value.is_some()));
            seen.push((revision.revision, events.collect::<Vec<_>>()));
        }
    }
    let first = vec![("/a/1".into(), true), ("/a/2".into(), true)];
    assert_eq!(seen, [(1, first), (3, vec![("/a/1".into(), false)])]);
    client.namespaces().delete("notes").await.unwrap();
    let end = loop {
        match watch.try_next().await {
            Ok(Some(revision)) => assert!(revision.events.is_empty()),
            end => break end,
        }
    };
    assert!(matches!(end, Err(Error::NotFound { .. })), "{end:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn larger_timestamp_wins_whatever_comes_later() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let client = cloud.client([&node]);
    create(&client, "sessions", NamespaceMode::Eventual).await;
    let mut raw = KvRawClient::new(node.caller(&cloud.operator()).await);
    let put = |value: &'static str, ts| RawPutRequest {
        namespace: "sessions".to_owned(),
        key: "k".into(),
        value: value.into(),
        ts,
        origin: 0,
    };
    let newer = raw.raw_put(put("newer", 0)).await.unwrap().into_inner();
    raw.raw_put(put("older", newer.ts - 1)).await.unwrap();
    let read = client.raw_get("sessions", "k").await.unwrap();
    assert_eq!(read.record.unwrap().value, "newer");
    let deleted = client.raw_delete("sessions", "k").await.unwrap();
    assert!(deleted.ts > newer.ts);
    raw.raw_put(put("late", deleted.ts - 1)).await.unwrap();
    assert_eq!(client.raw_get("sessions", "k").await.unwrap().record, None);
    let far = raw.raw_put(put("future", deleted.ts + (60_000 << 16))).await.unwrap_err();
    assert_eq!(far.code(), Code::InvalidArgument);
    node.stop().await;
}
