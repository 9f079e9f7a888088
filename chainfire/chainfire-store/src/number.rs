//! etcd's numbers are signed and the engine's are not; the same bits either way.

use chainfire_proto::etcdserverpb::ResponseHeader;

/// A revision or lease as etcd has it on the wire.
pub(crate) fn signed(number: u64) -> i64 {
    number.cast_signed()
}

/// The same as the engine has it.
pub(crate) fn unsigned(number: i64) -> u64 {
    number.cast_unsigned()
}

/// How many.
pub(crate) fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// What an answer says of the store; the node that gives it adds who it is.
pub(crate) fn header(revision: u64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision: signed(revision), ..ResponseHeader::default() })
}
