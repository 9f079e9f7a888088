//! Whose turn it is, of those who wait under one name: locks and elections (etcd's concurrency recipes).
//!
//! Each waiter has a key under the name, with its lease; the one whose key was created first has the turn. A waiter waits
//! for the one before it alone, so the end of a turn wakes one of them. The key's creation revision rises from turn to
//! turn, which makes it a fencing token.

use std::sync::Arc;

use bytes::Bytes;
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        Compare, DeleteRangeRequest, LeaseGrantRequest, PutRequest, RangeRequest, RequestOp, TxnRequest,
        TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request as Op,
        response_op::Response as Answer,
    },
    mvccpb::KeyValue,
};
use chainfire_store::{
    internal::{Caller, command::Request as Proposal, outcome::Outcome},
    refusal,
};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tonic::Status;

use crate::{
    api::Api,
    status::{self, unexpected},
};

/// The time of a lease that is made for somebody who brings none, as etcd's.
const LEASE_TTL_S: i64 = 60;

/// A place among those who wait.
#[derive(Debug, Clone)]
pub(crate) struct Turn {
    /// Its key, which is there for as long as it is waited for or has come.
    pub(crate) key: Bytes,
    /// The revision that created the key.
    pub(crate) revision: i64,
    /// The lease that it goes with.
    pub(crate) lease: i64,
    /// Nobody had it before with this lease.
    pub(crate) is_new: bool,
}

fn put(key: Bytes, value: Bytes, lease: i64) -> RequestOp {
    let put = PutRequest { key, value, lease, ..PutRequest::default() };
    RequestOp { request: Some(Op::RequestPut(put)) }
}

fn created_at(key: &Bytes, revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Create.into(),
        key: key.clone(),
        range_end: Bytes::new(),
        target_union: Some(TargetUnion::CreateRevision(revision)),
    }
}

/// What all keys under a name begin with.
fn prefix(name: &[u8]) -> KeyRange {
    KeyRange::prefix([name, b"/"].concat())
}

/// The first record under a name by creation; of those created up to `before`, the last one.
fn by_creation(name: &[u8], before: Option<i64>) -> RangeRequest {
    let (key, range_end) = prefix(name).into_request();
    let order = if before.is_some() { SortOrder::Descend } else { SortOrder::Ascend };
    RangeRequest {
        key,
        range_end,
        limit: 1,
        sort_order: order.into(),
        sort_target: SortTarget::Create.into(),
        max_create_revision: before.unwrap_or_default(),
        ..RangeRequest::default()
    }
}

impl Api {
    async fn commit(&self, caller: Caller, txn: TxnRequest) -> Result<TxnResponse, Status> {
        match self.propose(caller, Proposal::Txn(txn)).await? {
            Outcome::Txn(response) => Ok(response),
            _ => Err(unexpected("a transaction")),
        }
    }

    /// Takes a place behind those who wait under a name. Who has one with this lease keeps it, with the new value.
    pub(crate) async fn queue(
        &self,
        caller: Caller,
        name: &[u8],
        lease: i64,
        value: Bytes,
    ) -> Result<Turn, Status> {
        let lease = match lease {
            0 => self.grant(caller.clone(), LeaseGrantRequest { ttl: LEASE_TTL_S, id: 0 }).await?.id,
            lease => lease,
        };
        let key = Bytes::from([name, format!("/{lease:x}").as_bytes()].concat());
        let get = RangeRequest { key: key.clone(), ..RangeRequest::default() };
        let get = RequestOp { request: Some(Op::RequestRange(get)) };
        let txn = TxnRequest {
            compare: vec![created_at(&key, 0)],
            success: vec![put(key.clone(), value.clone(), lease)],
            failure: vec![get],
        };
        let response = self.commit(caller.clone(), txn).await?;
        let Some(revision) = created(&response) else { return Err(unexpected("a transaction")) };
        let turn = Turn { key, revision, lease, is_new: response.succeeded };
        if !response.succeeded && !value.is_empty() {
            self.rewrite(caller, &turn, value).await?;
        }
        Ok(turn)
    }

    /// Gives a place another value; whether it is still there.
    pub(crate) async fn rewrite(
        &self,
        caller: Caller,
        turn: &Turn,
        value: Bytes,
    ) -> Result<Option<i64>, Status> {
        let txn = TxnRequest {
            compare: vec![created_at(&turn.key, turn.revision)],
            success: vec![put(turn.key.clone(), value, turn.lease)],
            failure: Vec::new(),
        };
        let response = self.commit(caller, txn).await?;
        Ok(response.header.map(|header| header.revision).filter(|_| response.succeeded))
    }

