//! How keys of the column families are made.
//!
//! User keys have any length, so where something follows them they are escaped such that order is kept and no key is
//! the beginning of another: `00` becomes `00 ff`, and `00 01` ends the key.

use crate::{EngineError, NamespaceId, codec::take_u32};

/// The position in a revision behind all of its events, where its idempotency id stands.
pub(crate) const ID_POSITION: u32 = u32::MAX;

/// Namespace and key: rows of `cas`, `raw` and `ids`.
pub(crate) fn record(namespace: NamespaceId, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(4 + key.len());
    row.extend_from_slice(&namespace.0.to_be_bytes());
    row.extend_from_slice(key);
    row
}

/// The user's part of a row of `cas`, `raw` or `ids`.
pub(crate) fn user_key(row: &[u8]) -> Result<&[u8], EngineError> {
    Ok(take_u32(row, "record key")?.1)
}

/// The first row behind a namespace.
pub(crate) fn namespace_end(namespace: NamespaceId) -> Vec<u8> {
    // Ids are counted from 1 and never reach the last one.
    namespace.0.saturating_add(1).to_be_bytes().to_vec()
}

/// The beginning of all rows of `old` for one key.
pub(crate) fn old_prefix(namespace: NamespaceId, key: &[u8]) -> Vec<u8> {
    let mut row = Vec::with_capacity(4 + key.len() + 10);
    row.extend_from_slice(&namespace.0.to_be_bytes());
    for &byte in key {
        row.push(byte);
        if byte == 0 {
            row.push(0xff);
        }
    }
    row.extend_from_slice(&[0, 1]);
    row
}

/// A row of `old`: what a key was from `version` on.
pub(crate) fn old(namespace: NamespaceId, key: &[u8], version: u64) -> Vec<u8> {
    let mut row = old_prefix(namespace, key);
    row.extend_from_slice(&version.to_be_bytes());
    row
}

/// Key and version of a row of `old`.
pub(crate) fn split_old(row: &[u8]) -> Result<(Vec<u8>, u64), EngineError> {
    const WHAT: EngineError = EngineError::Corrupt { what: "history key" };
    let (escaped, version) = row.split_last_chunk().ok_or(WHAT)?;
    let escaped = escaped.get(4..).and_then(|key| key.strip_suffix(&[0, 1])).ok_or(WHAT)?;
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        key.push(byte);
        if byte == 0 && bytes.next() != Some(&0xff) {
            return Err(WHAT);
        }
    }
    Ok((key, u64::from_be_bytes(*version)))
}

/// The beginning of all rows of `hist` for one revision.
pub(crate) fn revision(namespace: NamespaceId, revision: u64) -> Vec<u8> {
    let mut row = Vec::with_capacity(16);
    row.extend_from_slice(&namespace.0.to_be_bytes());
    row.extend_from_slice(&revision.to_be_bytes());
    row
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

    proptest! {
        #[test]
        fn escaped_keys_sort_as_the_keys_do_and_read_back(
            one in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()], 0..6),
            two in proptest::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(0xff), any::<u8>()], 0..6),
            version: u64,
        ) {
            let namespace = NamespaceId(7);
            let rows = (old(namespace, &one, version), old(namespace, &two, 0));
            if one != two {
                prop_assert_eq!(rows.0.cmp(&rows.1), one.cmp(&two));
            }
            prop_assert_eq!(split_old(&rows.0).unwrap(), (one, version));
        }
    }
}
