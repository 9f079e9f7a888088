//! Whether the caller of a command may do what it does, checked where it is done: what was allowed when it was proposed
//! may be forbidden by now.

use chainfire_proto::{
    KeyRange,
    etcdserverpb::{DeleteRangeRequest, PutRequest, TxnRequest, request_op::Request as Op},
};

use super::Work;
use crate::{Auth, StoreError, internal::Caller, view::range_of};

impl Work<'_, '_> {
    pub(super) fn may_put(&self, caller: &Caller, put: &PutRequest) -> Result<(), StoreError> {
        let range = KeyRange::One(put.key.clone());
        self.auth.may_write(caller, &range)?;
        if put.prev_kv || put.ignore_value {
            self.auth.may_read(caller, &range)?;
        }
        self.may_write_lease(caller, put.lease)
    }

    pub(super) fn may_delete(&self, caller: &Caller, delete: &DeleteRangeRequest) -> Result<(), StoreError> {
        let range = range_of(&delete.key, &delete.range_end);
        self.auth.may_write(caller, &range)?;
        if delete.prev_kv {
            self.auth.may_read(caller, &range)?;
        }
        Ok(())
    }

    /// Also of what is not done this time: whether it is done tells something as well.
    pub(super) fn may_txn(&self, caller: &Caller, txn: &TxnRequest) -> Result<(), StoreError> {
        if self.auth.may_everything(caller)? {
            return Ok(());
        }
        may_compare(self.auth, caller, txn)?;
        txn.success.iter().chain(&txn.failure).try_for_each(|op| match &op.request {
            Some(Op::RequestRange(range)) => {
                Ok(self.auth.may_read(caller, &range_of(&range.key, &range.range_end))?)
            }
            Some(Op::RequestPut(put)) => self.may_put(caller, put),
            Some(Op::RequestDeleteRange(delete)) => self.may_delete(caller, delete),
            Some(Op::RequestTxn(txn)) => self.may_txn(caller, txn),
            None => Ok(()),
        })
    }
}

/// Compares read what they compare.
fn may_compare(auth: &Auth, caller: &Caller, txn: &TxnRequest) -> Result<(), StoreError> {
    let ranges = txn.compare.iter().map(|compare| range_of(&compare.key, &compare.range_end));
    ranges.into_iter().try_for_each(|range| Ok(auth.may_read(caller, &range)?))
}
