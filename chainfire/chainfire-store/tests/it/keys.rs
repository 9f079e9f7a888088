//! Keys: what is refused, and what alarms and bounds do.

use chainfire_proto::etcdserverpb::{
    AlarmRequest, AlarmType, CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest,
    alarm_request::AlarmAction,
};
use chainfire_store::{
    StoreError, TXN_OPS_MAX, check,
    internal::{Caller, ForgetMember, Free, Freed, MemberAttributes, command::Request, outcome::Outcome},
    refusal,
};

use crate::driver::{Driver, delete, encode, op, put, refused, txn, version_is};

fn alarm(action: AlarmAction, alarm: AlarmType) -> Request {
    Request::Alarm(AlarmRequest { action: action.into(), member_id: 9, alarm: alarm.into() })
}

#[test]
fn first_write_makes_revision_2() {
    let mut driver = Driver::new();
    assert_eq!(driver.store.revision(), 1);
    let all = RangeRequest { key: "a".into(), ..RangeRequest::default() };
    let empty = driver.store.range(&Caller::default(), &all).unwrap();
    assert_eq!((empty.header.unwrap().revision, empty.count), (1, 0));
    assert_eq!(driver.put("a", "1"), 2);
    assert_eq!(driver.put("a", "2"), 3);
    let kv = driver.get("a").unwrap();
    assert_eq!((kv.create_revision, kv.mod_revision, kv.version), (2, 3, 2));
}

#[test]
fn refused_transaction_has_written_nothing() {
    let mut driver = Driver::new();
    driver.put("a", "1");
    let missing =
        Request::Put(PutRequest { key: "none".into(), ignore_value: true, ..PutRequest::default() });
    let request = txn(Vec::new(), vec![op(put("a", "2")), op(missing)], Vec::new());
    assert_eq!(driver.apply(request), refused(refusal::KEY_NOT_FOUND));
    assert_eq!(driver.store.revision(), 2);
    assert_eq!(&driver.get("a").unwrap().value[..], b"1");
}

#[test]
fn malformed_requests_are_refused_before_and_after_they_are_proposed() {
    let mut driver = Driver::new();
    let no_key = Request::Put(PutRequest::default());
    let value = Request::Put(PutRequest {
        key: "a".into(),
        value: "b".into(),
        ignore_value: true,
        ..PutRequest::default()
    });
    let lease =
        Request::Put(PutRequest { key: "a".into(), lease: 1, ignore_lease: true, ..PutRequest::default() });
    let many = txn(Vec::new(), (0..=TXN_OPS_MAX).map(|_| op(delete("a", ""))).collect(), Vec::new());
    let twice = txn(Vec::new(), vec![op(put("a", "1")), op(put("a", "2"))], Vec::new());
    let branches = txn(vec![version_is("a", 0)], vec![op(put("a", "1"))], vec![op(put("a", "2"))]);
    let across = txn(Vec::new(), vec![op(branches.clone()), op(delete("a", "b"))], Vec::new());
    let cases = [
        (no_key, refusal::EMPTY_KEY),
        (value, refusal::VALUE_PROVIDED),
        (lease, refusal::LEASE_PROVIDED),
        (many, refusal::TOO_MANY_OPS),
        (twice, refusal::DUPLICATE_KEY),
        (across, refusal::DUPLICATE_KEY),
    ];
    for (request, refusal) in cases {
        assert_eq!(check(&request, TXN_OPS_MAX), Err(refusal.clone()));
        assert_eq!(driver.apply(request), refused(refusal));
    }
    assert_eq!(check(&branches, TXN_OPS_MAX), Ok(()));
    let sorted = RangeRequest { key: "a".into(), sort_order: 9, ..RangeRequest::default() };
    let answer = driver.store.range(&Caller::default(), &sorted);
    assert!(matches!(answer, Err(StoreError::Refused(refusal)) if refusal == refusal::INVALID_SORT_OPTION));
}

#[test]
fn nesting_counts_against_what_is_around_it() {
    let nest = |txn: TxnRequest| TxnRequest { success: vec![op(Request::Txn(txn))], ..TxnRequest::default() };
    let deep = (0..127).fold(TxnRequest::default(), |txn, _| nest(txn));
    assert_eq!(check(&Request::Txn(nest(deep.clone())), TXN_OPS_MAX), Ok(()));
    assert_eq!(check(&Request::Txn(nest(nest(deep))), TXN_OPS_MAX), Err(refusal::TOO_MANY_OPS));
}

