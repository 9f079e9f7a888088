//! etcd's store as one would write it if nothing had to be fast, small or kept: whole maps for each revision.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse, RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        range_request::{SortOrder, SortTarget},
        request_op::Request as Op,
        response_op::Response,
    },
    mvccpb::KeyValue,
};
use chainfire_store::refusal::{self, Refusal};

pub(crate) type State = BTreeMap<Bytes, KeyValue>;

/// Key, what it became, and what it was.
pub(crate) type Change = (Bytes, Option<KeyValue>, Option<KeyValue>);

/// The records at a revision, and what it did.
#[derive(Clone, Default)]
pub(crate) struct Moment {
    pub(crate) state: State,
    pub(crate) changes: Vec<Change>,
}

/// An etcd.
pub(crate) struct Reference {
    /// For each revision, from 0, which never is.
    pub(crate) moments: Vec<Moment>,
    pub(crate) compacted: i64,
    pub(crate) leases: BTreeSet<i64>,
}

fn header(revision: i64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision, ..ResponseHeader::default() })
}

fn range_of(key: &Bytes, range_end: &Bytes) -> KeyRange {
    KeyRange::new(key.clone(), range_end.clone())
}

fn inside<'s>(state: &'s State, range: &'s KeyRange) -> impl Iterator<Item = &'s KeyValue> {
    state.values().filter(|kv| range.contains(&kv.key))
}

impl Reference {
    pub(crate) fn new() -> Self {
        Self { moments: vec![Moment::default(); 2], compacted: 0, leases: BTreeSet::new() }
    }

    pub(crate) fn revision(&self) -> i64 {
        i64::try_from(self.moments.len()).unwrap() - 1
    }

    pub(crate) fn now(&self) -> &State {
        &self.moments.last().unwrap().state
    }

    /// Keys that go with a lease.
    pub(crate) fn keys_of(&self, lease: i64) -> Vec<Bytes> {
        self.now().values().filter(|kv| kv.lease == lease).map(|kv| kv.key.clone()).collect()
    }

    fn begin(&self) -> Moment {
        Moment { state: self.now().clone(), changes: Vec::new() }
    }

    fn finish(&mut self, moment: Moment) {
        if !moment.changes.is_empty() {
            self.moments.push(moment);
        }
    }

    pub(crate) fn put(&mut self, put: &PutRequest) -> Result<PutResponse, Refusal> {
        self.can_put(put)?;
        let mut moment = self.begin();
        let response = self.do_put(&mut moment, put);
        self.finish(moment);
        Ok(response)
    }

    fn can_put(&self, put: &PutRequest) -> Result<(), Refusal> {
        if (put.ignore_value || put.ignore_lease) && !self.now().contains_key(&put.key) {
            return Err(refusal::KEY_NOT_FOUND);
        }
        if put.lease != 0 && !self.leases.contains(&put.lease) {
            Err(refusal::LEASE_NOT_FOUND)
        } else {
            Ok(())
        }
    }

    fn do_put(&self, moment: &mut Moment, put: &PutRequest) -> PutResponse {
        let revision = self.revision() + 1;
        let before = moment.state.get(&put.key).cloned();
        let old = before.clone().unwrap_or(KeyValue { create_revision: revision, ..KeyValue::default() });
        let kv = KeyValue {
            key: put.key.clone(),
            create_revision: old.create_revision,
            mod_revision: revision,
            version: old.version + 1,
            value: if put.ignore_value { old.value } else { put.value.clone() },
            lease: if put.ignore_lease { old.lease } else { put.lease },
        };
        moment.state.insert(put.key.clone(), kv.clone());
        moment.changes.push((put.key.clone(), Some(kv), before.clone()));
        PutResponse { header: header(revision), prev_kv: before.filter(|_| put.prev_kv) }
    }

    pub(crate) fn delete(&mut self, delete: &DeleteRangeRequest) -> DeleteRangeResponse {
        let mut moment = self.begin();
        let response = self.do_delete(&mut moment, delete);
        self.finish(moment);
        response
    }

