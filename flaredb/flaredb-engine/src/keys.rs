//! How keys of the column families are made.
//!
//! User keys have any length, so where something follows them they are escaped such that order is kept and no key is
//! the beginning of another: `00` becomes `00 ff`, and `00 01` ends the key.

use crate::{
    EngineError, NamespaceId,
    codec::{take_u32, take_u64},
};

/// The position in a revision behind all of its events, where its idempotency id stands.
pub(crate) const ID_POSITION: u32 = u32::MAX;

/// Namespace and key: rows of `raw` and `ids`.
pub(crate) fn record(namespace: NamespaceId, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(4 + key.len());
    row.extend_from_slice(&namespace.0.to_be_bytes());
    row.extend_from_slice(key);
    row
}

/// The user's part of a row of `raw` or `ids`.
pub(crate) fn user_key(row: &[u8]) -> Result<&[u8], EngineError> {
    Ok(take_u32(row, "record key")?.1)
}

/// The first row behind a namespace.
pub(crate) fn namespace_end(namespace: NamespaceId) -> Vec<u8> {
    // Ids are counted from 1 and never reach the last one.
    namespace.0.saturating_add(1).to_be_bytes().to_vec()
}

/// What follows the escaped key in a row of `cas`: the version, inverted so that newer ones come first, and what the
/// version did.
const VERSION_BYTES: usize = 9;
/// The shortest row of `cas`: namespace, end of an empty key, version.
const VERSION_ROW_BYTES_MIN: usize = 4 + 2 + VERSION_BYTES;

/// Stands before all rows of `cas` for one key.
pub(crate) fn versions(namespace: NamespaceId, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(VERSION_ROW_BYTES_MIN + key.len());
    row.extend_from_slice(&namespace.0.to_be_bytes());
    escape(key, &mut row);
    row.extend_from_slice(&[0, 1]);
    row.extend_from_slice(&[0; VERSION_BYTES]);
    row
}

fn escape(key: &[u8], row: &mut Vec<u8>) {
    for (number, piece) in key.split(|byte| *byte == 0).enumerate() {
        if number > 0 {
            row.extend_from_slice(&[0, 0xff]);
        }
        row.extend_from_slice(piece);
    }
}

/// A row of `cas`: what a key became with `version`.
pub(crate) fn version(namespace: NamespaceId, key: &[u8], version: u64, put: bool) -> Vec<u8> {
    let mut row = versions(namespace, key);
    row.truncate(row.len() - VERSION_BYTES);
    row.extend_from_slice(&(!version).to_be_bytes());
    row.push(u8::from(put));
    row
}

/// Whether a row of `cas` is long enough to be one.
pub(crate) fn is_version(row: &[u8]) -> bool {
    row.len() >= VERSION_ROW_BYTES_MIN
}

/// What all rows of `cas` for one key begin with.
pub(crate) fn record_part(row: &[u8]) -> &[u8] {
    row.get(..row.len().saturating_sub(VERSION_BYTES)).unwrap_or_default()
}

/// Stands before the versions from `version` down, of the record whose part this is.
pub(crate) fn versions_from(record_part: &[u8], version: u64) -> Vec<u8> {
    [record_part, &(!version).to_be_bytes()].concat()
}

/// Stands behind all versions of the record whose part this is, and before the next one.
pub(crate) fn versions_end(record_part: &[u8]) -> Vec<u8> {
    let mut end = record_part.to_vec();
    if let Some(last) = end.last_mut() {
        *last = 2;
    }
    end
}

/// Version of a row of `cas`, and whether it put something.
pub(crate) fn version_of(row: &[u8]) -> Result<(u64, bool), EngineError> {
    let (version, put) = take_u64(&row[record_part(row).len()..], "record version")?;
    Ok((!version, put == [1]))
}

/// The user's part of a row of `cas`.
pub(crate) fn record_key(row: &[u8]) -> Result<Vec<u8>, EngineError> {
    const WHAT: EngineError = EngineError::Corrupt { what: "record key" };
    let escaped = record_part(row).get(4..).and_then(|key| key.strip_suffix(&[0, 1])).ok_or(WHAT)?;
    let mut key = Vec::with_capacity(escaped.len());
    for (number, piece) in escaped.split(|byte| *byte == 0).enumerate() {
        if number == 0 {
            key.extend_from_slice(piece);
        } else {
            key.push(0);
            key.extend_from_slice(piece.strip_prefix(&[0xff]).ok_or(WHAT)?);
        }
    }
    Ok(key)
}

/// The beginning of all rows of `hist` for one revision.
pub(crate) fn revision(namespace: NamespaceId, revision: u64) -> Vec<u8> {
    let mut row = Vec::with_capacity(16);
    row.extend_from_slice(&namespace.0.to_be_bytes());
    row.extend_from_slice(&revision.to_be_bytes());
    row
}

/// The revision of a row of `hist`.
pub(crate) fn revision_of(row: &[u8]) -> Result<u64, EngineError> {
    Ok(take_u64(row.get(4..).unwrap_or_default(), "history key")?.0)
}

/// A row of `hist`.
pub(crate) fn event(namespace: NamespaceId, number: u64, position: u32) -> Vec<u8> {
    let mut row = revision(namespace, number);
    row.extend_from_slice(&position.to_be_bytes());
    row
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(2), Just(0xff), any::<u8>()], 0..6)
    }

    proptest! {
        #[test]
        fn records_sort_as_their_keys_do_and_read_back(
            one in bytes(),
            two in bytes(),
            number: u64,
            other: u64,
            put: bool,
        ) {
            let namespace = NamespaceId(7);
            let row = version(namespace, &one, number, put);
            prop_assert_eq!((record_key(&row).unwrap(), version_of(&row).unwrap()), (one.clone(), (number, put)));
            prop_assert!(is_version(&row) && versions(namespace, &one) <= row);
            let end = versions_end(record_part(&row));
            prop_assert!(row < end);
            let neighbour = version(namespace, &two, other, put);
            if one < two {
                prop_assert!(end <= neighbour);
            } else if one > two {
                prop_assert!(neighbour < row);
            } else {
                prop_assert_eq!(neighbour.cmp(&row), number.cmp(&other));
                prop_assert_eq!(versions_from(record_part(&row), other) <= row, number <= other);
            }
        }
    }
}
