//! A commit as a transaction of etcd's, and what its answer says. Pure.
//!
//! The transaction holds if the commit's compares do and there is no marker of its id. If it does not, it reads the
//! marker and every compared record, all at the same revision: a marker that is there says at which revision the same
//! commit was carried out before, and otherwise some compare did not hold.

use bytes::Bytes;
use chainfire_proto::{
    etcdserverpb::{
        Compare, DeleteRangeRequest, PutRequest, RangeRequest, RequestOp, TxnRequest, TxnResponse,
        compare::{CompareResult, CompareTarget, TargetUnion},
        request_op::Request,
        response_op::Response,
    },
    mvccpb::KeyValue,
};

use super::{markers::Marker, newest, record, revision, version};
use crate::{Commit, Found, StoreError, Version, Write};

/// So many records are read with their values, each at most 1 MiB; of more compares, only the versions.
const VALUES_MAX: usize = 8;

/// What became of a commit.
#[derive(Debug, PartialEq)]
pub(super) enum Carried {
    /// It made this revision, now or before; or it changed nothing, and this is the newest.
    At(Version),
    /// Compares did not hold.
    Refused(Unread),
}

/// What compares found.
#[derive(Debug, PartialEq)]
pub(super) struct Unread {
    pub(super) found: Vec<Found>,
    /// When.
    pub(super) revision: i64,
    /// Whether the values are there already.
    pub(super) values: bool,
}

/// The transaction of a commit, with the marker of its id.
pub(super) fn request(commit: &Commit, marker: Option<Marker>) -> TxnRequest {
    let keys_only = commit.compares.len() > VALUES_MAX;
    let mut txn = TxnRequest::default();
    for compare in &commit.compares {
        let key = Bytes::from(compare.key.clone());
        txn.compare.push(at_revision(key.clone(), revision(compare.version)));
        txn.failure.push(read(key, keys_only));
    }
    txn.success = commit.writes.iter().map(write).collect();
    if let Some(Marker { key, lease }) = marker {
        txn.compare.push(at_revision(key.clone(), 0));
        txn.failure.push(read(key.clone(), true));
        let put = PutRequest { key, lease, ..PutRequest::default() };
        txn.success.push(RequestOp { request: Some(Request::RequestPut(put)) });
    }
    txn
}

fn at_revision(key: Bytes, mod_revision: i64) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Mod.into(),
        key,
        target_union: Some(TargetUnion::ModRevision(mod_revision)),
        ..Compare::default()
    }
}

fn read(key: Bytes, keys_only: bool) -> RequestOp {
    let range = RangeRequest { key, keys_only, ..RangeRequest::default() };
    RequestOp { request: Some(Request::RequestRange(range)) }
}

fn write(write: &Write) -> RequestOp {
    let request = match write {
        Write::Put { key, value } => Request::RequestPut(PutRequest {
            key: Bytes::from(key.clone()),
            value: value.clone(),
            ..PutRequest::default()
        }),
        Write::Delete { key } => Request::RequestDeleteRange(DeleteRangeRequest {
            key: Bytes::from(key.clone()),
            ..DeleteRangeRequest::default()
        }),
    };
    RequestOp { request: Some(request) }
}

/// What the answer to a commit's transaction says.
///
/// # Errors
/// When it is no answer to it, or a key in it is not text.
pub(super) fn carried(commit: &Commit, answer: TxnResponse) -> Result<Carried, StoreError> {
    let now = newest(answer.header.as_ref());
    if answer.succeeded {
        return Ok(Carried::At(now));
    }
    let mut reads = answer.responses.into_iter().map(|response| match response.response {
        Some(Response::ResponseRange(mut range)) => Ok(range.kvs.pop()),
        _ => Err(nonsense(commit)),
    });
    let found = commit.compares.iter().map(|compare| {
        let actual = reads.next().unwrap_or_else(|| Err(nonsense(commit)))?;
        let is_met = version(actual.as_ref().map_or(0, |found| found.mod_revision)) == compare.version;
        let actual = actual.map(record).transpose()?;
        Ok((!is_met).then(|| Found { key: compare.key.clone(), expected: compare.version, actual }))
    });
    let found = found.filter_map(Result::transpose).collect::<Result<Vec<_>, StoreError>>()?;
    let marker: Option<KeyValue> = reads.next().transpose()?.flatten();
    if let Some(marker) = marker {
        return Ok(Carried::At(version(marker.mod_revision)));
    }
    if found.is_empty() {
        return Err(nonsense(commit));
    }
    let values = commit.compares.len() <= VALUES_MAX;
    Ok(Carried::Refused(Unread { found, revision: revision(now), values }))
}

