//! Reads, writes and transactions, and pages of a scan.

use bytes::Bytes;
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        CompactionRequest, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse, RequestOp, ResponseHeader, TxnRequest, TxnResponse, kv_client::KvClient,
        request_op::Request as Op,
    },
    mvccpb::KeyValue,
};
use tonic::transport::Channel;

use crate::{Client, Error, client::Plan};

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Largest page. A page of which this is not enough is asked for again with fewer records.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// Which records of a range.
#[derive(Debug, Clone)]
pub struct PageRequest {
    /// The range, or what of it is left.
    pub range: KeyRange,
    /// Records at most, at least 1.
    pub limit: u32,
    /// The revision that the first page was of; 0: this is the first page.
    pub revision: i64,
}

/// One page of a scan.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Its records, in the order of their keys.
    pub records: Vec<KeyValue>,
    /// The revision that they are of.
    pub revision: i64,
    /// The first key that may be of the next page; `None`: this was the last.
    pub next: Option<Bytes>,
}

fn kv(channel: Channel) -> KvClient<Channel> {
    KvClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// The store's revision in an answer. Every answer of etcd's has one.
pub(crate) fn revision(header: Option<&ResponseHeader>) -> i64 {
    header.map_or(0, |header| header.revision)
}

impl Client {
    /// Reads records, linearizably unless the request says otherwise.
    ///
    /// # Errors
    /// Any [`Error`] but an unknown outcome.
    pub async fn range(&self, request: RangeRequest) -> Result<RangeResponse, Error> {
        let send = |channel, request| async move { kv(channel).range(request).await };
        self.call(Plan::READ.at(request.revision), request, send).await
    }

    /// Writes a record. An unknown outcome is told and not resolved.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn put(&self, request: PutRequest) -> Result<PutResponse, Error> {
        let send = |channel, request| async move { kv(channel).put(request).await };
        self.call(Plan::ONCE, request, send).await
    }

    /// Deletes records. An unknown outcome is told and not resolved.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn delete_range(&self, request: DeleteRangeRequest) -> Result<DeleteRangeResponse, Error> {
        let send = |channel, request| async move { kv(channel).delete_range(request).await };
        self.call(Plan::ONCE, request, send).await
    }

    /// Carries out a transaction. An unknown outcome is told and not resolved.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, Error> {
        let plan = if reads(&request) { Plan::READ } else { Plan::ONCE };
        self.transact(plan, request).await
    }

    /// Carries out a transaction of which the caller knows that it changes nothing the second time, because its
    /// compares then do not hold. An unknown outcome is resolved by asking again, until the deadline.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn txn_repeatable(&self, request: TxnRequest) -> Result<TxnResponse, Error> {
        self.transact(Plan::REPEATABLE, request).await
    }

    async fn transact(&self, plan: Plan, request: TxnRequest) -> Result<TxnResponse, Error> {
        let send = |channel, request| async move { kv(channel).txn(request).await };
        self.call(plan, request, send).await
    }

    /// Forgets what was superseded up to a revision; what is forgotten already is no error.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn compact(&self, revision: i64) -> Result<(), Error> {
        let send = |channel, request| async move { kv(channel).compact(request).await };
        let request = CompactionRequest { revision, physical: false };
        match self.call(Plan::REPEATABLE.at(revision), request, send).await {
            Ok(_) | Err(Error::TooOld { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The newest revision.
    ///
    /// # Errors
    /// Any [`Error`] but an unknown outcome.
    pub async fn revision(&self) -> Result<i64, Error> {
        // A key that nobody uses: what is wanted is the header.
        let request = RangeRequest { key: Bytes::from_static(b"\0"), count_only: true, ..Default::default() };
        Ok(revision(self.range(request).await?.header.as_ref()))
    }

    /// Reads one page of a range: as many records as are asked for, or fewer when they are large. The next page's range
    /// starts at [`Page::next`], and it is of the same [`Page::revision`].
    ///
    /// # Errors
    /// Any [`Error`] but an unknown outcome; [`Error::TooOld`] when the revision is forgotten.
    pub async fn page(&self, request: PageRequest) -> Result<Page, Error> {
        let mut limit = request.limit.max(1);
        let (key, range_end) = request.range.into_request();
        loop {
            let request = RangeRequest {
                key: key.clone(),
                range_end: range_end.clone(),
                limit: limit.into(),
                revision: request.revision,
                ..RangeRequest::default()
            };
            let plan = Plan::READ.at(request.revision);
            let at = request.revision;
            match self.call(plan, request, page).await {
                Err(Error::TooLarge { .. }) if limit > 1 => limit /= 2,
                answer => return Ok(answered(answer?, at)),
            }
        }
    }
}

async fn page(
    channel: Channel,
    request: tonic::Request<RangeRequest>,
) -> Result<tonic::Response<RangeResponse>, tonic::Status> {
    KvClient::new(channel).max_decoding_message_size(PAGE_BYTES_MAX).range(request).await
}

fn answered(answer: RangeResponse, at: i64) -> Page {
    let revision = if at > 0 { at } else { revision(answer.header.as_ref()) };
    let last = answer.kvs.last().filter(|_| answer.more);
    let next = last.map(|last| successor(&last.key));
    Page { records: answer.kvs, revision, next }
}

/// The first key behind this one.
fn successor(key: &Bytes) -> Bytes {
    key.iter().copied().chain([0]).collect()
}

/// Whether a transaction changes nothing, whatever its compares say.
fn reads(request: &TxnRequest) -> bool {
    let mut operations = request.success.iter().chain(&request.failure);
    operations.all(|RequestOp { request }| match request {
        Some(Op::RequestRange(_)) | None => true,
        Some(Op::RequestTxn(inner)) => reads(inner),
        Some(Op::RequestPut(_) | Op::RequestDeleteRange(_)) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(request: Op) -> RequestOp {
        RequestOp { request: Some(request) }
    }

    #[test]
    fn transaction_with_a_write_in_any_branch_is_no_read() {
        let read = || operation(Op::RequestRange(RangeRequest::default()));
        let write = || operation(Op::RequestPut(PutRequest::default()));
        let txn = |success, failure| TxnRequest { compare: Vec::new(), success, failure };
        assert!(reads(&txn(vec![read()], vec![])));
        assert!(!reads(&txn(vec![read()], vec![write()])));
        let inner = operation(Op::RequestTxn(txn(vec![], vec![write()])));
        assert!(!reads(&txn(vec![inner], vec![])));
    }

    #[test]
    fn next_page_starts_right_behind_the_last_key() {
        let kvs = vec![KeyValue { key: "a".into(), ..KeyValue::default() }];
        let header = Some(ResponseHeader { revision: 9, ..ResponseHeader::default() });
        let page = |more| RangeResponse { header, kvs: kvs.clone(), more, count: 1 };
        assert_eq!(answered(page(true), 0).next, Some(Bytes::from_static(b"a\0")));
        assert_eq!(answered(page(false), 0).next, None);
        assert_eq!((answered(page(true), 0).revision, answered(page(true), 5).revision), (9, 5));
    }
}
