//! Pages of a key range, at the present revision or at a retained one.
//!
//! At the present revision the current records are all there is. At an earlier one, each key is what its largest
//! version up to that revision says, so current and superseded records are read side by side in the order of keys.

use std::cmp::Ordering;

use bytes::Bytes;
use flaredb_proto::limits::{SCAN_BYTES_MAX, SCAN_RECORDS_MAX};
use rocksdb::{DBRawIterator, Snapshot};

use crate::{
    EngineError, NamespaceId, NamespaceInfo, ReadError, Region,
    apply::OLD_VALUE,
    codec::{take_u8, take_u64},
    engine::{CAS, OLD},
    keys,
    read::namespace_in,
};

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRange {
    /// First key.
    pub start: Bytes,
    /// First key behind the range; `None`: to the end of the namespace.
    pub end: Option<Bytes>,
    /// Most records; 0 or more than 1,024: 1,024.
    pub limit: usize,
    /// Most bytes of keys and values, but for a first record that is larger.
    pub bytes_max: usize,
    /// `None`: the present one.
    pub revision: Option<u64>,
    /// Leave the values out.
    pub keys_only: bool,
}

impl Default for ScanRange {
    fn default() -> Self {
        Self {
            start: Bytes::new(),
            end: None,
            limit: SCAN_RECORDS_MAX,
            bytes_max: SCAN_BYTES_MAX,
            revision: None,
            keys_only: false,
        }
    }
}

/// One record of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanRecord {
    /// Its key.
    pub key: Bytes,
    /// Its value; empty when only keys were asked for.
    pub value: Bytes,
    /// The revision that wrote it.
    pub version: u64,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanPage {
    /// Its records, in the order of keys.
    pub records: Vec<ScanRecord>,
    /// The revision that they are of.
    pub revision: u64,
    /// Where the next page starts; `None`: this was the last.
    pub next: Option<Bytes>,
}

impl Region {
    /// Reads one page.
    ///
    /// # Errors
    /// When the revision is not retained or not reached, the namespace is gone, or the state cannot be read.
    pub fn scan(&self, namespace: NamespaceId, range: ScanRange) -> Result<ScanPage, ReadError> {
        self.whole(|| {
            let view = self.engine().db.snapshot();
            let info = namespace_in(&view, self, namespace)?;
            let revision = retained(&info, range.revision)?;
            let mut page = Page::new(&range, revision);
            let mut records = Records::open(self, &view, &info, &range, revision)?;
            while let Some((key, version, value)) = records.next()? {
                if !page.take(&key, version, &value) {
                    return Ok(page.end(Some(key.into())));
                }
            }
            Ok(page.end(None))
        })
    }
}

/// The revision to read at, if the namespace can still show it.
fn retained(info: &NamespaceInfo, wanted: Option<u64>) -> Result<u64, ReadError> {
    match wanted {
        None => Ok(info.revision),
        Some(requested) if requested > info.revision => {
            Err(ReadError::FutureRevision { requested, newest: info.revision })
        }
        // The state just before the oldest retained event is still whole.
        Some(requested) if requested + 1 < info.oldest_revision => {
            Err(ReadError::TooOld { requested, oldest: info.oldest_revision })
        }
        Some(requested) => Ok(requested),
    }
}

struct Page<'a> {
    range: &'a ScanRange,
    limit: usize,
    bytes: usize,
    page: ScanPage,
}

impl<'a> Page<'a> {
    fn new(range: &'a ScanRange, revision: u64) -> Self {
        let limit = if range.limit == 0 { SCAN_RECORDS_MAX } else { range.limit.min(SCAN_RECORDS_MAX) };
        Self { range, limit, bytes: 0, page: ScanPage { records: Vec::new(), revision, next: None } }
    }