    /// Gives a place up; the revision at which it is gone.
    pub(crate) async fn leave(&self, caller: Caller, turn: &Turn) -> Result<i64, Status> {
        let delete = DeleteRangeRequest { key: turn.key.clone(), ..DeleteRangeRequest::default() };
        let txn = TxnRequest {
            compare: vec![created_at(&turn.key, turn.revision)],
            success: vec![RequestOp { request: Some(Op::RequestDeleteRange(delete)) }],
            failure: Vec::new(),
        };
        let response = self.commit(caller, txn).await?;
        Ok(response.header.map_or(0, |header| header.revision))
    }

    /// Waits until everybody before this place is gone; refused if the place went with its lease.
    pub(crate) async fn come(&self, caller: &Caller, name: &[u8], turn: &Turn) -> Result<(), Status> {
        let mut changes = self.changes.subscribe();
        let mut before: Option<KeyValue> = None;
        // What was applied by now shows the place itself.
        self.read_index().await?;
        loop {
            changes.mark_unchanged();
            if let Some(kv) = &before
                && self.is_there(kv)?
            {
                self.wait(&mut changes).await?;
                continue;
            }
            before = self.one(caller, by_creation(name, Some(turn.revision - 1))).await?;
            if before.is_none() {
                break;
            }
        }
        self.read_index().await?;
        let own = KeyValue { key: turn.key.clone(), create_revision: turn.revision, ..KeyValue::default() };
        // A turn is worth nothing without a living lease.
        if self.is_there(&own)? { Ok(()) } else { Err(status::refused(refusal::LEASE_NOT_FOUND)) }
    }

    async fn wait(&self, changes: &mut watch::Receiver<()>) -> Result<(), Status> {
        match self.stop.run_until_cancelled(changes.changed()).await {
            Some(Ok(())) => Ok(()),
            _ => Err(status::refused(refusal::STOPPED)),
        }
    }

    /// Whether a record of this creation is still there, whatever its value.
    fn is_there(&self, kv: &KeyValue) -> Result<bool, Status> {
        let found = self.store.record(&kv.key).map_err(status::unreadable)?;
        Ok(found.is_some_and(|found| found.create_revision == kv.create_revision))
    }

    /// Who has the turn now.
    pub(crate) async fn first(&self, caller: &Caller, name: &[u8]) -> Result<Option<KeyValue>, Status> {
        self.one(caller, by_creation(name, None)).await
    }

    /// The record of a range that has only one, by what the caller may read now, however long they have waited.
    async fn one(&self, caller: &Caller, range: RangeRequest) -> Result<Option<KeyValue>, Status> {
        let caller = Caller { auth_revision: self.auth()?.revision(), ..caller.clone() };
        Ok(self.read(move |store| store.range(&caller, &range)).await?.kvs.pop())
    }

    /// A place among those that may wait at this node.
    pub(crate) fn place(&self) -> Result<OwnedSemaphorePermit, Status> {
        self.watches.enter_owned().map_err(|_busy| status::refused(refusal::TOO_MANY_REQUESTS))
    }
}

/// When the record that a transaction put or found was created.
fn created(response: &TxnResponse) -> Option<i64> {
    match response.responses.first()?.response.as_ref()? {
        Answer::ResponsePut(put) => Some(put.header.as_ref()?.revision),
        Answer::ResponseRange(range) => Some(range.kvs.first()?.create_revision),
        _ => None,
    }
}

/// A place that is given up if its waiter goes away before its turn has come.
pub(crate) struct Waiting {
    api: Api,
    caller: Caller,
    turn: Option<Turn>,
}

impl Waiting {
    /// Of a place that its waiter has taken; one from before is somebody's who may have the turn already.
    pub(crate) fn new(api: &Api, caller: &Caller, turn: &Turn) -> Self {
        Self { api: api.clone(), caller: caller.clone(), turn: Some(turn.clone()).filter(|turn| turn.is_new) }
    }

    /// The turn has come.
    pub(crate) fn done(mut self) {
        self.turn = None;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let Some(turn) = self.turn.take() else { return };
        let (api, caller) = (self.api.clone(), self.caller.clone());
        let tasks = Arc::clone(&self.api.node).tasks.clone();
        tasks.spawn("abandoned turn", async move {
            if let Err(status) = api.leave(caller, &turn).await {
                tracing::debug!(%status, "a place was not given up; it goes with its lease");
            }
        });
    }
}
