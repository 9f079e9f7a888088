//! The versions of a record: one row of `cas` for each that is retained, the newest first.
//!
//! What is superseded stays where it was written, so a write is one row and not two. In return, reading a record is a
//! seek to its first row.

use bytes::Bytes;
use rocksdb::{DBRawIterator, ReadOptions, Snapshot};

use crate::{Engine, EngineError, NamespaceId, engine::CAS, keys};

/// One version of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version<'a> {
    /// The revision that wrote it.
    pub(crate) number: u64,
    /// `None`: the revision deleted the record.
    pub(crate) value: Option<&'a [u8]>,
}

/// Looks for the newest versions of records, as RocksDB holds them at one moment.
pub(crate) struct Newest<'a>(DBRawIterator<'a>);

/// Number and value of a version; without a value, it deleted the record.
pub(crate) type OwnedVersion = (u64, Option<Bytes>);

impl<'a> Newest<'a> {
    pub(crate) fn open(engine: &'a Engine) -> Result<Self, EngineError> {
        Ok(Self(engine.db.raw_iterator_cf_opt(engine.family(CAS)?, of_one_record())))
    }

    /// As a view shows them.
    pub(crate) fn in_view(engine: &Engine, view: &'a Snapshot<'a>) -> Result<Self, EngineError> {
        Ok(Self(view.raw_iterator_cf_opt(engine.family(CAS)?, of_one_record())))
    }

    /// A copy of a record's newest version.
    pub(crate) fn owned(
        &mut self,
        namespace: NamespaceId,
        key: &[u8],
    ) -> Result<Option<OwnedVersion>, EngineError> {
        let found = self.of(&keys::versions(namespace, key))?;
        Ok(found.map(|found| (found.number, found.value.map(Bytes::copy_from_slice))))
    }

    /// The newest version of the record whose rows `versions` stands before.
    pub(crate) fn of(&mut self, versions: &[u8]) -> Result<Option<Version<'_>>, EngineError> {
        self.0.seek(versions);
        self.0.status()?;
        let row = self.0.item().filter(|(row, _)| keys::record_part(row) == keys::record_part(versions));
        row.map(|(row, value)| read(row, value)).transpose()
    }
}

fn of_one_record() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_prefix_same_as_start(true);
    options
}

/// Reads a row of `cas`.
pub(crate) fn read<'a>(row: &[u8], value: &'a [u8]) -> Result<Version<'a>, EngineError> {
    let (number, put) = keys::version_of(row)?;
    Ok(Version { number, value: put.then_some(value) })
}