    fn do_delete(&self, moment: &mut Moment, delete: &DeleteRangeRequest) -> DeleteRangeResponse {
        let range = range_of(&delete.key, &delete.range_end);
        let gone: Vec<KeyValue> = inside(&moment.state, &range).cloned().collect();
        for kv in &gone {
            moment.state.remove(&kv.key);
            moment.changes.push((kv.key.clone(), None, Some(kv.clone())));
        }
        let deleted = i64::try_from(gone.len()).unwrap();
        let reached = self.revision() + i64::from(!moment.changes.is_empty());
        DeleteRangeResponse {
            header: header(reached),
            deleted,
            prev_kvs: if delete.prev_kv { gone } else { Vec::new() },
        }
    }

    pub(crate) fn range(&self, range: &RangeRequest) -> Result<RangeResponse, Refusal> {
        self.range_in(self.now(), self.revision(), range)
    }

    fn range_in(&self, now: &State, revision: i64, request: &RangeRequest) -> Result<RangeResponse, Refusal> {
        let state = match request.revision {
            ..=0 => now,
            future if future > self.revision() => return Err(refusal::FUTURE_REVISION),
            old if old < self.compacted => return Err(refusal::COMPACTED),
            old => &self.moments[usize::try_from(old).unwrap()].state,
        };
        let range = range_of(&request.key, &request.range_end);
        let mut kvs: Vec<KeyValue> = inside(state, &range).cloned().collect();
        let count = i64::try_from(kvs.len()).unwrap();
        let bounded =
            |number: i64, min: i64, max: i64| (min == 0 || min <= number) && (max == 0 || number <= max);
        kvs.retain(|kv| {
            bounded(kv.mod_revision, request.min_mod_revision, request.max_mod_revision)
                && bounded(kv.create_revision, request.min_create_revision, request.max_create_revision)
        });
        // Records that are alike stay in the order of keys, either way.
        if request.sort_order() == SortOrder::Descend {
            kvs.reverse();
        }
        match request.sort_target() {
            SortTarget::Key => kvs.sort_by_key(|kv| kv.key.clone()),
            SortTarget::Version => kvs.sort_by_key(|kv| kv.version),
            SortTarget::Create => kvs.sort_by_key(|kv| kv.create_revision),
            SortTarget::Mod => kvs.sort_by_key(|kv| kv.mod_revision),
            SortTarget::Value => kvs.sort_by_key(|kv| kv.value.clone()),
        }
        if request.sort_order() == SortOrder::Descend {
            kvs.reverse();
        }
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let more = kvs.len() > limit && !request.count_only;
        kvs.truncate(if request.count_only { 0 } else { limit });
        if request.keys_only {
            kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeResponse { header: header(revision), kvs, more, count })
    }

    pub(crate) fn txn(&mut self, txn: &TxnRequest) -> Result<TxnResponse, Refusal> {
        writes(&txn.success)?;
        writes(&txn.failure)?;
        self.can_txn(txn)?;
        let mut moment = self.begin();
        let response = self.do_txn(&mut moment, txn)?;
        self.finish(moment);
        Ok(TxnResponse { header: header(self.revision()), ..response })
    }

