//! Random requests about few keys, so that they meet.

use bytes::Bytes;
use chainfire_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, compare::TargetUnion,
    request_op::Request as Op,
};
use proptest::prelude::*;

/// Leases that may be granted.
pub(crate) const LEASES: std::ops::Range<i64> = -1..3;

/// What happens to the store.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    /// So many revisions back.
    Compact(i64),
    Free,
    Grant(i64),
    Revoke(i64),
    /// Whether the term and the epoch are the right ones.
    Expire(i64, bool, bool),
    BeginTerm,
    Range(RangeRequest),
    Restart,
}

fn key() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b"a"[..], b"a\0", b"b", b"b\xff", b"c", b"\xff\xff"]).prop_map(Bytes::from)
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![3 => Just(Bytes::new()), 1 => Just(Bytes::from_static(b"\0")), 3 => key()]
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec![&b""[..], b"x", b"y", b"zz"]).prop_map(Bytes::from)
}

fn lease() -> impl Strategy<Value = i64> {
    prop_oneof![3 => Just(0), 2 => LEASES]
}

fn number() -> impl Strategy<Value = i64> {
    0..12_i64
}

fn put() -> impl Strategy<Value = PutRequest> {
    (key(), value(), lease(), any::<bool>(), prop::bool::weighted(0.15), prop::bool::weighted(0.15)).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| PutRequest {
            key,
            value: if ignore_value { Bytes::new() } else { value },
            lease: if ignore_lease { 0 } else { lease },
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), range_end(), any::<bool>()).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![4 => Just(0), 1 => number()]
}

pub(crate) fn range() -> impl Strategy<Value = RangeRequest> {
    let flags = (any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2));
    let revision = prop_oneof![3 => Just(0), 3 => number(), 1 => Just(-1)];
    (key(), range_end(), 0..5_i64, revision, 0..3_i32, 0..5_i32, [bound(), bound(), bound(), bound()], flags)
        .prop_map(|(key, range_end, limit, revision, sort_order, sort_target, bounds, flags)| RangeRequest {
            key,
            range_end,
            limit,
            revision,
            sort_order,
            sort_target,
            serializable: flags.0,
            keys_only: flags.1,
            count_only: flags.2,
            min_mod_revision: bounds[0],
            max_mod_revision: bounds[1],
            min_create_revision: bounds[2],
            max_create_revision: bounds[3],
        })
}

fn compare() -> impl Strategy<Value = Compare> {
    let target = prop_oneof![
        number().prop_map(|number| (0, TargetUnion::Version(number))),
        number().prop_map(|number| (1, TargetUnion::CreateRevision(number))),
        number().prop_map(|number| (2, TargetUnion::ModRevision(number))),
        value().prop_map(|value| (3, TargetUnion::Value(value))),
        LEASES.prop_map(|lease| (4, TargetUnion::Lease(lease))),
    ];
    (0..4_i32, target, key(), range_end()).prop_map(|(result, (target, union), key, range_end)| Compare {
        result,
        target,
        key,
        target_union: Some(union),
        range_end,
    })
}

fn op_of(op: Op) -> RequestOp {
    RequestOp { request: Some(op) }
}

pub(crate) fn txn() -> impl Strategy<Value = TxnRequest> {
    let flat = prop_oneof![
        3 => put().prop_map(Op::RequestPut),
        2 => delete().prop_map(Op::RequestDeleteRange),
        2 => range().prop_map(Op::RequestRange),
    ];
    let op = flat.prop_recursive(2, 8, 3, |op| txn_of(op.prop_map(op_of)).prop_map(Op::RequestTxn));
    txn_of(op.prop_map(op_of))
}

fn txn_of(op: impl Strategy<Value = RequestOp> + Clone) -> impl Strategy<Value = TxnRequest> {
    let ops = || prop::collection::vec(op.clone(), 0..3);
    (prop::collection::vec(compare(), 0..2), ops(), ops())
        .prop_map(|(compare, success, failure)| TxnRequest { compare, success, failure })
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => put().prop_map(Step::Put),
        3 => delete().prop_map(Step::Delete),
        6 => txn().prop_map(Step::Txn),
        2 => (-2..8_i64).prop_map(Step::Compact),
        1 => Just(Step::Free),
        3 => LEASES.prop_map(Step::Grant),
        1 => LEASES.prop_map(Step::Revoke),
        2 => (LEASES, prop::bool::weighted(0.7), prop::bool::weighted(0.7))
            .prop_map(|(lease, term, epoch)| Step::Expire(lease, term, epoch)),
        1 => Just(Step::BeginTerm),
        6 => range().prop_map(Step::Range),
        1 => Just(Step::Restart),
    ]
}
