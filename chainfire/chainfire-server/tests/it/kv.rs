//! Reads and writes, and how they are refused.

use chainfire_proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareTarget, TargetUnion},
    request_op::Request as Op,
};
use tonic::Code;

use crate::cloud::{Cloud, free_address, wait_for};

fn put(key: &str, value: Vec<u8>) -> PutRequest {
    PutRequest { key: key.to_owned().into(), value: value.into(), ..PutRequest::default() }
}

fn op(request: Op) -> RequestOp {
    RequestOp { request: Some(request) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_is_read_and_every_answer_says_who_gave_it_and_at_which_revision() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let first = node.kv().put(put("a", b"1".to_vec())).await.unwrap().into_inner().header.unwrap();
    assert!(first.cluster_id != 0 && first.member_id == 1 && first.raft_term > 0);
    assert_eq!(node.put("b", "2").await.unwrap(), first.revision + 1);
    let found = node.range("a", "c").await.unwrap();
    let keys: Vec<&[u8]> = found.kvs.iter().map(|kv| &kv.key[..]).collect();
    assert_eq!((keys, found.count), (vec![&b"a"[..], b"b"], 2));
    let deleted = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    assert_eq!(node.kv().delete_range(deleted).await.unwrap().into_inner().deleted, 1);
    assert_eq!(node.get("a").await, None);
    let old = RangeRequest { key: "a".into(), revision: first.revision, ..RangeRequest::default() };
    assert_eq!(node.kv().range(old).await.unwrap().into_inner().count, 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transaction_does_one_branch_in_one_revision() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let absent = Compare {
        key: "lock".into(),
        target: CompareTarget::Create.into(),
        target_union: Some(TargetUnion::CreateRevision(0)),
        ..Compare::default()
    };
    let txn = TxnRequest {
        compare: vec![absent],
        success: vec![
            op(Op::RequestPut(put("lock", b"me".to_vec()))),
            op(Op::RequestPut(put("other", b"me".to_vec()))),
        ],
        failure: vec![op(Op::RequestRange(RangeRequest { key: "lock".into(), ..RangeRequest::default() }))],
    };
    let first = node.kv().txn(txn.clone()).await.unwrap().into_inner();
    let second = node.kv().txn(txn).await.unwrap().into_inner();
    assert!(first.succeeded && !second.succeeded);
    assert_eq!(
        first.header.unwrap().revision,
        second.header.unwrap().revision,
        "the second one wrote nothing"
    );
    let kvs = node.range("a", "z").await.unwrap().kvs;
    assert!(kvs.iter().all(|kv| kv.mod_revision == first.header.unwrap().revision), "{kvs:?}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_etcd_refuses_is_refused_in_its_words() {
    let cloud = Cloud::new();
    let node = cloud.single_with(|config| config.client.txn_ops_max = 3).await;
    node.put("a", "1").await.unwrap();
    let revision = node.put("a", "2").await.unwrap();
    node.kv().compact(CompactionRequest { revision, physical: true }).await.unwrap();
    let at = |revision| RangeRequest { key: "a".into(), revision, ..RangeRequest::default() };
    let ops = (0..4).map(|number| op(Op::RequestPut(put(&number.to_string(), Vec::new()))));
    let too_many = TxnRequest { success: ops.collect(), ..TxnRequest::default() };
    let mut kv = node.kv();
    let refused = [
        kv.put(put("", Vec::new())).await.unwrap_err(),
        kv.put(put("large", vec![0; node.config.client.request_bytes_max + 1])).await.unwrap_err(),
        kv.txn(too_many).await.unwrap_err(),
        kv.range(at(revision - 1)).await.unwrap_err(),
        kv.range(at(revision + 1)).await.unwrap_err(),
        kv.compact(CompactionRequest { revision, physical: false }).await.unwrap_err(),
    ];
    let refused = refused.map(|status| (status.code(), status.message().to_owned()));
    let expected = [
        (Code::InvalidArgument, "etcdserver: key is not provided"),
        (Code::InvalidArgument, "etcdserver: request is too large"),
        (Code::InvalidArgument, "etcdserver: too many operations in txn request"),
        (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
        (Code::OutOfRange, "etcdserver: mvcc: required revision is a future revision"),
        (Code::OutOfRange, "etcdserver: mvcc: required revision has been compacted"),
    ];
    assert_eq!(refused, expected.map(|(code, words)| (code, words.to_owned())));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_disk_refuses_writes_in_etcds_words_and_serves_reads_and_deletions() {
    let cloud = Cloud::new();
    let address = free_address();
    let mut config = cloud.config(1, address, &[address]);
    // No disk has so much room.
    config.storage.space_low_bytes = u64::MAX / 4;
    let node = cloud.start(config).await.unwrap();
    let refused = wait_for("writes are refused for want of room", async || {
        let refused = node.put("a", "1").await.err()?;
        (refused.code() == Code::ResourceExhausted).then_some(refused)
    })
    .await;
    assert_eq!(refused.message(), "etcdserver: mvcc: database space exceeded");
    node.range("a", "").await.unwrap();
    let deletion = DeleteRangeRequest { key: "a".into(), ..DeleteRangeRequest::default() };
    node.kv().delete_range(deletion).await.unwrap();
    node.stop().await;
}
