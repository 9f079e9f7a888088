//! Reading one record of a Strong namespace.

use bytes::Bytes;

use crate::{
    EngineError, NamespaceId, NamespaceInfo, ReadError, Region,
    engine::{CAS, META},
    keys,
    recent::Current,
    region,
    versions::{Newest, OwnedVersion},
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
            let found = match self.recent(namespace, key)? {
                None => Newest::open(self.engine())?.owned(namespace, key)?,
                found => found,
            };
            // Where nothing is left, not even of a delete, it may be of one after the revision was read.
            let Some((version, value)) = found else { return self.get_at_one_moment(namespace, key) };
            // The version may be newer than the revision that was read before it.
            Ok((value.map(|value| Versioned { value, version }), revision.max(version)))
        })
    }

    /// The value that a record had from this version on; `None`: no such version put one, or it is forgotten.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn version(
        &self,
        namespace: NamespaceId,
        key: &[u8],
        version: u64,
    ) -> Result<Option<Bytes>, ReadError> {
        self.whole(|| {
            let row = keys::version(namespace, key, version, true);
            Ok(self.engine().db.get_cf(self.engine().family(CAS)?, row)?.map(Bytes::from))
        })
    }

    /// The record, if `apply` remembers which version is the newest.
    fn recent(&self, namespace: NamespaceId, key: &[u8]) -> Result<Option<OwnedVersion>, EngineError> {
        let Some(Current { version, .. }) = self.known().get(&keys::record(namespace, key)) else {
            return Ok(None);
        };
        let engine = self.engine();
        let row = keys::version(namespace, key, version, true);
        // It is gone if in the meantime it was superseded and forgotten.
        let value = engine.db.get_pinned_cf(engine.family(CAS)?, row)?;
        Ok(value.map(|value| (version, Some(Bytes::copy_from_slice(&value)))))
    }

    /// A record and the revision from one view of the database.
    fn get_at_one_moment(
        &self,
        namespace: NamespaceId,
        key: &[u8],
    ) -> Result<(Option<Versioned>, u64), ReadError> {
        let view = self.engine().db.snapshot();
        let revision = namespace_in(&view, self, namespace)?.revision;
        let found = Newest::in_view(self.engine(), &view)?.owned(namespace, key)?;
        let record = found.and_then(|(version, value)| Some(Versioned { value: value?, version }));
        Ok((record, revision))
    }
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
