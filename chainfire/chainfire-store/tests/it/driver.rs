//! A store in a temporary folder, driven one command at a time.

use std::path::Path;

use bytes::Bytes;
use chainfire_proto::etcdserverpb::{
    Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    request_op::Request as Op,
};
use chainfire_store::{
    Store,
    internal::{Caller, Command, Outcome as Encoded, command::Request, outcome::Outcome},
    refusal::Refusal,
};
use flaredb_engine::{Applied, Durability, Engine, Entry, Options, RegionId};
use prost::Message as _;
use tempfile::TempDir;

pub(crate) struct Driver {
    /// Closed before its folder goes.
    pub(crate) store: Store,
    pub(crate) folder: TempDir,
    pub(crate) index: u64,
}

pub(crate) fn open(folder: &Path) -> Store {
    let options = Options { durability: Durability::Flushed, memory_bytes: 8 << 20 };
    Store::open(&Engine::open(folder, options).unwrap(), RegionId(1)).unwrap()
}

pub(crate) fn encode(caller: &Caller, request: Request) -> Bytes {
    Command { caller: Some(caller.clone()), request: Some(request) }.encode_to_vec().into()
}

impl Driver {
    pub(crate) fn new() -> Self {
        let folder = TempDir::new().unwrap();
        Self { store: open(folder.path()), folder, index: 0 }
    }

    /// Closes it and opens it again, as after a crash when everything was flushed.
    pub(crate) fn restart(mut self) -> Self {
        self.store.region().flush().unwrap();
        drop(self.store);
        self.store = open(self.folder.path());
        self
    }

    pub(crate) fn apply(&mut self, request: Request) -> Outcome {
        self.apply_as(&Caller::default(), request)
    }

    pub(crate) fn apply_as(&mut self, caller: &Caller, request: Request) -> Outcome {
        self.apply_all(&[encode(caller, request)]).remove(0)
    }

    /// Applies a run of commands in one write.
    pub(crate) fn apply_all(&mut self, commands: &[Bytes]) -> Vec<Outcome> {
        let first = self.index + 1;
        self.index += u64::try_from(commands.len()).unwrap();
        let entry = |(index, command)| Entry { index, command: Some(command) };
        let entries: Vec<Entry<'_>> = (first..).zip(commands).map(entry).collect();
        let applied = Applied { index: self.index, host: Bytes::from_static(b"host") };
        let answers = self.store.apply(&entries, applied).unwrap();
        answers.into_iter().map(|answer| Encoded::decode(answer).unwrap().outcome.unwrap()).collect()
    }

    pub(crate) fn put(&mut self, key: &'static str, value: &'static str) -> i64 {
        match self.apply(put(key, value)) {
            Outcome::Put(response) => response.header.unwrap().revision,
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn get(&self, key: &'static str) -> Option<chainfire_proto::mvccpb::KeyValue> {
        let range = RangeRequest { key: key.into(), ..RangeRequest::default() };
        self.store.range(&Caller::default(), &range).unwrap().kvs.pop()
    }

    pub(crate) fn grant(&mut self, id: i64) -> Outcome {
        self.apply(Request::LeaseGrant(LeaseGrantRequest { id, ttl: 10 }))
    }
}

pub(crate) fn put(key: &'static str, value: &'static str) -> Request {
    put_with_lease(key, value, 0)
}

pub(crate) fn put_with_lease(key: &'static str, value: &'static str, lease: i64) -> Request {
    Request::Put(PutRequest { key: key.into(), value: value.into(), lease, ..PutRequest::default() })
}

pub(crate) fn delete(key: &'static str, range_end: &'static str) -> Request {
    let (key, range_end) = (key.into(), range_end.into());
    Request::DeleteRange(DeleteRangeRequest { key, range_end, prev_kv: false })
}

pub(crate) fn op(request: Request) -> RequestOp {
    let request = match request {
        Request::Put(put) => Op::RequestPut(put),
        Request::DeleteRange(delete) => Op::RequestDeleteRange(delete),
        Request::Txn(txn) => Op::RequestTxn(txn),
        other => panic!("{other:?}"),
    };
    RequestOp { request: Some(request) }
}

/// Holds if the key has this version (0: is not there).
pub(crate) fn version_is(key: &'static str, version: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Version.into(),
        key: key.into(),
        target_union: Some(TargetUnion::Version(version)),
        range_end: Bytes::new(),
    }
}

pub(crate) fn txn(compare: Vec<Compare>, success: Vec<RequestOp>, failure: Vec<RequestOp>) -> Request {
    Request::Txn(TxnRequest { compare, success, failure })
}

pub(crate) fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(refusal.into())
}
