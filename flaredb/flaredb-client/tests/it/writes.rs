//! Writes whose outcome is not known: who may be sent again, and what the caller is told.

use std::time::Duration;

use flaredb_client::{CommitRequest, Error, RdbClient, Swap, Write, idempotency_id, write::Op};
use flaredb_proto::v1::{
    CasDeleteResponse, CasResponse, CommitFailure, CommitOutcome, CommitResponse, Conflict, ErrorDetail,
    RawGetResponse, RawPutResponse, Staleness, commit_outcome::Outcome, error_detail::Kind,
};
use futures::StreamExt as _;
use tokio::{io::AsyncReadExt as _, net::TcpListener, task::JoinSet};
use tonic::Status;

use crate::node::{Asked, Node, Step, client, client_of, indeterminate, redirect};

fn batch(idempotency_id: bytes::Bytes) -> CommitRequest {
    let write = Write { key: "k".into(), op: Some(Op::Put("v".into())) };
    CommitRequest {
        namespace: "n".to_owned(),
        writes: vec![write],
        idempotency_id,
        ..CommitRequest::default()
    }
}

fn committed(revision: u64) -> Step {
    Step::Commit(CommitResponse { success: true, revision, ..CommitResponse::default() })
}

fn patient(node: &Node) -> RdbClient {
    client_of(vec![node.address.clone()], Duration::from_millis(300))
}

fn outcome(revision: u64) -> CommitOutcome {
    let answer = CommitResponse { success: true, revision, ..CommitResponse::default() };
    CommitOutcome { outcome: Some(Outcome::Answer(answer)) }
}

#[tokio::test]
async fn stream_that_breaks_leaves_the_batches_without_an_answer_in_doubt() {
    let node = Node::start([Step::CommitEach(vec![outcome(4)], Some(Status::unavailable("cut")))]).await;
    let (sender, mut commits) = client(&[&node]).commit_each().await.unwrap();
    sender.send(batch(bytes::Bytes::new())).await.unwrap();
    assert_eq!(commits.next().await.unwrap().unwrap(), 4);
    sender.send(batch(bytes::Bytes::new())).await.unwrap();
    assert!(matches!(commits.next().await, Some(Err(Error::Indeterminate { .. }))));
    assert!(commits.next().await.is_none());
}

#[tokio::test]
async fn stream_is_opened_at_the_leader_and_a_batch_that_failed_does_not_end_it() {
    let leader = Node::start([Step::CommitEach(vec![failed(), outcome(9)], None)]).await;
    let follower = Node::start([Step::Fails(redirect(&leader.address))]).await;
    let (sender, mut commits) = client(&[&follower]).commit_each().await.unwrap();
    for _ in 0..2 {
        sender.send(batch(bytes::Bytes::new())).await.unwrap();
    }
    drop(sender);
    assert!(matches!(commits.next().await, Some(Err(Error::Indeterminate { .. }))));
    assert_eq!(commits.next().await.unwrap().unwrap(), 9);
    assert!(commits.next().await.is_none());
}

/// A client with a batch under way that gets no answer, for as long as its task is kept.
async fn beside_a_silent_one(node: &Node) -> (RdbClient, JoinSet<Result<u64, Error>>) {
    let client = client(&[node]);
    node.plays([Step::Silence]);
    let (silent, mut tasks) = (client.clone(), JoinSet::new());
    tasks.spawn(async move { silent.commit(batch(bytes::Bytes::new())).await });
    while node.asked().is_empty() {
        tokio::task::yield_now().await;
    }
    (client, tasks)
}

/// A client whose batches go through a stream, after the first answer, which is revision 5.
async fn in_a_stream(
    node: &Node,
    answers: Vec<CommitOutcome>,
    end: Option<Status>,
) -> (RdbClient, JoinSet<Result<u64, Error>>) {
    let (client, silent) = beside_a_silent_one(node).await;
    node.plays([Step::CommitEach(answers, end)]);
    // Until the stream is open, each of them is a call.
    loop {
        node.plays([committed(3)]);
        if client.commit(batch(bytes::Bytes::new())).await.unwrap() == 5 {
            return (client, silent);
        }
    }
}

