//! Where the small rows of the state are: a letter for the kind, and what names the row.

use bytes::Bytes;
use flaredb_engine::EngineError;
use prost::Message;

use crate::number::unsigned;

/// What there is one of.
pub(crate) const SETTINGS: &[u8] = b"s";
const LEASE: u8 = b'l';
const GRANT: u8 = b'g';
const LEASE_KEY: u8 = b'k';
const MEMBER: u8 = b'm';
const ROLE: u8 = b'r';
const USER: u8 = b'u';

fn row(kind: u8, name: &[u8]) -> Vec<u8> {
    [&[kind], name].concat()
}

/// Keeps the order of numbers below and above zero.
fn ordered(id: i64) -> [u8; 8] {
    (unsigned(id) ^ (1 << 63)).to_be_bytes()
}

pub(crate) fn lease(id: i64) -> Vec<u8> {
    row(LEASE, &ordered(id))
}

/// Says which lease the entry of this position granted, so that grants can be followed in their order.
pub(crate) fn grant(epoch: u64) -> Vec<u8> {
    row(GRANT, &epoch.to_be_bytes())
}

/// The grants behind the entry of this position.
pub(crate) fn grants(after: u64) -> (Vec<u8>, Vec<u8>) {
    (grant(after.saturating_add(1)), vec![GRANT + 1])
}

/// The leases behind this one (`None`: all).
pub(crate) fn leases(after: Option<i64>) -> (Vec<u8>, Vec<u8>) {
    let mut start = after.map_or_else(|| vec![LEASE], lease);
    if after.is_some() {
        start.push(0);
    }
    (start, vec![LEASE + 1])
}

pub(crate) fn lease_id(row: &[u8]) -> Result<i64, EngineError> {
    let id = row.get(1..).and_then(|id| id.try_into().ok());
    let id = id.ok_or(EngineError::Corrupt { what: "lease" })?;
    Ok((u64::from_be_bytes(id) ^ (1 << 63)).cast_signed())
}

/// Says that a key goes with a lease.
pub(crate) fn lease_key(id: i64, key: &[u8]) -> Vec<u8> {
    [&[LEASE_KEY], &ordered(id)[..], key].concat()
}

/// The rows of the keys of a lease.
pub(crate) fn lease_keys(id: i64) -> (Vec<u8>, Vec<u8>) {
    let end = id.checked_add(1).map_or_else(|| vec![LEASE_KEY + 1], |next| lease_key(next, &[]));
    (lease_key(id, &[]), end)
}

pub(crate) fn key_of_lease(row: &Bytes) -> Bytes {
    row.slice(row.len().min(9)..)
}

pub(crate) fn member(id: u64) -> Vec<u8> {
    row(MEMBER, &id.to_be_bytes())
}

pub(crate) fn members() -> (Vec<u8>, Vec<u8>) {
    (vec![MEMBER], vec![MEMBER + 1])
}

pub(crate) fn role(name: &str) -> Vec<u8> {
    row(ROLE, name.as_bytes())
}

pub(crate) fn roles() -> (Vec<u8>, Vec<u8>) {
    (vec![ROLE], vec![ROLE + 1])
}

pub(crate) fn user(name: &str) -> Vec<u8> {
    row(USER, name.as_bytes())
}

pub(crate) fn users() -> (Vec<u8>, Vec<u8>) {
    (vec![USER], vec![USER + 1])
}

/// What a row of a user or role is called.
pub(crate) fn name(row: &[u8]) -> Result<String, EngineError> {
    let name = String::from_utf8(row.get(1..).unwrap_or_default().to_vec());
    name.map_err(|_damaged| EngineError::Corrupt { what: "name" })
}

/// Reads what a row holds; `None`: the default.
pub(crate) fn decode<T: Message + Default>(row: Option<Bytes>) -> Result<T, EngineError> {
    let row = row.unwrap_or_default();
    T::decode(row).map_err(|_damaged| EngineError::Corrupt { what: "small row" })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn leases_sort_by_number_and_their_keys_keep_to_themselves(one: i64, two: i64, key: Vec<u8>) {
            prop_assert_eq!(lease(one).cmp(&lease(two)), one.cmp(&two));
            prop_assert_eq!(lease_id(&lease(one)).unwrap(), one);
            let row = lease_key(one, &key);
            let (start, end) = lease_keys(two);
            prop_assert_eq!(start <= row && row < end, one == two);
            prop_assert_eq!(&key_of_lease(&Bytes::from(row)), &Bytes::from(key));
        }
    }
}