/// The transaction did not hold, and nothing that it says is why: then nobody knows what became of it.
fn nonsense(commit: &Commit) -> StoreError {
    let source = "the answer to the transaction does not say why it did not hold".into();
    StoreError::Indeterminate { id: commit.idempotency_id.clone(), source }
}

#[cfg(test)]
mod tests {
    use chainfire_proto::etcdserverpb::{RangeResponse, ResponseHeader, ResponseOp};

    use super::*;
    use crate::Compare as Wanted;

    fn commit(compares: usize) -> Commit {
        let compare = |number| Wanted { key: format!("/x/{number}"), version: Version(5) };
        let put = Write::Put { key: "/x/0".to_owned(), value: Bytes::from_static(b"1") };
        Commit { compares: (0..compares).map(compare).collect(), writes: vec![put], idempotency_id: None }
    }

    fn at(key: &str, mod_revision: i64) -> Option<KeyValue> {
        Some(KeyValue { key: key.to_owned().into(), mod_revision, ..KeyValue::default() })
    }

    fn answer(reads: Vec<Option<KeyValue>>) -> TxnResponse {
        let read = |found: Option<KeyValue>| {
            let range = RangeResponse { kvs: found.into_iter().collect(), ..RangeResponse::default() };
            ResponseOp { response: Some(Response::ResponseRange(range)) }
        };
        TxnResponse {
            header: Some(ResponseHeader { revision: 20, ..ResponseHeader::default() }),
            succeeded: false,
            responses: reads.into_iter().map(read).collect(),
        }
    }

    fn judged(compares: usize, reads: Vec<Option<KeyValue>>) -> Result<Carried, StoreError> {
        carried(&commit(compares), answer(reads))
    }

    #[test]
    fn marker_is_a_compare_a_write_and_the_last_read() {
        let txn = request(&commit(1), Some(Marker { key: "/m".into(), lease: 3 }));
        assert_eq!((txn.compare.len(), txn.success.len(), txn.failure.len()), (2, 2, 2));
        assert_eq!(txn.compare[1], at_revision("/m".into(), 0));
        assert_eq!(txn.failure[1], read("/m".into(), true));
        let Some(Request::RequestPut(put)) = &txn.success[1].request else { panic!("{txn:?}") };
        assert_eq!((&put.key[..], put.lease), (&b"/m"[..], 3));
    }

    #[test]
    fn marker_counts_even_where_a_compare_does_not_hold_any_more() {
        let done = judged(1, vec![at("/x/0", 9), at("/m", 7)]).unwrap();
        assert_eq!(done, Carried::At(Version(7)));
    }

    #[test]
    fn compares_that_did_not_hold_are_told_with_what_was_there() {
        let refused = judged(3, vec![at("/x/0", 5), at("/x/1", 9), None, None]).unwrap();
        let Carried::Refused(Unread { found, revision: 20, values: true }) = refused else {
            panic!("{refused:?}")
        };
        let seen: Vec<_> = found.iter().map(|found| (found.key.as_str(), found.version().0)).collect();
        assert_eq!(seen, [("/x/1", 9), ("/x/2", 0)]);
    }

    #[test]
    fn values_of_many_compares_are_not_read_in_the_transaction() {
        let reads = (0..=VALUES_MAX).map(|_| None).chain([None]).collect();
        let refused = judged(VALUES_MAX + 1, reads).unwrap();
        assert!(matches!(refused, Carried::Refused(Unread { values: false, .. })), "{refused:?}");
    }

    #[test]
    fn answer_that_gives_no_reason_is_no_refusal() {
        for reads in [vec![at("/x/0", 5), None], vec![]] {
            let error = judged(1, reads).unwrap_err();
            assert!(error.may_have_happened(), "{error}");
        }
    }
}
