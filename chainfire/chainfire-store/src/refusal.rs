//! Why a request is refused, in etcd's own words and with its codes, which clients compare.

use std::borrow::Cow;

use crate::internal::Refused;

/// gRPC's codes, as far as etcd uses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Code {
    /// The request is wrong, whatever the state.
    InvalidArgument = 3,
    /// What it names is not there.
    NotFound = 5,
    /// The user may not do this.
    PermissionDenied = 7,
    /// A bound is reached.
    ResourceExhausted = 8,
    /// The state forbids it.
    FailedPrecondition = 9,
    /// A revision that cannot be read.
    OutOfRange = 11,
    /// Nobody who could do it can be reached now.
    Unavailable = 14,
    /// Replicas differ.
    DataLoss = 15,
    /// Nobody knows who asks.
    Unauthenticated = 16,
}

/// A refusal: nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// gRPC's code.
    pub code: i32,
    /// etcd's words.
    pub message: Cow<'static, str>,
}

impl Refusal {
    const fn new(code: Code, message: &'static str) -> Self {
        Self { code: code as i32, message: Cow::Borrowed(message) }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self { code: refused.code, message: refused.message.into() }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { code: refusal.code, message: refusal.message.into_owned() }
    }
}

macro_rules! refusals {
    ($($name:ident $code:ident $message:literal;)*) => {
        $(
            #[doc = concat!("`", $message, "`")]
            pub const $name: Refusal = Refusal::new(Code::$code, $message);
        )*
    };
}

refusals! {
    EMPTY_KEY InvalidArgument "etcdserver: key is not provided";
    KEY_NOT_FOUND InvalidArgument "etcdserver: key not found";
    VALUE_PROVIDED InvalidArgument "etcdserver: value is provided";
    LEASE_PROVIDED InvalidArgument "etcdserver: lease is provided";
    TOO_MANY_OPS InvalidArgument "etcdserver: too many operations in txn request";
    DUPLICATE_KEY InvalidArgument "etcdserver: duplicate key given in txn request";
    INVALID_SORT_OPTION InvalidArgument "etcdserver: invalid sort option";
    COMPACTED OutOfRange "etcdserver: mvcc: required revision has been compacted";
    FUTURE_REVISION OutOfRange "etcdserver: mvcc: required revision is a future revision";
    NO_SPACE ResourceExhausted "etcdserver: mvcc: database space exceeded";
    REQUEST_TOO_LARGE InvalidArgument "etcdserver: request is too large";
    TOO_MANY_REQUESTS ResourceExhausted "etcdserver: too many requests";
    LEASE_NOT_FOUND NotFound "etcdserver: requested lease not found";
    LEASE_EXISTS FailedPrecondition "etcdserver: lease already exists";
    LEASE_TTL_TOO_LARGE OutOfRange "etcdserver: too large lease TTL";
    MEMBER_NOT_FOUND NotFound "etcdserver: member not found";
    CORRUPT DataLoss "etcdserver: corrupt cluster";
    ROOT_USER_MISSING FailedPrecondition "etcdserver: root user does not exist";
    ROOT_ROLE_MISSING FailedPrecondition "etcdserver: root user does not have root role";
    USER_EXISTS FailedPrecondition "etcdserver: user name already exists";
    USER_EMPTY InvalidArgument "etcdserver: user name is empty";
    USER_NOT_FOUND FailedPrecondition "etcdserver: user name not found";
    ROLE_EXISTS FailedPrecondition "etcdserver: role name already exists";
    ROLE_NOT_FOUND FailedPrecondition "etcdserver: role name not found";
    ROLE_EMPTY InvalidArgument "etcdserver: role name is empty";
    ROLE_NOT_GRANTED FailedPrecondition "etcdserver: role is not granted to the user";
    AUTH_FAILED InvalidArgument "etcdserver: authentication failed, invalid user ID or password";
    AUTH_NOT_ENABLED FailedPrecondition "etcdserver: authentication is not enabled";
    AUTH_OLD_REVISION InvalidArgument "etcdserver: revision of auth store is old";
    INVALID_AUTH_TOKEN Unauthenticated "etcdserver: invalid auth token";
    INVALID_AUTH_MANAGEMENT InvalidArgument "etcdserver: invalid auth management";
    PERMISSION_DENIED PermissionDenied "etcdserver: permission denied";
    PERMISSION_NOT_GIVEN InvalidArgument "etcdserver: permission not given";
    PERMISSION_NOT_GRANTED FailedPrecondition "etcdserver: permission is not granted to the role";
    NO_LEADER Unavailable "etcdserver: no leader";
    TIMEOUT Unavailable "etcdserver: request timed out";
    STOPPED Unavailable "etcdserver: server stopped";
}
