//! Leases: nobody ends one but who may.

use chainfire_proto::{
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AuthRoleAddRequest, AuthRoleGrantPermissionRequest, AuthUserGrantRoleRequest, LeaseRevokeRequest,
    },
};
use chainfire_store::{
    internal::{
        BeginTerm, Caller, LeaseCheckpoint, LeaseEpoch, LeaseExpire, LeaseLeft, LeasesExpired,
        command::Request, outcome::Outcome,
    },
    refusal,
};

use crate::{
    auth::{add_user, enable},
    driver::{Driver, put_with_lease, refused},
};

fn expire(driver: &mut Driver, term: u64, leases: &[(i64, u64)]) -> Vec<i64> {
    let leases = leases.iter().map(|&(id, epoch)| LeaseEpoch { id, epoch }).collect();
    match driver.apply(Request::LeaseExpire(LeaseExpire { term, leases })) {
        Outcome::Expired(LeasesExpired { ids, .. }) => ids,
        other => panic!("{other:?}"),
    }
}

fn begin_term(driver: &mut Driver, term: u64) {
    driver.apply(Request::BeginTerm(BeginTerm { term }));
}

#[test]
fn leader_of_an_earlier_term_ends_no_lease() {
    let mut driver = Driver::new();
    begin_term(&mut driver, 3);
    driver.grant(7);
    let epoch = driver.store.lease(7).unwrap().unwrap().epoch;
    driver.apply(put_with_lease("a", "1", 7));
    begin_term(&mut driver, 4);
    assert!(expire(&mut driver, 3, &[(7, epoch)]).is_empty());
    begin_term(&mut driver, 2);
    assert_eq!(driver.store.term().unwrap(), 4);
    assert!(driver.get("a").is_some());
    assert_eq!(expire(&mut driver, 4, &[(7, epoch)]), [7]);
    assert!(driver.get("a").is_none() && driver.store.lease(7).unwrap().is_none());
}

/// Says what is left of lease 7; what the store says then.
fn checkpoint(driver: &mut Driver, term: u64, number: u64, epoch: u64, left_ms: u64) -> u64 {
    let lease = Some(LeaseEpoch { id: 7, epoch });
    let leases = vec![LeaseLeft { lease, left_ms }];
    driver.apply(Request::LeaseCheckpoint(LeaseCheckpoint { term, number, leases }));
    driver.store.lease(7).unwrap().unwrap().left_ms
}

#[test]
fn what_is_left_of_a_lease_is_what_its_leader_said_last() {
    let mut driver = Driver::new();
    begin_term(&mut driver, 3);
    driver.grant(7);
    let epoch = driver.store.lease(7).unwrap().unwrap().epoch;
    assert_eq!(checkpoint(&mut driver, 3, 1, epoch, 900), 900);
    driver.apply(put_with_lease("a", "1", 7));
    assert_eq!(checkpoint(&mut driver, 3, 2, epoch + 1, 1), 900);
    assert_eq!(checkpoint(&mut driver, 3, 4, epoch, 0), 0);
    assert_eq!(checkpoint(&mut driver, 3, 3, epoch, 700), 0);
    assert_eq!(checkpoint(&mut driver, 3, 4, epoch, 700), 0);
    begin_term(&mut driver, 4);
    assert_eq!(checkpoint(&mut driver, 3, 9, epoch, 700), 0);
    assert_eq!(checkpoint(&mut driver, 4, 1, epoch, 700), 700);
    begin_term(&mut driver, 4);
    let answer =
        driver.apply(Request::LeaseCheckpoint(LeaseCheckpoint { term: 4, number: 1, leases: vec![] }));
    assert_eq!(answer, refused(refusal::NO_LEADER));
}

#[test]
fn lease_that_was_granted_anew_outlives_what_was_decided_of_the_old_one() {
    let mut driver = Driver::new();
    begin_term(&mut driver, 1);
    driver.grant(7);
    let old = driver.store.lease(7).unwrap().unwrap().epoch;
    driver.apply(Request::LeaseRevoke(LeaseRevokeRequest { id: 7 }));
    driver.grant(7);
    let new = driver.store.lease(7).unwrap().unwrap().epoch;
    assert!(expire(&mut driver, 1, &[(7, old)]).is_empty());
    assert_eq!(expire(&mut driver, 1, &[(7, new), (7, new)]), [7]);
}

#[test]
fn keys_of_a_lease_go_at_one_revision() {
    let mut driver = Driver::new();
    driver.grant(7);
    for key in ["a", "b", "c"] {
        driver.apply(put_with_lease(key, "1", 7));
    }
    driver.put("b", "stays");
    let before = driver.store.revision();
    driver.apply(Request::LeaseRevoke(LeaseRevokeRequest { id: 7 }));
    assert_eq!(driver.store.revision(), before + 1);
    assert!(driver.get("a").is_none() && driver.get("b").is_some() && driver.get("c").is_none());
    let answer = driver.apply(Request::LeaseRevoke(LeaseRevokeRequest { id: 7 }));
    assert_eq!(answer, refused(refusal::LEASE_NOT_FOUND));
}

#[test]
fn user_ends_no_lease_with_keys_that_they_may_not_write() {
    let mut driver = Driver::new();
    driver.grant(7);
    driver.apply(put_with_lease("root's", "1", 7));
    add_user(&mut driver, "alice");
    driver.apply(Request::RoleAdd(AuthRoleAddRequest { name: "a".to_owned() }));
    let perm = Permission { perm_type: Type::Readwrite.into(), key: "a".into(), range_end: "b".into() };
    let grant = AuthRoleGrantPermissionRequest { name: "a".to_owned(), perm: Some(perm) };
    driver.apply(Request::RoleGrantPermission(grant));
    let (user, role) = ("alice".to_owned(), "a".to_owned());
    driver.apply(Request::UserGrantRole(AuthUserGrantRoleRequest { user, role }));
    enable(&mut driver);
    let auth_revision = driver.store.auth().unwrap().revision();
    let alice = Caller { user: "alice".to_owned(), auth_revision };
    let revoke = Request::LeaseRevoke(LeaseRevokeRequest { id: 7 });
    assert_eq!(driver.apply_as(&alice, revoke), refused(refusal::PERMISSION_DENIED));
    assert_eq!(driver.apply_as(&alice, put_with_lease("a", "1", 7)), refused(refusal::PERMISSION_DENIED));
    assert!(matches!(driver.apply_as(&alice, put_with_lease("a", "1", 0)), Outcome::Put(_)));
}
