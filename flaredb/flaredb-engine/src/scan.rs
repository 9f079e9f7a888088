//! Pages of a key range, at the present revision or at a retained one.

use std::ops::ControlFlow::{Break, Continue};

use bytes::Bytes;
use flaredb_proto::limits::{SCAN_BYTES_MAX, SCAN_RECORDS_MAX};

use crate::{NamespaceId, ReadError, RecordView, Region, Span};

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
        let mut page = Page::new(&range);
        let span = Span { start: range.start.clone(), end: range.end.clone(), revision: range.revision };
        let revision =
            self.visit(namespace, &span, |record| if page.take(record) { Continue(()) } else { Break(()) })?;
        Ok(ScanPage { records: page.records, revision, next: page.next })
    }
}

struct Page<'a> {
    range: &'a ScanRange,
    limit: usize,
    bytes: usize,
    records: Vec<ScanRecord>,
    /// The first record that there was no room for.
    next: Option<Bytes>,
}

impl<'a> Page<'a> {
    fn new(range: &'a ScanRange) -> Self {
        let limit = if range.limit == 0 { SCAN_RECORDS_MAX } else { range.limit.min(SCAN_RECORDS_MAX) };
        Self { range, limit, bytes: 0, records: Vec::new(), next: None }
    }

    /// Takes the record, or notes that there was no room for it.
    fn take(&mut self, record: RecordView<'_>) -> bool {
        let value = if self.range.keys_only { &[] } else { record.value };
        let bytes = self.bytes + record.key.len() + value.len();
        let full = self.records.len() >= self.limit || bytes > self.range.bytes_max.min(SCAN_BYTES_MAX);
        let key = Bytes::copy_from_slice(record.key);
        if full && !self.records.is_empty() {
            self.next = Some(key);
            return false;
        }
        self.bytes = bytes;
        let value = Bytes::copy_from_slice(value);
        self.records.push(ScanRecord { key, value, version: record.version });
        true
    }
}
