//! Users, roles and permissions.

use chainfire_proto::{
    KeyRange,
    authpb::{Permission, permission::Type},
    etcdserverpb::{
        AlarmRequest, AuthDisableRequest, AuthRoleAddRequest, AuthRoleDeleteRequest,
        AuthRoleGrantPermissionRequest, AuthRoleRevokePermissionRequest, AuthUserAddRequest,
        AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthUserGrantRoleRequest,
        AuthUserRevokeRoleRequest, RangeRequest,
    },
};
use chainfire_store::{
    StoreError, hash_password,
    internal::{AuthEnable, Caller, TokenKey, command::Request, outcome::Outcome},
    refusal::{self, Refusal},
};

use crate::driver::{Driver, delete, op, put, refused, txn, version_is};

pub(crate) fn add_user(driver: &mut Driver, name: &str) {
    let user = AuthUserAddRequest { name: name.to_owned(), ..AuthUserAddRequest::default() };
    assert!(matches!(driver.apply(Request::UserAdd(user)), Outcome::Done(_)));
}

/// Adds root and asks everybody who they are from now on.
pub(crate) fn enable(driver: &mut Driver) {
    add_user(driver, "root");
    grant_role(driver, "root", "root");
    let answer = driver.apply(Request::AuthEnable(AuthEnable { token_key: "first".into() }));
    assert!(matches!(answer, Outcome::Done(_)));
}

fn grant_role(driver: &mut Driver, user: &str, role: &str) -> Outcome {
    let (user, role) = (user.to_owned(), role.to_owned());
    driver.apply(Request::UserGrantRole(AuthUserGrantRoleRequest { user, role }))
}

fn add_role(name: &str) -> Request {
    Request::RoleAdd(AuthRoleAddRequest { name: name.to_owned() })
}

fn permit(role: &str, kind: Type, key: &'static str, range_end: &'static str) -> Request {
    let perm = Permission { perm_type: kind.into(), key: key.into(), range_end: range_end.into() };
    Request::RoleGrantPermission(AuthRoleGrantPermissionRequest { name: role.to_owned(), perm: Some(perm) })
}

fn caller(driver: &Driver, user: &str) -> Caller {
    Caller { user: user.to_owned(), auth_revision: driver.store.auth().unwrap().revision() }
}

/// Alice may read from "a" to before "c" and write "b".
fn with_alice() -> Driver {
    let mut driver = Driver::new();
    add_user(&mut driver, "alice");
    for role in ["reader", "writer"] {
        driver.apply(add_role(role));
        assert!(matches!(grant_role(&mut driver, "alice", role), Outcome::Done(_)));
    }
    driver.apply(permit("reader", Type::Read, "a", "b"));
    driver.apply(permit("reader", Type::Read, "b", "c"));
    driver.apply(permit("writer", Type::Write, "b", ""));
    enable(&mut driver);
    driver
}

fn read(driver: &Driver, caller: &Caller, key: &'static str, range_end: &'static str) -> Result<(), Refusal> {
    let range = RangeRequest { key: key.into(), range_end: range_end.into(), ..RangeRequest::default() };
    match driver.store.range(caller, &range) {
        Ok(_) => Ok(()),
        Err(StoreError::Refused(refusal)) => Err(refusal),
        Err(other) => panic!("{other}"),
    }
}

#[test]
fn users_do_what_their_roles_allow_and_nothing_else() {
    let mut driver = with_alice();
    let alice = caller(&driver, "alice");
    assert_eq!(read(&driver, &alice, "a", "c"), Ok(()));
    assert_eq!(read(&driver, &alice, "a", "c\0"), Err(refusal::PERMISSION_DENIED));
    assert_eq!(read(&driver, &Caller::default(), "a", ""), Err(refusal::USER_EMPTY));
    assert_eq!(read(&driver, &caller(&driver, "mallory"), "a", ""), Err(refusal::PERMISSION_DENIED));
    assert!(matches!(driver.apply_as(&alice, put("b", "1")), Outcome::Put(_)));
    assert_eq!(driver.apply_as(&alice, put("a", "1")), refused(refusal::PERMISSION_DENIED));
    assert_eq!(driver.apply_as(&alice, delete("b", "c")), refused(refusal::PERMISSION_DENIED));
    assert_eq!(driver.apply_as(&alice, add_role("more")), refused(refusal::PERMISSION_DENIED));
    assert_eq!(driver.apply(put("b", "1")), refused(refusal::USER_EMPTY));
    let root = caller(&driver, "root");
    assert!(matches!(driver.apply_as(&root, put("anything", "1")), Outcome::Put(_)));
}

#[test]
fn branch_that_is_not_done_needs_permission_as_well() {
    let mut driver = with_alice();
    let alice = caller(&driver, "alice");
    let nested = txn(Vec::new(), Vec::new(), vec![op(put("a", "1"))]);
    let request = txn(vec![version_is("a", 0)], vec![op(put("b", "1"))], vec![op(nested)]);
    assert_eq!(driver.apply_as(&alice, request), refused(refusal::PERMISSION_DENIED));
    let request = txn(vec![version_is("z", 0)], vec![op(put("b", "1"))], Vec::new());
    assert_eq!(driver.apply_as(&alice, request), refused(refusal::PERMISSION_DENIED));
    let request = txn(vec![version_is("a", 0)], vec![op(put("b", "1"))], Vec::new());
    assert!(matches!(driver.apply_as(&alice, request), Outcome::Txn(_)));
}

