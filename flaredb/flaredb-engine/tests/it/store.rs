//! An engine in a temporary folder, driven one command at a time.

use bytes::Bytes;
use flaredb_engine::{Applied, Durability, Engine, Entry, NamespaceId, Options, Region, RegionId};
use flaredb_proto::v1::{
    CasCommit, CasDelete, CasPut, Compare, CreateNamespaceRequest, FlareRequest, NamespaceMode, Write,
    flare_request::Command, flare_response::Outcome, write::Op,
};
use prost::Message as _;
use tempfile::TempDir;

pub(crate) struct Store {
    /// Closed before its folder goes.
    pub(crate) region: Region,
    pub(crate) folder: TempDir,
    index: u64,
}

impl Store {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let region = open(&folder);
        Self::of(folder, region)
    }

    /// A new region that was opened otherwise.
    pub(crate) fn of(folder: TempDir, region: Region) -> Self {
        Self { folder, region, index: 0 }
    }

    /// With one Strong namespace, which gets the number 1.
    pub(crate) fn strong() -> Self {
        let mut store = Self::new();
        store.create("strong", NamespaceMode::Strong, "");
        store
    }

    /// With one Eventual namespace, which gets the number 1.
    pub(crate) fn eventual() -> Self {
        let mut store = Self::new();
        store.create("eventual", NamespaceMode::Eventual, "");
        store
    }

    pub(crate) fn create(&mut self, name: &str, mode: NamespaceMode, prefix: &'static str) -> Outcome {
        self.apply(Command::CreateNamespace(CreateNamespaceRequest {
            name: name.to_owned(),
            mode: mode.into(),
            key_prefix: prefix.into(),
            ..Default::default()
        }))
    }

    pub(crate) fn apply(&mut self, command: Command) -> Outcome {
        self.apply_all(vec![command]).remove(0)
    }

    /// Applies a run of commands in one write.
    pub(crate) fn apply_all(&mut self, commands: Vec<Command>) -> Vec<Outcome> {
        let encoded: Vec<_> = commands.into_iter().map(encode).collect();
        let first = self.index + 1;
        self.index += u64::try_from(encoded.len()).unwrap();
        let entries: Vec<_> =
            (first..).zip(&encoded).map(|(index, command)| Entry { index, command: Some(command) }).collect();
        let applied = Applied { index: self.index, host: Bytes::from_static(b"host") };
        let responses = self.region.apply(&entries, applied).unwrap();
        responses.into_iter().map(|response| response.outcome.unwrap()).collect()
    }

    pub(crate) fn get(&self, key: &str) -> Option<(String, u64)> {
        let (record, _) = self.region.get(NamespaceId(1), key.as_bytes()).unwrap();
        record.map(|record| (String::from_utf8(record.value.to_vec()).unwrap(), record.version))
    }
}

pub(crate) fn open(folder: &TempDir) -> Region {
    let options = Options { durability: Durability::Flushed, ..Options::default() };
    Engine::open(folder.path(), options).unwrap().region(RegionId(1)).unwrap()
}

pub(crate) fn encode(command: Command) -> Bytes {
    FlareRequest { command: Some(command) }.encode_to_vec().into()
}

pub(crate) fn put(key: &str, value: &str, expected_version: u64) -> Command {
    Command::CasPut(CasPut {
        namespace_id: 1,
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        expected_version,
        ..Default::default()
    })
}

pub(crate) fn delete(key: &str, expected_version: u64) -> Command {
    let key = key.to_owned().into();
    Command::CasDelete(CasDelete { namespace_id: 1, key, expected_version, ..Default::default() })
}

/// A batch of puts (`Some`) and deletes (`None`).
pub(crate) fn commit(compares: &[(&str, u64)], writes: &[(&str, Option<&str>)], id: &'static str) -> Command {
    let compare = |&(key, version): &(&str, u64)| Compare { key: key.to_owned().into(), version };
    let write = |&(key, value): &(&str, Option<&str>)| Write {
        key: key.to_owned().into(),
        op: Some(value.map_or(Op::Delete(true), |value| Op::Put(value.to_owned().into()))),
    };
    Command::CasCommit(CasCommit {
        namespace_id: 1,
        compares: compares.iter().map(compare).collect(),
        writes: writes.iter().map(write).collect(),
        ts: 0,
        idempotency_id: id.into(),
    })
}
