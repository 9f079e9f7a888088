//! Whether a request is well-formed, which needs no state (etcd's checks of the same).

use std::collections::BTreeSet;

use bytes::Bytes;
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, range_request::SortOrder,
        range_request::SortTarget, request_op::Request as Op,
    },
};

use crate::{
    internal::command::Request,
    refusal::{
        DUPLICATE_KEY, EMPTY_KEY, INVALID_SORT_OPTION, KEY_NOT_FOUND, LEASE_PROVIDED, Refusal, TOO_MANY_OPS,
        VALUE_PROVIDED,
    },
    view::range_of,
};

/// Compares or operations of one list of a transaction; what is nested counts against those around it. The same at every
/// node, whatever it lets in.
pub const TXN_OPS_MAX: usize = 2_048;
/// The same of what is nested, which bounds its depth as well.
const NESTED_OPS_MAX: usize = 127;

/// Refuses a command that is not well-formed, so that it is not proposed in vain; it would be refused all the same. And
/// one with more operations in a transaction than the node lets in, which is at most [`TXN_OPS_MAX`].
///
/// # Errors
/// With etcd's refusal.
pub fn check(request: &Request, txn_ops_max: usize) -> Result<(), Refusal> {
    match request {
        Request::Put(put) => check_put(put),
        Request::DeleteRange(delete) => check_delete(delete),
        Request::Txn(txn) => check_txn(txn, txn_ops_max),
        _ => Ok(()),
    }
}

/// Whether no branch of a transaction writes, so that it can be answered without being proposed.
pub fn is_read_only(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).all(|op| match &op.request {
        Some(Op::RequestPut(_) | Op::RequestDeleteRange(_)) => false,
        Some(Op::RequestTxn(txn)) => is_read_only(txn),
        Some(Op::RequestRange(_)) | None => true,
    })
}

fn has_key(key: &Bytes) -> Result<(), Refusal> {
    if key.is_empty() { Err(EMPTY_KEY) } else { Ok(()) }
}

pub(crate) fn check_range(range: &RangeRequest) -> Result<(), Refusal> {
    has_key(&range.key)?;
    let known =
        SortOrder::try_from(range.sort_order).is_ok() && SortTarget::try_from(range.sort_target).is_ok();
    if known { Ok(()) } else { Err(INVALID_SORT_OPTION) }
}

pub(crate) fn check_put(put: &PutRequest) -> Result<(), Refusal> {
    has_key(&put.key)?;
    if put.ignore_value && !put.value.is_empty() {
        return Err(VALUE_PROVIDED);
    }
    if put.ignore_lease && put.lease != 0 { Err(LEASE_PROVIDED) } else { Ok(()) }
}

pub(crate) fn check_delete(delete: &DeleteRangeRequest) -> Result<(), Refusal> {
    has_key(&delete.key)
}

pub(crate) fn check_txn(txn: &TxnRequest, ops_max: usize) -> Result<(), Refusal> {
    check_ops(txn, ops_max.min(TXN_OPS_MAX))?;
    writes(&txn.success)?;
    writes(&txn.failure)?;
    Ok(())
}

fn check_ops(txn: &TxnRequest, ops_max: usize) -> Result<(), Refusal> {
    let ops = txn.compare.len().max(txn.success.len()).max(txn.failure.len());
    let rest = ops_max.checked_sub(ops).ok_or(TOO_MANY_OPS)?;
    txn.compare.iter().try_for_each(|compare| has_key(&compare.key))?;
    txn.success.iter().chain(&txn.failure).try_for_each(|op| match &op.request {
        Some(Op::RequestRange(range)) => check_range(range),
        Some(Op::RequestPut(put)) => check_put(put),
        Some(Op::RequestDeleteRange(delete)) => check_delete(delete),
        Some(Op::RequestTxn(txn)) => check_ops(txn, rest.min(NESTED_OPS_MAX)),
        None => Err(KEY_NOT_FOUND),
    })
}

/// What a list of operations may write.
#[derive(Default)]
struct Writes {
    puts: BTreeSet<Bytes>,
    deletes: Vec<KeyRange>,
}

impl Writes {
    fn put(&mut self, key: &Bytes) -> Result<(), Refusal> {
        self.not_deleted(key)?;
        if self.puts.insert(key.clone()) { Ok(()) } else { Err(DUPLICATE_KEY) }
    }

    fn not_deleted(&self, key: &[u8]) -> Result<(), Refusal> {
        if self.deletes.iter().any(|range| range.contains(key)) { Err(DUPLICATE_KEY) } else { Ok(()) }
    }

    /// Adds what a nested transaction may write; of its branches, only one is done.
    fn nest(&mut self, success: Self, failure: Self) -> Result<(), Refusal> {
        let puts: BTreeSet<Bytes> = success.puts.union(&failure.puts).cloned().collect();
        let deletes = success.deletes.into_iter().chain(failure.deletes);
        puts.iter().try_for_each(|key| self.not_deleted(key))?;
        if puts.iter().any(|key| self.puts.contains(key)) {
            return Err(DUPLICATE_KEY);
        }
        for range in deletes {
            if self.puts.iter().any(|key| range.contains(key)) {
                return Err(DUPLICATE_KEY);
            }
            self.deletes.push(range);
        }
        self.puts.extend(puts);
        Ok(())
    }
}

/// What operations may write; refused if one of them could write what another one does, but for what two delete.
fn writes(ops: &[RequestOp]) -> Result<Writes, Refusal> {
    let mut all = Writes::default();
    for op in ops {
        if let Some(Op::RequestDeleteRange(delete)) = &op.request {
            all.deletes.push(range_of(&delete.key, &delete.range_end));
        }
    }
    for op in ops {
        if let Some(Op::RequestTxn(txn)) = &op.request {
            all.nest(writes(&txn.success)?, writes(&txn.failure)?)?;
        }
    }
    for op in ops {
        if let Some(Op::RequestPut(put)) = &op.request {
            all.put(&put.key)?;
        }
    }
    Ok(all)
}