fn commits(node: &Node) -> usize {
    node.asked().into_iter().filter(|asked| matches!(asked, Asked::Commit(_))).count()
}

#[tokio::test]
async fn batches_beside_each_other_share_a_stream_and_are_in_doubt_when_it_breaks() {
    let node = Node::start([]).await;
    let cut = Some(Status::unavailable("cut"));
    let (client, _silent) = in_a_stream(&node, vec![outcome(5), outcome(6), failed()], cut).await;
    let calls = commits(&node);
    assert_eq!(client.commit(batch(bytes::Bytes::new())).await.unwrap(), 6);
    for _failed_then_cut in 0..2 {
        let in_doubt = client.commit(batch(bytes::Bytes::new())).await;
        assert!(matches!(in_doubt, Err(Error::Indeterminate { .. })), "{in_doubt:?}");
    }
    assert_eq!(commits(&node), calls);
    assert_eq!(client.commit(batch(bytes::Bytes::new())).await.unwrap(), 3);
}

#[tokio::test]
async fn batch_that_a_stream_ended_without_taking_is_sent_again_even_without_an_id() {
    let node = Node::start([]).await;
    let (client, _silent) = in_a_stream(&node, vec![outcome(5)], None).await;
    let calls = commits(&node);
    assert_eq!(client.commit(batch(bytes::Bytes::new())).await.unwrap(), 3);
    assert_eq!(commits(&node), calls + 1);
}

#[tokio::test]
async fn node_that_opens_no_stream_gets_calls() {
    let node = Node::start([]).await;
    let (client, _silent) = beside_a_silent_one(&node).await;
    for revision in 1..20 {
        node.plays([committed(revision)]);
        assert_eq!(client.commit(batch(bytes::Bytes::new())).await.unwrap(), revision);
    }
}

fn failed() -> CommitOutcome {
    let detail = Some(ErrorDetail { kind: Some(Kind::Indeterminate(true)) });
    let failure = CommitFailure { code: 2, message: "nobody knows".to_owned(), detail };
    CommitOutcome { outcome: Some(Outcome::Failure(failure)) }
}

#[tokio::test]
async fn swap_without_an_answer_is_indeterminate_and_sent_once() {
    let node = Node::start([Step::Silence]).await;
    let outcome = patient(&node).cas_put("n", "k", "v", 3).await;
    assert!(matches!(outcome, Err(Error::Indeterminate { .. })), "{outcome:?}");
    assert_eq!(node.asked().len(), 1);
}

#[tokio::test]
async fn swap_that_a_server_does_not_know_about_is_indeterminate_and_sent_once() {
    for status in [indeterminate(), Status::internal("disk"), Status::cancelled("Timeout expired")] {
        let node = Node::start([Step::Fails(status)]).await;
        let outcome = client(&[&node]).cas_delete("n", "k", 3).await;
        assert!(matches!(outcome, Err(Error::Indeterminate { .. })), "{outcome:?}");
        assert_eq!(node.asked().len(), 1);
    }
}

#[tokio::test]
async fn swap_on_a_connection_that_breaks_is_indeterminate() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let mut breaking = JoinSet::new();
    breaking.spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        // Settings first, or the client would wait for them.
        tokio::io::AsyncWriteExt::write_all(&mut connection, &[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
        let mut heard = Vec::new();
        while !heard.windows(3).any(|bytes| bytes == b"key") {
            assert_ne!(connection.read_buf(&mut heard).await.unwrap(), 0);
        }
    });
    let outcome = client_of(vec![address], Duration::from_secs(5)).cas_put("n", "key", "v", 3).await;
    assert!(matches!(outcome, Err(Error::Indeterminate { .. })), "{outcome:?}");
}

#[tokio::test]
async fn batch_with_an_id_is_sent_again_until_it_is_answered() {
    let node =
        Node::start([Step::Fails(indeterminate()), Step::Fails(Status::unavailable("")), committed(7)]).await;
    let request = batch(idempotency_id());
    assert_eq!(client(&[&node]).commit(request.clone()).await.unwrap(), 7);
    assert_eq!(
        node.asked(),
        [Asked::Commit(request.clone()), Asked::Commit(request.clone()), Asked::Commit(request)]
    );
}