#[test]
fn node_may_let_in_fewer_operations_and_never_more() {
    let with = |ops| txn(Vec::new(), (0..ops).map(|_| op(delete("a", ""))).collect(), Vec::new());
    assert_eq!(check(&with(3), 3), Ok(()));
    assert_eq!(check(&with(4), 3), Err(refusal::TOO_MANY_OPS));
    assert_eq!(check(&with(TXN_OPS_MAX + 1), usize::MAX), Err(refusal::TOO_MANY_OPS));
}

#[test]
fn without_space_one_can_still_delete() {
    let mut driver = Driver::new();
    driver.put("a", "1");
    driver.apply(alarm(AlarmAction::Activate, AlarmType::Nospace));
    assert_eq!(driver.apply(put("a", "2")), refused(refusal::NO_SPACE));
    assert_eq!(driver.grant(1), refused(refusal::NO_SPACE));
    let put_in_txn = txn(Vec::new(), vec![op(put("a", "2"))], Vec::new());
    assert_eq!(driver.apply(put_in_txn), refused(refusal::NO_SPACE));
    assert!(matches!(driver.apply(delete("a", "")), Outcome::DeleteRange(_)));
    driver.apply(alarm(AlarmAction::Deactivate, AlarmType::Nospace));
    assert!(matches!(driver.apply(put("a", "2")), Outcome::Put(_)));
}

#[test]
fn while_replicas_differ_nothing_is_answered() {
    let mut driver = Driver::new();
    driver.apply(alarm(AlarmAction::Activate, AlarmType::Corrupt));
    assert_eq!(driver.apply(put("a", "2")), refused(refusal::CORRUPT));
    let range = RangeRequest { key: "a".into(), ..RangeRequest::default() };
    let answer = driver.store.range(&Caller::default(), &range);
    assert!(matches!(answer, Err(StoreError::Refused(refusal)) if refusal == refusal::CORRUPT));
}

#[test]
fn member_that_left_takes_its_alarms_with_it() {
    let mut driver = Driver::new();
    let member =
        MemberAttributes { id: 9, name: "n9".to_owned(), client_urls: vec!["http://n9:2379".to_owned()] };
    driver.apply(Request::Member(member.clone()));
    driver.apply(alarm(AlarmAction::Activate, AlarmType::Nospace));
    assert_eq!(driver.store.members().unwrap(), [member]);
    driver.apply(Request::ForgetMember(ForgetMember { id: 9 }));
    assert!(driver.store.members().unwrap().is_empty() && driver.store.alarms().unwrap().is_empty());
}

#[test]
fn compacted_history_is_freed_some_at_a_time() {
    let mut driver = Driver::new();
    let puts: Vec<_> = (0..10_000).map(|_| encode(&Caller::default(), put("a", "1"))).collect();
    driver.apply_all(&puts);
    let revision = driver.store.revision();
    driver.apply(Request::Compaction(CompactionRequest { revision, physical: true }));
    let mut rounds = 0;
    while driver.store.has_to_free().unwrap() {
        let freed = driver.apply(Request::Free(Free {}));
        rounds += 1;
        assert_eq!(freed, Outcome::Freed(Freed { all: !driver.store.has_to_free().unwrap(), revision }));
    }
    assert!((1..5).contains(&rounds), "{rounds}");
    assert!(driver.get("a").is_some());
    assert_eq!(driver.store.region().namespace("keys").unwrap().oldest_revision, 10_001);
}

#[test]
fn deletion_of_more_than_one_command_may_delete_changes_nothing() {
    let mut driver = Driver::new();
    let value = vec![7; 1 << 20];
    let big = |number: u8| {
        let put =
            PutRequest { key: vec![number].into(), value: value.clone().into(), ..PutRequest::default() };
        encode(&Caller::default(), Request::Put(put))
    };
    (0..66).for_each(|number| drop(driver.apply_all(&[big(number)])));
    let all = DeleteRangeRequest { key: "\0".into(), range_end: "\0".into(), prev_kv: true };
    assert_eq!(driver.apply(Request::DeleteRange(all.clone())), refused(refusal::REQUEST_TOO_LARGE));
    let in_txn = txn(Vec::new(), vec![op(put("zz", "1")), op(Request::DeleteRange(all))], Vec::new());
    assert!(matches!(driver.apply(in_txn), Outcome::Refused(_)));
    assert_eq!(driver.store.revision(), 67);
    assert!(matches!(driver.apply(delete("\0", "\0")), Outcome::DeleteRange(answer) if answer.deleted == 66));
}
