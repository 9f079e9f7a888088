//! Reading one record of a Strong namespace.

use bytes::Bytes;

use crate::{
    EngineError, NamespaceId, NamespaceInfo, ReadError, Region,
    codec::take_u64,
    engine::{CAS, META},
    keys, region,
};

/// A value and the revision that wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// The value.
    pub value: Bytes,
    /// The namespace's revision that wrote it.
    pub version: u64,
}

impl Region {
    /// The record under `key`, and a revision of the namespace that the answer reflects.
    ///
    /// # Errors
    /// When the namespace is gone or the state cannot be read.
    pub fn get(&self, namespace: NamespaceId, key: &[u8]) -> Result<(Option<Versioned>, u64), ReadError> {
        self.whole(|| {
            let revision = self.with_namespace(namespace, |info| info.revision);
            let revision = revision.ok_or(ReadError::NoNamespace(namespace.0))?;
            let engine = self.engine();
            let found = engine.db.get_pinned_cf(engine.family(CAS)?, keys::record(namespace, key))?;
            // It may have been deleted after the revision was read, of which there is no trace.
            let Some(row) = found else { return self.get_at_one_moment(namespace, key) };
            let record = versioned(&row)?;
            // The record may be newer than the revision that was read before it.
            let revision = revision.max(record.version);
            Ok((Some(record), revision))
        })
    }

    /// A record and the revision from one view of the database.
    fn get_at_one_moment(
        &self,
        namespace: NamespaceId,
        key: &[u8],
    ) -> Result<(Option<Versioned>, u64), ReadError> {
        let engine = self.engine();
        let view = engine.db.snapshot();
        let revision = namespace_in(&view, self, namespace)?.revision;
        let found = view.get_cf(engine.family(CAS)?, keys::record(namespace, key))?;
        Ok((found.map(|row| versioned(&row)).transpose()?, revision))
    }
}

fn versioned(row: &[u8]) -> Result<Versioned, EngineError> {
    let (version, value) = take_u64(row, "record")?;
    Ok(Versioned { value: Bytes::copy_from_slice(value), version })
}

/// The namespace as a view of the database shows it, so that revision and records are of one moment.
pub(crate) fn namespace_in(
    view: &rocksdb::Snapshot<'_>,
    region: &Region,
    namespace: NamespaceId,
) -> Result<NamespaceInfo, ReadError> {
    let row = view.get_cf(region.engine().family(META)?, region::namespace_key(region.id(), namespace))?;
    let row = row.ok_or(ReadError::NoNamespace(namespace.0))?;
    Ok(NamespaceInfo::decode(&row)?)
}
