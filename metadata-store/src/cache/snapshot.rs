//! What a cache holds: pure, without store or clock.

use std::{collections::BTreeMap, sync::Arc};

use crate::{Entity, Event, Record, Revision, StoreError, Version};

/// How much a cache takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheLimits {
    /// Most records.
    pub records_max: usize,
    /// Most bytes of their keys and values.
    pub bytes_max: usize,
}

impl Default for CacheLimits {
    fn default() -> CacheLimits {
        CacheLimits { records_max: 100_000, bytes_max: 256 << 20 }
    }
}

/// The records do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{found} {what} are more than the cache takes, which is {most}; it stays as it was")]
pub(super) struct Full {
    what: &'static str,
    found: usize,
    most: usize,
}

type Records = BTreeMap<Arc<str>, Arc<Record>>;

/// The records of one revision, which do not change any more.
#[derive(Debug, Default)]
pub struct Snapshot {
    records: Arc<Records>,
    version: Version,
}

impl Snapshot {
    /// The revision that it is of; 0: nothing was listed yet.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The record under a key.
    pub fn get(&self, key: &str) -> Option<&Record> {
        self.records.get(key).map(Arc::as_ref)
    }

    /// The typed record under a key.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when what is there is none of this kind.
    pub fn entity<E: Entity>(&self, key: &str) -> Result<Option<E>, StoreError> {
        self.get(key).map(Record::decode).transpose()
    }

    /// The records under a prefix, in the order of keys.
    pub fn under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = &'a Record> {
        let from =
            self.records.range::<str, _>((std::ops::Bound::Included(prefix), std::ops::Bound::Unbounded));
        from.take_while(move |(key, _)| key.starts_with(prefix)).map(|(_, record)| record.as_ref())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}

/// The next snapshot.
#[derive(Debug)]
pub(super) struct Draft {
    records: Arc<Records>,
    version: Version,
    bytes: usize,
    limits: CacheLimits,
}

impl Draft {
    pub(super) fn new(limits: CacheLimits) -> Draft {
        Draft { records: Arc::default(), version: Version::ABSENT, bytes: 0, limits }
    }

    /// As it is now. The next change copies the map (not the records), unless nobody holds this any more.
    pub(super) fn snapshot(&self) -> Snapshot {
        Snapshot { records: Arc::clone(&self.records), version: self.version }
    }

    /// Takes a page of the first list.
    pub(super) fn list(&mut self, page: Vec<Record>, revision: Version) -> Result<(), Full> {
        page.into_iter().for_each(|record| self.put(record));
        self.version = revision;
        self.fits()
    }

    /// Takes a revision of the watch. When it does not fit, the draft is spoilt.
    pub(super) fn apply(&mut self, revision: Revision) -> Result<(), Full> {
        let Revision { version, events } = revision;
        for Event { key, value, .. } in events {
            match value {
                Some(value) => self.put(Record { key, value, version }),
                None => self.remove(&key),
            }
        }
        self.version = version;
        self.fits()
    }

    fn put(&mut self, record: Record) {
        self.bytes += size(&record);
        let replaced = Arc::make_mut(&mut self.records).insert(record.key.as_str().into(), record.into());
        self.bytes -= replaced.map_or(0, |record| size(&record));
    }

    fn remove(&mut self, key: &str) {
        let removed = Arc::make_mut(&mut self.records).remove(key);
        self.bytes -= removed.map_or(0, |record| size(&record));
    }

    fn fits(&self) -> Result<(), Full> {
        let CacheLimits { records_max, bytes_max } = self.limits;
        let full = |what, found, most| if found > most { Err(Full { what, found, most }) } else { Ok(()) };
        full("records", self.records.len(), records_max)?;
        full("bytes", self.bytes, bytes_max)
    }
}

fn size(record: &Record) -> usize {
    record.key.len() + record.value.len()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn event(key: &str, value: Option<&'static str>) -> Event {
        Event { key: key.to_owned(), value: value.map(Bytes::from), previous: Version::ABSENT }
    }

    fn revision(version: u64, events: Vec<Event>) -> Revision {
        Revision { version: Version(version), events }
    }

    #[test]
    fn snapshot_that_was_taken_does_not_change() {
        let mut draft = Draft::new(CacheLimits::default());
        draft.apply(revision(1, vec![event("/a/1", Some("1")), event("/a2", Some("1"))])).unwrap();
        let before = draft.snapshot();
        draft.apply(revision(2, vec![event("/a/1", None), event("/a/2", Some("2"))])).unwrap();
        let after = draft.snapshot();
        let keys =
            |snapshot: &Snapshot| snapshot.under("/a/").map(|record| record.key.clone()).collect::<Vec<_>>();
        assert_eq!((keys(&before), before.version()), (vec!["/a/1".to_owned()], Version(1)));
        assert_eq!((keys(&after), after.version()), (vec!["/a/2".to_owned()], Version(2)));
        assert_eq!(after.get("/a/2").map(|record| record.version), Some(Version(2)));
    }

    #[test]
    fn what_does_not_fit_is_refused_with_the_bound() {
        let mut draft = Draft::new(CacheLimits { records_max: 2, bytes_max: 20 });
        draft.apply(revision(1, vec![event("/1", Some("123")), event("/2", Some("123"))])).unwrap();
        draft.apply(revision(2, vec![event("/1", None), event("/3", Some("1234567890"))])).unwrap();
        let full = draft.apply(revision(3, vec![event("/2", Some("12345678"))])).unwrap_err();
        assert_eq!(
            full.to_string(),
            "22 bytes are more than the cache takes, which is 20; it stays as it was"
        );
    }
}