#[test]
fn what_was_found_out_before_a_change_counts_no_more() {
    let mut driver = with_alice();
    let (alice, root) = (caller(&driver, "alice"), caller(&driver, "root"));
    driver.apply_as(&root, permit("writer", Type::Read, "x", ""));
    assert_eq!(read(&driver, &alice, "a", ""), Err(refusal::AUTH_OLD_REVISION));
    assert_eq!(driver.apply_as(&alice, put("b", "1")), refused(refusal::AUTH_OLD_REVISION));
    assert_eq!(read(&driver, &caller(&driver, "alice"), "x", ""), Ok(()));
}

#[test]
fn role_that_is_deleted_or_revoked_gives_nothing() {
    let mut driver = with_alice();
    let root = caller(&driver, "root");
    driver.apply_as(&root, Request::RoleDelete(AuthRoleDeleteRequest { role: "writer".to_owned() }));
    assert_eq!(driver.store.auth().unwrap().roles_of("alice").unwrap(), ["reader"]);
    let root = caller(&driver, "root");
    let revoke =
        AuthRoleRevokePermissionRequest { role: "reader".to_owned(), key: "a".into(), range_end: "b".into() };
    driver.apply_as(&root, Request::RoleRevokePermission(revoke.clone()));
    let root = caller(&driver, "root");
    let again = driver.apply_as(&root, Request::RoleRevokePermission(revoke));
    assert_eq!(again, refused(refusal::PERMISSION_NOT_GRANTED));
    assert_eq!(read(&driver, &caller(&driver, "alice"), "a", ""), Err(refusal::PERMISSION_DENIED));
    assert_eq!(read(&driver, &caller(&driver, "alice"), "b", ""), Ok(()));
    let revoke = AuthUserRevokeRoleRequest { name: "alice".to_owned(), role: "reader".to_owned() };
    driver.apply_as(&root, Request::UserRevokeRole(revoke));
    assert_eq!(read(&driver, &caller(&driver, "alice"), "b", ""), Err(refusal::PERMISSION_DENIED));
}

#[test]
fn nobody_locks_themselves_out() {
    let mut driver = Driver::new();
    let enable_auth = || Request::AuthEnable(AuthEnable { token_key: "key".into() });
    assert_eq!(driver.apply(enable_auth()), refused(refusal::ROOT_USER_MISSING));
    add_user(&mut driver, "root");
    assert_eq!(driver.apply(enable_auth()), refused(refusal::ROOT_ROLE_MISSING));
    grant_role(&mut driver, "root", "root");
    assert!(matches!(driver.apply(enable_auth()), Outcome::Done(_)));
    let root = caller(&driver, "root");
    let delete = Request::UserDelete(AuthUserDeleteRequest { name: "root".to_owned() });
    assert_eq!(driver.apply_as(&root, delete), refused(refusal::INVALID_AUTH_MANAGEMENT));
    let revoke = AuthUserRevokeRoleRequest { name: "root".to_owned(), role: "root".to_owned() };
    let revoke = Request::UserRevokeRole(revoke);
    assert_eq!(driver.apply_as(&root, revoke), refused(refusal::INVALID_AUTH_MANAGEMENT));
    assert!(matches!(driver.apply_as(&root, Request::AuthDisable(AuthDisableRequest {})), Outcome::Done(_)));
    assert_eq!(read(&driver, &Caller::default(), "a", ""), Ok(()));
}

#[test]
fn password_is_right_for_who_has_one() {
    let mut driver = Driver::new();
    let hashed_password = hash_password("secret").unwrap();
    let user =
        AuthUserAddRequest { name: "alice".to_owned(), hashed_password, ..AuthUserAddRequest::default() };
    driver.apply(Request::UserAdd(user));
    let before = driver.store.auth().unwrap().authenticate("alice", "secret");
    assert_eq!(before, Err(refusal::AUTH_NOT_ENABLED));
    enable(&mut driver);
    let auth = driver.store.auth().unwrap();
    assert_eq!(auth.authenticate("alice", "secret"), Ok(()));
    assert_eq!(auth.authenticate("alice", "guessed"), Err(refusal::AUTH_FAILED));
    assert_eq!(auth.authenticate("root", ""), Err(refusal::AUTH_FAILED));
    assert_eq!(auth.authenticate("nobody", "secret"), Err(refusal::AUTH_FAILED));
    let hashed_password = hash_password("new").unwrap();
    let change =
        AuthUserChangePasswordRequest { name: "alice".to_owned(), hashed_password, ..Default::default() };
    let root = caller(&driver, "root");
    driver.apply_as(&root, Request::UserChangePassword(change));
    let auth = driver.store.auth().unwrap();
    assert_eq!(auth.authenticate("alice", "secret"), Err(refusal::AUTH_FAILED));
    assert_eq!(auth.authenticate("alice", "new"), Ok(()));
}

#[test]
fn users_and_keys_of_tokens_are_there_after_a_restart() {
    let mut driver = with_alice();
    for key in ["second", "third"] {
        driver.apply(Request::TokenKey(TokenKey { token_key: key.into() }));
    }
    let driver = driver.restart();
    let auth = driver.store.auth().unwrap();
    assert!(auth.enabled() && auth.users().eq(["alice", "root"]) && auth.roles().eq(["reader", "writer"]));
    assert_eq!(auth.token_keys(), ["third", "second"]);
    assert_eq!(auth.may_read(&caller(&driver, "alice"), &KeyRange::prefix("a")), Ok(()));
    assert_eq!(auth.permissions_of("writer").unwrap().len(), 1);
}

#[test]
fn user_raises_no_alarm_unless_they_may() {
    let mut driver = with_alice();
    let alice = caller(&driver, "alice");
    let alarm = Request::Alarm(AlarmRequest { action: 1, member_id: 1, alarm: 1 });
    assert_eq!(driver.apply_as(&alice, alarm), refused(refusal::PERMISSION_DENIED));
}
