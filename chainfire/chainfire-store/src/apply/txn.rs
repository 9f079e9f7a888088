//! Transactions: looked through before anything is done, then done at one revision.

use chainfire_proto::etcdserverpb::{
    RangeRequest, TxnRequest, TxnResponse, request_op::Request as Op, response_op::Response,
};
use flaredb_engine::Revision;

use super::{Effect, Work, keys::MOST};
use crate::{
    StoreError,
    check::{TXN_OPS_MAX, check_txn},
    internal::{Caller, outcome::Outcome},
    number::header,
    path,
    refusal::{KEY_NOT_FOUND, NO_SPACE, REQUEST_TOO_LARGE},
    view::{self, Extent},
};

impl Work<'_, '_> {
    pub(super) fn txn(&mut self, caller: &Caller, txn: &TxnRequest) -> Effect {
        check_txn(txn, TXN_OPS_MAX)?;
        self.may_txn(caller, txn)?;
        if self.has_no_space() && has_put(txn) {
            return Err(NO_SPACE.into());
        }
        let mut path = path::find(&mut self.view(None), txn)?;
        self.can_do(&path::ops(txn, &path))?;
        let mut revision = self.begin()?;
        let response = path::follow(txn, &mut path, &mut |op| self.perform(&mut revision, op))?;
        self.transaction.finish(&revision);
        Ok(Outcome::Txn(TxnResponse { header: header(self.revision()), ..response }))
    }

    /// Refuses operations one of which would be refused.
    fn can_do(&mut self, ops: &[&Op]) -> Result<(), StoreError> {
        let mut rest = MOST;
        for op in ops {
            match op {
                Op::RequestRange(range) => {
                    self.readable(range.revision)?;
                    self.fits(&mut rest, range)?;
                }
                Op::RequestPut(put) => self.can_put(put, ops.len())?,
                Op::RequestDeleteRange(delete) => {
                    let (key, range_end) = (delete.key.clone(), delete.range_end.clone());
                    self.fits(&mut rest, &RangeRequest { key, range_end, ..RangeRequest::default() })?;
                }
                Op::RequestTxn(_) => {}
            }
        }
        Ok(())
    }

    /// Takes what a range may hold from what there is room for. One record always has room.
    fn fits(&mut self, rest: &mut Extent, range: &RangeRequest) -> Result<(), StoreError> {
        if range.range_end.is_empty() || range.count_only {
            return Ok(());
        }
        let keys = view::range_of(&range.key, &range.range_end);
        let extent = view::extent(&mut self.view(None), &keys, range.revision, *rest)?;
        let records = rest.records.checked_sub(extent.records).ok_or(REQUEST_TOO_LARGE)?;
        let bytes = rest.bytes.checked_sub(extent.bytes).ok_or(REQUEST_TOO_LARGE)?;
        *rest = Extent { records, bytes };
        Ok(())
    }

    fn perform(&mut self, revision: &mut Revision, op: &Op) -> Result<Response, StoreError> {
        match op {
            Op::RequestRange(range) => Ok(Response::ResponseRange(self.range_in(revision, range)?)),
            Op::RequestPut(put) => Ok(Response::ResponsePut(self.do_put(revision, put)?)),
            Op::RequestDeleteRange(delete) => {
                Ok(Response::ResponseDeleteRange(self.do_delete(revision, delete)?))
            }
            Op::RequestTxn(_) => Err(KEY_NOT_FOUND.into()),
        }
    }
}

fn has_put(txn: &TxnRequest) -> bool {
    txn.success.iter().chain(&txn.failure).any(|op| match &op.request {
        Some(Op::RequestPut(_)) => true,
        Some(Op::RequestTxn(txn)) => has_put(txn),
        _ => false,
    })
}