    fn branch<'t>(&self, txn: &'t TxnRequest) -> &'t [RequestOp] {
        if txn.compare.iter().all(|compare| self.holds(compare)) { &txn.success } else { &txn.failure }
    }

    fn can_txn(&self, txn: &TxnRequest) -> Result<(), Refusal> {
        self.branch(txn).iter().try_for_each(|op| match op.request.as_ref().unwrap() {
            Op::RequestPut(put) => self.can_put(put),
            Op::RequestRange(range) => self.range(range).map(drop),
            Op::RequestDeleteRange(_) => Ok(()),
            Op::RequestTxn(txn) => self.can_txn(txn),
        })
    }

    fn do_txn(&self, moment: &mut Moment, txn: &TxnRequest) -> Result<TxnResponse, Refusal> {
        let succeeded = txn.compare.iter().all(|compare| self.holds(compare));
        let mut responses = Vec::new();
        for op in self.branch(txn) {
            let response = match op.request.as_ref().unwrap() {
                Op::RequestPut(put) => Response::ResponsePut(self.do_put(moment, put)),
                Op::RequestRange(range) => {
                    let reached = self.revision() + i64::from(!moment.changes.is_empty());
                    Response::ResponseRange(self.range_in(&moment.state, reached, range)?)
                }
                Op::RequestDeleteRange(delete) => {
                    Response::ResponseDeleteRange(self.do_delete(moment, delete))
                }
                Op::RequestTxn(txn) => {
                    let nested = self.do_txn(moment, txn)?;
                    Response::ResponseTxn(TxnResponse { header: header(0), ..nested })
                }
            };
            responses.push(ResponseOp { response: Some(response) });
        }
        Ok(TxnResponse { header: None, succeeded, responses })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let range = range_of(&compare.key, &compare.range_end);
        let mut found = inside(self.now(), &range).peekable();
        if found.peek().is_none() {
            return compare.target() != CompareTarget::Value && holds_for(compare, &KeyValue::default());
        }
        found.all(|kv| holds_for(compare, kv))
    }

    /// Ends a lease, if there is such a one.
    pub(crate) fn revoke(&mut self, lease: i64) {
        if !self.leases.remove(&lease) {
            return;
        }
        let mut moment = self.begin();
        for key in self.keys_of(lease) {
            let before = moment.state.remove(&key);
            moment.changes.push((key, None, before));
        }
        self.finish(moment);
    }
}

fn holds_for(compare: &Compare, kv: &KeyValue) -> bool {
    let order = match compare.target_union.as_ref().unwrap() {
        TargetUnion::Version(number) => kv.version.cmp(number),
        TargetUnion::CreateRevision(number) => kv.create_revision.cmp(number),
        TargetUnion::ModRevision(number) => kv.mod_revision.cmp(number),
        TargetUnion::Lease(number) => kv.lease.cmp(number),
        TargetUnion::Value(value) => kv.value.cmp(value),
    };
    match compare.result() {
        CompareResult::Equal => order.is_eq(),
        CompareResult::NotEqual => order.is_ne(),
        CompareResult::Greater => order.is_gt(),
        CompareResult::Less => order.is_lt(),
    }
}

/// Keys that operations put, and ranges that they delete; no two operations may touch a key that one of them puts.
fn writes(ops: &[RequestOp]) -> Result<(Vec<Bytes>, Vec<KeyRange>), Refusal> {
    let (mut puts, mut deletes): (Vec<Bytes>, Vec<KeyRange>) = (Vec::new(), Vec::new());
    for op in ops {
        let (own_puts, own_deletes) = match op.request.as_ref().unwrap() {
            Op::RequestPut(put) => (vec![put.key.clone()], Vec::new()),
            Op::RequestDeleteRange(delete) => (Vec::new(), vec![range_of(&delete.key, &delete.range_end)]),
            Op::RequestRange(_) => continue,
            Op::RequestTxn(txn) => {
                let (then, otherwise) = (writes(&txn.success)?, writes(&txn.failure)?);
                ([then.0, otherwise.0].concat(), [then.1, otherwise.1].concat())
            }
        };
        let met = |keys: &[Bytes], ranges: &[KeyRange]| {
            keys.iter().any(|key| ranges.iter().any(|range| range.contains(key)))
        };
        let twice = own_puts.iter().any(|key| puts.contains(key));
        if twice || met(&own_puts, &deletes) || met(&puts, &own_deletes) {
            return Err(refusal::DUPLICATE_KEY);
        }
        puts.extend(own_puts);
        deletes.extend(own_deletes);
    }
    Ok((puts, deletes))
}
