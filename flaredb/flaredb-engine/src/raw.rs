//! Records of Eventual namespaces: the winning write of each key, and reads of them.

use bytes::{BufMut as _, Bytes, BytesMut};
use flaredb_proto::limits::{SCAN_BYTES_MAX, SCAN_RECORDS_MAX};

use crate::{
    EngineError, NamespaceId, ReadError, Region,
    codec::{take_u8, take_u64},
    engine::RAW,
    keys,
};

/// A live record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    /// Its key.
    pub key: Bytes,
    /// Its value.
    pub value: Bytes,
    /// The timestamp of the write that won.
    pub ts: u64,
}

/// A page of a key range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawPage {
    /// Its records, in the order of keys.
    pub records: Vec<RawRecord>,
    /// Where the next page starts; `None`: this was the last.
    pub next: Option<Bytes>,
}

/// A row of `raw`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) ts: u64,
    pub(crate) origin: u64,
    /// `None`: a tombstone, kept so that an older write that arrives later stays dead.
    pub(crate) value: Option<Bytes>,
}

impl Row {
    /// Whether this one stays when `other` arrives. Of two writes with one timestamp and origin, which only a
    /// misused origin can make, the larger content wins, so that the order of arrival still decides nothing.
    pub(crate) fn wins_over(&self, other: &Self) -> bool {
        (self.ts, self.origin, &self.value) >= (other.ts, other.origin, &other.value)
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(17 + self.value.as_ref().map_or(0, Bytes::len));
        row.put_u64(self.ts);
        row.put_u64(self.origin);
        row.put_u8(u8::from(self.value.is_some()));
        row.put_slice(self.value.as_deref().unwrap_or_default());
        row.freeze()
    }

    pub(crate) fn decode(row: Bytes) -> Result<Self, EngineError> {
        let (ts, rest) = take_u64(&row, "eventual record")?;
        let (origin, rest) = take_u64(rest, "eventual record")?;
        let (live, _) = take_u8(rest, "eventual record")?;
        Ok(Self { ts, origin, value: (live == 1).then(|| row.slice(17..)) })
    }
}

impl Region {
    /// The record under `key`, as far as this replica has applied.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn raw_get(&self, namespace: NamespaceId, key: &[u8]) -> Result<Option<RawRecord>, ReadError> {
        let engine = self.engine();
        let found = engine.db.get_cf(engine.family(RAW)?, keys::record(namespace, key))?;
        let Some(row) = found.map(|row| Row::decode(row.into())).transpose()? else { return Ok(None) };
        let key = Bytes::copy_from_slice(key);
        Ok(row.value.map(|value| RawRecord { key, value, ts: row.ts }))
    }

    /// One page of the records from `start` to before `end` (`None`: the end of the namespace), at most `limit`.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn raw_scan(
        &self,
        namespace: NamespaceId,
        start: &[u8],
        end: Option<&[u8]>,
        limit: usize,
    ) -> Result<RawPage, ReadError> {
        let limit = if limit == 0 { SCAN_RECORDS_MAX } else { limit.min(SCAN_RECORDS_MAX) };
        let view = self.engine().db.snapshot();
        let mut rows = view.raw_iterator_cf(self.engine().family(RAW)?);
        rows.seek(keys::record(namespace, start));
        let (mut records, mut bytes) = (Vec::new(), 0);
        while let Some((key, row)) = rows.item().filter(|(key, _)| key.starts_with(&namespace.0.to_be_bytes())) {
            let key = Bytes::copy_from_slice(keys::user_key(key)?);
            if end.is_some_and(|end| &key[..] >= end) {
                break;
            }
            let row = Row::decode(Bytes::copy_from_slice(row))?;
            if let Some(value) = row.value {
                bytes += key.len() + value.len();
                if !records.is_empty() && (records.len() >= limit || bytes > SCAN_BYTES_MAX) {
                    return Ok(RawPage { records, next: Some(key) });
                }
                records.push(RawRecord { key, value, ts: row.ts });
            }
            rows.next();
        }
        rows.status()?;
        Ok(RawPage { records, next: None })
    }
}