    /// Whether the record had room.
    fn take(&mut self, key: &[u8], version: u64, value: &[u8]) -> bool {
        let value = if self.range.keys_only { &[] } else { value };
        let bytes = self.bytes + key.len() + value.len();
        let full = self.page.records.len() >= self.limit || bytes > self.range.bytes_max.min(SCAN_BYTES_MAX);
        if full && !self.page.records.is_empty() {
            return false;
        }
        self.bytes = bytes;
        let (key, value) = (Bytes::copy_from_slice(key), Bytes::copy_from_slice(value));
        self.page.records.push(ScanRecord { key, value, version });
        true
    }

    fn end(mut self, next: Option<Bytes>) -> ScanPage {
        self.page.next = next;
        self.page
    }
}

/// Key, version, value.
type Found = (Vec<u8>, u64, Vec<u8>);

/// The records of a range as of a revision, in the order of keys.
struct Records<'a> {
    current: DBRawIterator<'a>,
    /// Superseded records; left out where the current ones are all there is.
    old: Option<DBRawIterator<'a>>,
    end: Option<Bytes>,
    namespace: NamespaceId,
    revision: u64,
}

impl<'a> Records<'a> {
    fn open(
        region: &'a Region,
        view: &'a Snapshot<'a>,
        info: &NamespaceInfo,
        range: &ScanRange,
        revision: u64,
    ) -> Result<Self, EngineError> {
        let mut current = view.raw_iterator_cf(region.engine().family(CAS)?);
        current.seek(keys::record(info.id, &range.start));
        let mut old = None;
        if revision < info.revision {
            let mut superseded = view.raw_iterator_cf(region.engine().family(OLD)?);
            superseded.seek(keys::old_prefix(info.id, &range.start));
            old = Some(superseded);
        }
        Ok(Self { current, old, end: range.end.clone(), namespace: info.id, revision })
    }

    fn next(&mut self) -> Result<Option<Found>, EngineError> {
        loop {
            let current =
                row_key(&self.current, self.namespace).map(|row| keys::user_key(row).map(<[u8]>::to_vec));
            let current = current.transpose()?;
            let old = self.old.as_ref().and_then(|old| row_key(old, self.namespace));
            let old = old.map(|row| keys::split_old(row).map(|(key, _)| key)).transpose()?;
            let Some(key) = [&current, &old].into_iter().flatten().min().cloned() else { break };
            if self.end.as_ref().is_some_and(|end| key[..] >= end[..]) {
                return Ok(None);
            }
            let from_old = if old.as_ref().map(|old| old.cmp(&key)) == Some(Ordering::Equal) {
                self.take_old(&key)?
            } else {
                None
            };
            let from_current = if current.as_ref() == Some(&key) { self.take_current()? } else { None };
            if let Some((version, value)) = from_current.or(from_old) {
                return Ok(Some((key, version, value)));
            }
        }
        self.current.status()?;
        if let Some(old) = &self.old {
            old.status()?;
        }
        Ok(None)
    }

    /// The current record, unless it is newer than the revision.
    fn take_current(&mut self) -> Result<Option<(u64, Vec<u8>)>, EngineError> {
        let (version, value) = take_u64(self.current.value().unwrap_or_default(), "record")?;
        let found = (version <= self.revision).then(|| (version, value.to_vec()));
        self.current.next();
        Ok(found)
    }

    /// What the key was at the revision, from all of its superseded records.
    fn take_old(&mut self, key: &[u8]) -> Result<Option<(u64, Vec<u8>)>, EngineError> {
        let Some(old) = &mut self.old else { return Ok(None) };
        let prefix = keys::old_prefix(self.namespace, key);
        let mut found = None;
        while let Some(row) = old.key().filter(|row| row.starts_with(&prefix)) {
            let (_, version) = keys::split_old(row)?;
            if version <= self.revision {
                let (tag, value) = take_u8(old.value().unwrap_or_default(), "superseded record")?;
                found = (tag == OLD_VALUE).then(|| (version, value.to_vec()));
            }
            old.next();
        }
        Ok(found)
    }
}

/// The row that the iterator is at, while it is one of the namespace.
fn row_key<'a>(iterator: &'a DBRawIterator<'_>, namespace: NamespaceId) -> Option<&'a [u8]> {
    iterator.key().filter(|row| row.starts_with(&namespace.0.to_be_bytes()))
}
