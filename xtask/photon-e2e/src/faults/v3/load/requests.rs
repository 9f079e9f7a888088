//! How the registers are kept by etcd's API: a key's version is the revision that changed it last, and a swap is a
//! transaction that compares it.

use std::sync::Arc;

use chainfire_client::{Client, Error};
use chainfire_proto::{
    etcdserverpb::{
        DeleteRangeRequest, PutRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse,
        request_op, response_op,
    },
    mvccpb::KeyValue,
};
use rand::{RngExt as _, rngs::StdRng};

use super::{
    super::{chain, feed::number, one, put, swap},
    failed,
};
use crate::faults::{
    history::{Did, Outcome},
    load::{Shared, strong::Requests},
};

/// Requests through the client library.
#[derive(Debug)]
pub(super) struct Routed {
    router: Client,
    /// One client for each slot, which asks that node and no other.
    nodes: Arc<Vec<Client>>,
}

impl Routed {
    /// By a router of its own, and clients of single nodes that are shared.
    pub(super) fn new(router: Client, nodes: Arc<Vec<Client>>) -> Self {
        Self { router, nodes }
    }
}

impl Requests for Routed {
    async fn ask(&mut self, shared: &Shared, key: &str, did: &Did, random: &mut StdRng) -> Outcome {
        if *did != Did::Get {
            return write(&self.router, key, did).await;
        }
        // Some go where the client library sends them.
        let routed = random.random_bool(0.2);
        let node = self.nodes.get(shared.any_slot(random)).filter(|_| !routed);
        get(node.unwrap_or(&self.router), key).await
    }
}

/// Reads a key.
pub(super) async fn get(client: &Client, key: &str) -> Outcome {
    match client.range(one(key)).await {
        Ok(answer) => {
            let revision = revision(answer.header.as_ref());
            let (version, value) = version_of(answer.kvs.first());
            Outcome::Found(version, value, revision)
        }
        // A read that was not answered has no effect, whatever became of it.
        Err(error) => Outcome::Failed(chain(&error)),
    }
}

/// Does what is no read.
pub(super) async fn write(client: &Client, key: &str, did: &Did) -> Outcome {
    let expected = |version: &u64| i64::try_from(*version).unwrap_or(i64::MAX);
    match did {
        Did::Swap(version, value) => swapped(client.txn(swap(key, expected(version), put(key, value))).await),
        Did::Delete(version) => swapped(client.txn(swap(key, expected(version), delete(key))).await),
        Did::Put(value) => {
            let request = PutRequest {
                key: key.to_owned().into(),
                value: value.clone().into(),
                ..PutRequest::default()
            };
            done(client.put(request).await.map(|answer| answer.header))
        }
        Did::Pair(other, value) => {
            let success = vec![put(key, value), put(other, value)];
            let request = TxnRequest { success, ..TxnRequest::default() };
            done(client.txn(request).await.map(|answer| answer.header))
        }
        Did::Get | Did::List => Outcome::Failed("a read is no write".to_owned()),
    }
}

fn delete(key: &str) -> RequestOp {
    let delete = DeleteRangeRequest { key: key.to_owned().into(), ..DeleteRangeRequest::default() };
    RequestOp { request: Some(request_op::Request::RequestDeleteRange(delete)) }
}

/// The store's revision in an answer.
pub(super) fn revision(header: Option<&ResponseHeader>) -> u64 {
    header.map_or(0, |header| number(header.revision))
}

fn version_of(record: Option<&KeyValue>) -> (u64, String) {
    record.map_or_else(Default::default, |record| {
        (number(record.mod_revision), String::from_utf8_lossy(&record.value).into_owned())
    })
}

/// What an unconditional write came to.
pub(super) fn done(answer: Result<Option<ResponseHeader>, Error>) -> Outcome {
    match answer {
        Ok(header) => Outcome::Done(revision(header.as_ref())),
        Err(error) => failed(&error),
    }
}

fn swapped(answer: Result<TxnResponse, Error>) -> Outcome {
    match answer {
        Ok(TxnResponse { header, succeeded: true, .. }) => Outcome::Done(revision(header.as_ref())),
        Ok(TxnResponse { responses, .. }) => {
            match responses.into_iter().next().and_then(|one| one.response) {
                Some(response_op::Response::ResponseRange(RangeResponse { kvs, .. })) => {
                    Outcome::Conflict(version_of(kvs.first()).0)
                }
                other => Outcome::Unknown(format!("a refused transaction answered {other:?}")),
            }
        }
        Err(error) => failed(&error),
    }
}
