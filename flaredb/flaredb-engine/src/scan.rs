//! Pages of a key range, at the present revision or at a retained one.
//!
//! Each key is what its largest version up to that revision says. Its newer versions come before that one and its older
//! ones behind it; where there are many of them, they are jumped over.

use bytes::Bytes;
use flaredb_proto::limits::{SCAN_BYTES_MAX, SCAN_RECORDS_MAX};
use rocksdb::{DBRawIterator, Snapshot};

use crate::{
    Engine, EngineError, NamespaceId, NamespaceInfo, ReadError, Region,
    engine::CAS,
    keys,
    read::namespace_in,
    versions::{self, Version},
};

/// Rows that are stepped over before a jump, which costs about as much as these.
const STEPS_MAX: usize = 8;

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
            let mut records = Records::open(self, &view, namespace, &range, revision)?;
            while let Some(record) = records.next()? {
                if let Some(next) = page.take(record) {
                    return Ok(page.end(Some(next.key)));
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

    /// Takes the record; gives it back if there was no room for it.
    fn take(&mut self, record: ScanRecord) -> Option<ScanRecord> {
        let bytes = self.bytes + record.key.len() + record.value.len();
        let full = self.page.records.len() >= self.limit || bytes > self.range.bytes_max.min(SCAN_BYTES_MAX);
        if full && !self.page.records.is_empty() {
            return Some(record);
        }
        self.bytes = bytes;
        self.page.records.push(record);
        None
    }

    fn end(mut self, next: Option<Bytes>) -> ScanPage {
        self.page.next = next;
        self.page
    }
}

/// The records of a range as of a revision, in the order of keys.
struct Records<'a> {
    /// Stands at the first row of a record.
    rows: DBRawIterator<'a>,
    end: Option<&'a Bytes>,
    namespace: NamespaceId,
    revision: u64,
    keys_only: bool,
}

impl<'a> Records<'a> {
    fn open(
        region: &'a Region,
        view: &'a Snapshot<'a>,
        namespace: NamespaceId,
        range: &'a ScanRange,
        revision: u64,
    ) -> Result<Self, EngineError> {
        let mut options = Engine::in_order();
        // Who goes on at the revision of an earlier page reads much, once: it would drive out what is read often.
        options.fill_cache(range.revision.is_none());
        let mut rows = view.raw_iterator_cf_opt(region.engine().family(CAS)?, options);
        rows.seek(keys::versions(namespace, &range.start));
        Ok(Self { rows, end: range.end.as_ref(), namespace, revision, keys_only: range.keys_only })
    }

    fn next(&mut self) -> Result<Option<ScanRecord>, EngineError> {
        let namespace = self.namespace.0.to_be_bytes();
        while let Some(row) = self.rows.key().filter(|row| row.starts_with(&namespace)) {
            let (key, part) = (keys::record_key(row)?, keys::record_part(row).to_vec());
            if self.end.is_some_and(|end| key[..] >= end[..]) {
                return Ok(None);
            }
            self.go_to(&keys::versions_from(&part, self.revision));
            let found = self.version(&part)?;
            self.go_to(&keys::versions_end(&part));
            if let Some((version, value)) = found {
                return Ok(Some(ScanRecord { key: key.into(), value, version }));
            }
        }
        self.rows.status()?;
        Ok(None)
    }

    /// Version and value of the record, if the row is one of its versions and put something.
    fn version(&self, part: &[u8]) -> Result<Option<(u64, Bytes)>, EngineError> {
        let Some((row, value)) = self.rows.item().filter(|(row, _)| keys::record_part(row) == part) else {
            return Ok(None);
        };
        let Version { number, value } = versions::read(row, value)?;
        let kept = |value| if self.keys_only { Bytes::new() } else { Bytes::copy_from_slice(value) };
        Ok(value.map(|value| (number, kept(value))))
    }

    /// Goes on to the first row that is not before `target`.
    fn go_to(&mut self, target: &[u8]) {
        for _ in 0..STEPS_MAX {
            if self.rows.key().is_none_or(|row| row >= target) {
                return;
            }
            self.rows.next();
        }
        self.rows.seek(target);
    }
}
