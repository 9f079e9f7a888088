//! Records of Eventual namespaces: the winning write of each key, and reads of them.

use bytes::{BufMut as _, Bytes, BytesMut};
use flaredb_proto::limits::{SCAN_BYTES_MAX, SCAN_RECORDS_MAX};
use rocksdb::ReadOptions;

use crate::{
    EngineError, NamespaceId, ReadError, Region,
    codec::{take_u8, take_u64},
    engine::RAW,
    keys,
};

const WHAT: &str = "eventual record";

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

/// Tombstones among a run of rows, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TombstonePage {
    /// Their keys.
    pub keys: Vec<Bytes>,
    /// Where the next run starts; `None`: this was the last.
    pub next: Option<Bytes>,
}

/// Rows that one read looks at, most of which may be tombstones that it does not bring.
const LOOKED_AT_MAX: usize = 10_000;
/// Tombstones that one read brings.
const TOMBSTONES_MAX: usize = 1_000;

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

    pub(crate) fn is_tombstone_before(&self, ts: u64) -> bool {
        self.value.is_none() && self.ts < ts
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut row = BytesMut::with_capacity(17 + self.value.as_ref().map_or(0, Bytes::len));
        row.put_u64(self.ts);
        row.put_u64(self.origin);
        row.put_u8(u8::from(self.value.is_some()));
        row.put_slice(self.value.as_deref().unwrap_or_default());
        row.freeze()
    }

    /// The value in an encoded row; `None`: a tombstone.
    fn decode_live(row: &[u8]) -> Result<Option<&[u8]>, EngineError> {
        let (live, value) = take_u8(row.get(16..).unwrap_or_default(), WHAT)?;
        Ok((live == 1).then_some(value))
    }

    pub(crate) fn decode(row: Bytes) -> Result<Self, EngineError> {
        let (ts, rest) = take_u64(&row, WHAT)?;
        let (origin, rest) = take_u64(rest, WHAT)?;
        let (live, _) = take_u8(rest, WHAT)?;
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
        let found =
            self.whole(|| Ok(engine.db.get_cf(engine.family(RAW)?, keys::record(namespace, key))?))?;
        let Some(row) = found.map(|row| Row::decode(row.into())).transpose()? else { return Ok(None) };
        let key = Bytes::copy_from_slice(key);
        Ok(row.value.map(|value| RawRecord { key, value, ts: row.ts }))
    }

    /// One page of the records from `start` to before `end` (`None`: the end of the namespace), at most `limit`. A
    /// page may be empty and not the last: among many deleted records.
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
        self.whole(|| {
            let limit = if limit == 0 { SCAN_RECORDS_MAX } else { limit.min(SCAN_RECORDS_MAX) };
            let mut page = RawPage { records: Vec::new(), next: None };
            let mut bytes = 0;
            page.next = self.raw_rows(namespace, start, ReadOptions::default(), |key, row| {
                if end.is_some_and(|end| key >= end) {
                    return Ok(Step::End);
                }
                let Some(value) = Row::decode_live(row)? else { return Ok(Step::Next) };
                bytes += key.len() + value.len();
                if !page.records.is_empty() && (page.records.len() >= limit || bytes > SCAN_BYTES_MAX) {
                    return Ok(Step::Full);
                }
                let (ts, _) = take_u64(row, WHAT)?;
                let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
                page.records.push(RawRecord { key, value, ts });
                Ok(Step::Next)
            })?;
            Ok(page)
        })
    }

    /// Tombstones with a timestamp below `before_ts`, from `start` on, for
    /// [`CollectTombstones`](flaredb_proto::v1::CollectTombstones).
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn old_tombstones(
        &self,
        namespace: NamespaceId,
        before_ts: u64,
        start: &[u8],
    ) -> Result<TombstonePage, ReadError> {
        self.whole(|| {
            let mut keys = Vec::new();
            // It goes over everything there is, again and again, and would drive out what is read often.
            let mut options = ReadOptions::default();
            options.fill_cache(false);
            let next = self.raw_rows(namespace, start, options, |key, row| {
                let (ts, _) = take_u64(row, WHAT)?;
                if ts < before_ts && Row::decode_live(row)?.is_none() {
                    keys.push(Bytes::copy_from_slice(key));
                }
                Ok(if keys.len() > TOMBSTONES_MAX { Step::Full } else { Step::Next })
            })?;
            keys.truncate(TOMBSTONES_MAX);
            Ok(TombstonePage { keys, next })
        })
    }

    /// Shows the rows of a namespace to `take`, which gets the user's key; returns where it has not been.
    fn raw_rows(
        &self,
        namespace: NamespaceId,
        start: &[u8],
        options: ReadOptions,
        mut take: impl FnMut(&[u8], &[u8]) -> Result<Step, EngineError>,
    ) -> Result<Option<Bytes>, EngineError> {
        let view = self.engine().db.snapshot();
        let mut rows = view.raw_iterator_cf_opt(self.engine().family(RAW)?, options);
        rows.seek(keys::record(namespace, start));
        let mut looked_at = 0;
        while let Some((key, row)) =
            rows.item().filter(|(key, _)| key.starts_with(&namespace.0.to_be_bytes()))
        {
            let key = keys::user_key(key)?;
            let step = if looked_at >= LOOKED_AT_MAX { Step::Full } else { take(key, row)? };
            match step {
                Step::Next => {}
                Step::Full => return Ok(Some(Bytes::copy_from_slice(key))),
                Step::End => return Ok(None),
            }
            looked_at += 1;
            rows.next();
        }
        rows.status()?;
        Ok(None)
    }
}

/// What to do after a row.
enum Step {
    /// Go on.
    Next,
    /// There was no room for it.
    Full,
    /// It is behind the range.
    End,
}