#[tokio::test]
async fn batch_with_an_id_moves_on_from_a_silent_node() {
    let silent = Node::start([Step::Silence]).await;
    let other = Node::start([committed(7)]).await;
    assert_eq!(client(&[&silent, &other]).commit(batch(idempotency_id())).await.unwrap(), 7);
}

#[tokio::test]
async fn batch_without_an_id_is_not_sent_again() {
    let node = Node::start([Step::Fails(indeterminate()), committed(7)]).await;
    let outcome = client(&[&node]).commit(batch(bytes::Bytes::new())).await;
    assert!(matches!(outcome, Err(Error::Indeterminate { .. })), "{outcome:?}");
    assert_eq!(node.asked().len(), 1);
}

#[tokio::test]
async fn doubt_outlives_a_later_unavailability_and_a_later_refusal() {
    let away = Node::always(Status::unavailable("no leader")).await;
    away.plays([Step::Fails(indeterminate())]);
    let outcome = patient(&away).commit(batch(idempotency_id())).await;
    assert!(matches!(outcome, Err(Error::Indeterminate { .. })), "{outcome:?}");
    let refusing =
        Node::start([Step::Fails(indeterminate()), Step::Fails(Status::permission_denied(""))]).await;
    let outcome = client(&[&refusing]).commit(batch(idempotency_id())).await;
    assert!(matches!(outcome, Err(Error::Indeterminate { .. })), "{outcome:?}");
}

#[tokio::test]
async fn conflict_says_what_was_found() {
    let found = CasResponse { current_version: 5, current_value: "x".into(), ..CasResponse::default() };
    let conflict = Conflict { key: "k".into(), expected: 0, actual: 5, actual_value: "x".into() };
    let refused = CommitResponse { conflicts: vec![conflict.clone()], ..CommitResponse::default() };
    let gone = CasDeleteResponse::default();
    let node = Node::start([
        Step::Cas(found.clone()),
        Step::Cas(found),
        Step::Commit(refused),
        Step::CasDelete(gone),
    ])
    .await;
    let client = client(&[&node]);
    let swap = client.cas_put("n", "k", "v", 3).await.unwrap();
    assert_eq!(swap, Swap::Conflict { version: 5, value: "x".into() });
    for error in [client.create("n", "k", "v").await, client.commit(batch(idempotency_id())).await] {
        assert!(matches!(error, Err(Error::Conflict { conflicts }) if conflicts == [conflict.clone()]));
    }
    let swap = client.cas_delete("n", "k", 3).await.unwrap();
    assert_eq!(swap, Swap::Conflict { version: 0, value: "".into() });
}

#[tokio::test]
async fn eventual_write_is_sent_again_with_its_first_timestamp_and_then_read_back() {
    let written = |ts| Step::Put(RawPutResponse { success: true, ts, session_token: "token".into() });
    let staleness = Some(Staleness::default());
    let read = Step::RawGet(RawGetResponse { found: true, value: "v".into(), ts: 1, staleness });
    let node = Node::start([Step::Fails(indeterminate()), written(1), read]).await;
    let client = client(&[&node]);
    assert_eq!(client.raw_put("n", "k", "v").await.unwrap().session_token, "token");
    assert_eq!(client.raw_get("n", "k").await.unwrap().record.unwrap().value, "v");
    match &node.asked()[..] {
        [Asked::Put(first), Asked::Put(second), Asked::RawGet(read)] => {
            assert_eq!(first, second);
            assert!(first.ts > 0);
            assert_eq!(read.session_token, "token");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn write_after_a_read_is_stamped_above_what_was_read() {
    let ahead = u64::MAX >> 1;
    let read = RawGetResponse { found: true, value: "v".into(), ts: ahead, ..RawGetResponse::default() };
    let node = Node::start([Step::RawGet(read), Step::Put(RawPutResponse::default())]).await;
    let client = client(&[&node]);
    client.raw_get("n", "k").await.unwrap();
    client.raw_put("n", "k", "w").await.unwrap();
    assert!(matches!(&node.asked()[1], Asked::Put(put) if put.ts == ahead + 1));
}
