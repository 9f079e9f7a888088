//! Namespaces: what is known about each, and the table of them that reads use.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use flaredb_proto::v1::{self, NamespaceMode};
use prost::Message as _;

use crate::EngineError;

/// A namespace's number; never given to another one, not even when this one is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(pub u32);

/// Everything that is kept about a namespace besides its records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// Its name.
    pub name: String,
    /// Its number.
    pub id: NamespaceId,
    /// Which operations it takes.
    pub mode: NamespaceMode,
    /// What every key starts with; empty: anything.
    pub key_prefix: Bytes,
    /// Live records.
    pub keys: u64,
    /// Bytes of their keys and values.
    pub bytes: u64,
    /// Most records; 0: no bound.
    pub keys_max: u64,
    /// Most bytes; 0: no bound.
    pub bytes_max: u64,
    /// The last revision.
    pub revision: u64,
    /// The oldest revision whose events are retained.
    pub oldest_revision: u64,
    /// Eventual: writes with a lower timestamp are refused, because tombstones that old may be gone.
    pub oldest_ts: u64,
}

impl From<NamespaceInfo> for v1::Namespace {
    fn from(info: NamespaceInfo) -> Self {
        Self {
            name: info.name,
            id: info.id.0,
            mode: info.mode.into(),
            key_prefix: info.key_prefix,
            keys: info.keys,
            bytes: info.bytes,
            keys_max: info.keys_max,
            bytes_max: info.bytes_max,
            revision: info.revision,
            oldest_revision: info.oldest_revision,
            oldest_ts: info.oldest_ts,
        }
    }
}

impl NamespaceInfo {
    /// A Strong namespace without a number, in which nothing is and nothing is limited.
    pub(crate) fn empty(name: String) -> Self {
        Self {
            name,
            id: NamespaceId(0),
            mode: NamespaceMode::Strong,
            key_prefix: Bytes::new(),
            keys: 0,
            bytes: 0,
            keys_max: 0,
            bytes_max: 0,
            revision: 0,
            oldest_revision: 1,
            oldest_ts: 0,
        }
    }

    /// As the row that is kept.
    pub(crate) fn encode(&self) -> Vec<u8> {
        v1::Namespace::from(self.clone()).encode_to_vec()
    }

    /// Reads the row back.
    pub(crate) fn decode(row: &[u8]) -> Result<Self, EngineError> {
        const WHAT: EngineError = EngineError::Corrupt { what: "namespace row" };
        let row = v1::Namespace::decode(row).map_err(|_damaged| WHAT)?;
        if row.mode() == NamespaceMode::Unspecified {
            return Err(WHAT);
        }
        Ok(Self {
            mode: row.mode(),
            name: row.name,
            id: NamespaceId(row.id),
            key_prefix: row.key_prefix,
            keys: row.keys,
            bytes: row.bytes,
            keys_max: row.keys_max,
            bytes_max: row.bytes_max,
            revision: row.revision,
            oldest_revision: row.oldest_revision,
            oldest_ts: row.oldest_ts,
        })
    }
}

/// The namespaces of a region, by number and by name. Clones share what neither of them has changed since.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    by_id: Arc<BTreeMap<NamespaceId, Arc<NamespaceInfo>>>,
    by_name: Arc<BTreeMap<String, NamespaceId>>,
}

impl Table {
    pub(crate) fn get(&self, id: NamespaceId) -> Option<&Arc<NamespaceInfo>> {
        self.by_id.get(&id)
    }

    pub(crate) fn named(&self, name: &str) -> Option<&Arc<NamespaceInfo>> {
        self.get(*self.by_name.get(name)?)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &NamespaceInfo> {
        self.by_id.values().map(|info| &**info)
    }

    pub(crate) fn insert(&mut self, info: NamespaceInfo) {
        if self.by_name.get(&info.name) != Some(&info.id) {
            Arc::make_mut(&mut self.by_name).insert(info.name.clone(), info.id);
        }
        Arc::make_mut(&mut self.by_id).insert(info.id, Arc::new(info));
    }

    /// Changes what is known about a namespace, except its name and number.
    pub(crate) fn change(&mut self, id: NamespaceId, change: impl FnOnce(&mut NamespaceInfo)) {
        if let Some(info) = Arc::make_mut(&mut self.by_id).get_mut(&id) {
            change(Arc::make_mut(info));
        }
    }

    pub(crate) fn remove(&mut self, id: NamespaceId) {
        if let Some(info) = Arc::make_mut(&mut self.by_id).remove(&id) {
            Arc::make_mut(&mut self.by_name).remove(&info.name);
        }
    }
}
