//! Which branches of a transaction are done. All compares, also those of nested transactions, are of the state before
//! anything is done.

use std::collections::VecDeque;

use chainfire_proto::etcdserverpb::{
    RequestOp, ResponseHeader, ResponseOp, TxnRequest, TxnResponse, request_op::Request as Op,
    response_op::Response,
};

use crate::{StoreError, compare, view::View};

/// For each transaction in the order in which they are done, whether its compares hold.
pub(crate) type Path = VecDeque<bool>;

/// Finds the way through a transaction.
pub(crate) fn find(view: &mut impl View, txn: &TxnRequest) -> Result<Path, StoreError> {
    let mut path = Path::new();
    walk(view, txn, &mut path)?;
    Ok(path)
}

fn walk(view: &mut impl View, txn: &TxnRequest, path: &mut Path) -> Result<(), StoreError> {
    let mut holds = true;
    for compare in &txn.compare {
        if !compare::holds(view, compare)? {
            holds = false;
            break;
        }
    }
    path.push_back(holds);
    for op in branch(txn, holds) {
        if let Some(Op::RequestTxn(txn)) = &op.request {
            walk(view, txn, path)?;
        }
    }
    Ok(())
}

/// The operations that are done if the compares hold, or do not.
pub(crate) fn branch(txn: &TxnRequest, holds: bool) -> &[RequestOp] {
    if holds { &txn.success } else { &txn.failure }
}

/// The operations on the way, without the transactions around them, in order.
pub(crate) fn ops<'t>(txn: &'t TxnRequest, path: &Path) -> Vec<&'t Op> {
    let (mut path, mut ops) = (path.clone(), Vec::new());
    collect(txn, &mut path, &mut ops);
    ops
}

fn collect<'t>(txn: &'t TxnRequest, path: &mut Path, ops: &mut Vec<&'t Op>) {
    let holds = path.pop_front().unwrap_or_default();
    for op in branch(txn, holds).iter().filter_map(|op| op.request.as_ref()) {
        match op {
            Op::RequestTxn(txn) => collect(txn, path, ops),
            op => ops.push(op),
        }
    }
}

/// Does what is on the way, one operation after the other; the answers in the shape of the transaction.
pub(crate) fn follow(
    txn: &TxnRequest,
    path: &mut Path,
    perform: &mut dyn FnMut(&Op) -> Result<Response, StoreError>,
) -> Result<TxnResponse, StoreError> {
    let succeeded = path.pop_front().unwrap_or_default();
    let mut responses = Vec::new();
    for op in branch(txn, succeeded).iter().filter_map(|op| op.request.as_ref()) {
        let response = match op {
            Op::RequestTxn(txn) => {
                let nested = follow(txn, path, perform)?;
                // As in etcd, it is there and says nothing.
                Response::ResponseTxn(TxnResponse { header: Some(ResponseHeader::default()), ..nested })
            }
            op => perform(op)?,
        };
        responses.push(ResponseOp { response: Some(response) });
    }
    Ok(TxnResponse { header: None, succeeded, responses })
}
