//! Between this crate's types and those of the backends.

use bytes::Bytes;
use flaredb_proto::v1::{self, write::Op};

use futures::{Stream, StreamExt as _};

use crate::{Compare, Conflict, Found, IdempotencyId, Record, Revision, StoreError, Version, Watch, Write};

/// A key as FlareDB has it.
pub(crate) fn key(key: String) -> Bytes {
    Bytes::from(key)
}

/// A key as it came from the store. Ours are all text, so another one was written by somebody else.
pub(crate) fn text(key: &[u8]) -> Result<String, StoreError> {
    let text = std::str::from_utf8(key);
    text.map(str::to_owned)
        .map_err(|error| StoreError::corrupt(format!("{:?}", String::from_utf8_lossy(key)), error))
}

pub(crate) fn record(key: &[u8], value: Bytes, version: u64) -> Result<Record, StoreError> {
    Ok(Record { key: text(key)?, value, version: Version(version) })
}

pub(crate) fn compares(compares: Vec<Compare>) -> Vec<v1::Compare> {
    let of = |compare: Compare| v1::Compare { key: key(compare.key), version: compare.version.0 };
    compares.into_iter().map(of).collect()
}

pub(crate) fn writes(writes: Vec<Write>) -> Vec<v1::Write> {
    let of = |write| match write {
        Write::Put { key: put, value } => v1::Write { key: key(put), op: Some(Op::Put(value)) },
        Write::Delete { key: deleted } => v1::Write { key: key(deleted), op: Some(Op::Delete(true)) },
    };
    writes.into_iter().map(of).collect()
}

pub(crate) fn id(id: Option<&IdempotencyId>) -> Bytes {
    id.map(|id| id.as_bytes().clone()).unwrap_or_default()
}

/// A watch, which ends after an error.
pub(crate) fn watch(revisions: impl Stream<Item = Result<Revision, StoreError>> + Send + 'static) -> Watch {
    let until_error = revisions.scan(false, |is_over, next| {
        let was_over = std::mem::replace(is_over, next.is_err());
        std::future::ready((!was_over).then_some(next))
    });
    until_error.boxed()
}

/// What compares found.
pub(crate) fn conflict(conflicts: Vec<v1::Conflict>) -> StoreError {
    let found = conflicts.into_iter().map(found).collect::<Result<_, _>>();
    found.map_or_else(|error| error, |found| StoreError::Conflict(Conflict { found }))
}

fn found(conflict: v1::Conflict) -> Result<Found, StoreError> {
    let v1::Conflict { key, expected, actual, actual_value } = conflict;
    let actual = (actual > 0).then(|| record(&key, actual_value, actual)).transpose()?;
    Ok(Found { key: text(&key)?, expected: Version(expected), actual })
}
