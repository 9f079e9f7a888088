//! Records of Strong namespaces: linearizable, versioned, written under a compare.

use std::sync::Arc;

use bytes::Bytes;
use flaredb_proto::{
    v1::{
        CasDeleteRequest, CasRequest, CommitRequest, CommitResponse, Conflict, GetRequest, GetResponse,
        Record, ScanRequest, ScanResponse, kv_cas_client::KvCasClient,
    },
    validate,
};
use tonic::transport::Channel;

use crate::{
    Error, IntoBytes, RdbClient, check,
    client::Node,
    client::{ANSWER_BYTES_MAX, Plan},
};

/// What a linearizable read found.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The record; `None`: there is none.
    pub record: Option<Record>,
    /// The revision of the namespace that was read.
    pub revision: u64,
}

/// What a compared write came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// It took effect, at this revision, which a put gives to the record as its version.
    Done(u64),
    /// The record was at another version; nothing was changed.
    Conflict {
        /// The version found; 0: there is no record.
        version: u64,
        /// The value found; empty when there is no record.
        value: Bytes,
    },
}

pub(crate) fn strong(channel: Channel) -> KvCasClient<Channel> {
    KvCasClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// An id for [`CommitRequest::idempotency_id`] that nobody else makes.
pub fn idempotency_id() -> Bytes {
    Bytes::copy_from_slice(&rand::random::<[u8; 16]>())
}

impl RdbClient {
    /// Reads one record, linearizably.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict or an unknown outcome.
    pub async fn get(&self, namespace: &str, key: impl IntoBytes) -> Result<Read, Error> {
        let key = key.into_bytes();
        let request = GetRequest { key: key.clone(), namespace: namespace.to_owned() };
        check::sizes(&key, b"")?;
        check::accept(validate::get(&request))?;
        let send = |channel, request| async move { strong(channel).get(request).await };
        Ok(read(key, self.call(Plan::READ, request, send).await?))
    }

    /// Like [`RdbClient::get`], for callers that have seen a revision and must not read behind it. A linearizable read
    /// never is behind an acknowledged one, so this refuses a revision of elsewhere.
    ///
    /// # Errors
    /// As [`RdbClient::get`]; [`Error::Invalid`] when the namespace has not got to that revision.
    pub async fn get_at_least(
        &self,
        namespace: &str,
        key: impl IntoBytes,
        revision: u64,
    ) -> Result<Read, Error> {
        let read = self.get(namespace, key).await?;
        if read.revision < revision {
            return Err(Error::invalid(
                "revision",
                revision.to_string(),
                format!("at most {}", read.revision),
            ));
        }
        Ok(read)
    }

    /// Writes a record if it is at version `expected`; 0: if there is none.
    ///
    /// It carries no idempotency id: an unknown outcome is told and not resolved. [`RdbClient::commit`] resolves it.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict, which is an answer here.
    pub async fn cas_put(
        &self,
        namespace: &str,
        key: impl IntoBytes,
        value: impl IntoBytes,
        expected: u64,
    ) -> Result<Swap, Error> {
        let request = CasRequest {
            key: key.into_bytes(),
            value: value.into_bytes(),
            expected_version: expected,
            namespace: namespace.to_owned(),
            idempotency_id: Bytes::new(),
        };
        check::sizes(&request.key, &request.value)?;
        check::accept(validate::cas(&request))?;
        let send = |channel, request| async move { strong(channel).compare_and_swap(request).await };
        let answer = self.call(Plan::ONCE, request, send).await?;
        Ok(swap(answer.success, answer.new_version, answer.current_version, answer.current_value))
    }

    /// Writes a record that must not be there yet, and returns its version.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Conflict`] when there is a record.
    pub async fn create(
        &self,
        namespace: &str,
        key: impl IntoBytes,
        value: impl IntoBytes,
    ) -> Result<u64, Error> {
        let key = key.into_bytes();
        match self.cas_put(namespace, key.clone(), value, 0).await? {
            Swap::Done(version) => Ok(version),
            Swap::Conflict { version: actual, value: actual_value } => {
                Err(Error::Conflict { conflicts: vec![Conflict { key, expected: 0, actual, actual_value }] })
            }
        }
    }

    /// Deletes a record if it is at version `expected`, which is not 0: what is absent cannot be deleted.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict, which is an answer here.
    pub async fn cas_delete(
        &self,
        namespace: &str,
        key: impl IntoBytes,
        expected: u64,
    ) -> Result<Swap, Error> {
        let request = CasDeleteRequest {
            key: key.into_bytes(),
            expected_version: expected,
            namespace: namespace.to_owned(),
            idempotency_id: Bytes::new(),
        };
        check::sizes(&request.key, b"")?;
        check::accept(validate::cas_delete(&request))?;
        let send = |channel, request| async move { strong(channel).compare_and_delete(request).await };
        let answer = self.call(Plan::ONCE, request, send).await?;
        Ok(swap(answer.success, answer.revision, answer.current_version, answer.current_value))
    }

    /// Applies a batch of writes, all of one revision, if every compare holds; returns the revision.
    ///
    /// Batches of the same client (or its clones) that are under way together share a stream to the leader.
    ///
    /// With an idempotency id ([`idempotency_id`] makes one), an unknown outcome is resolved by asking again until the
    /// deadline. Without one it is told.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::Conflict`] names every compare that did not hold.
    pub async fn commit(&self, request: CommitRequest) -> Result<u64, Error> {
        check::batch(&request)?;
        let plan = if request.idempotency_id.is_empty() { Plan::ONCE } else { Plan::IDEMPOTENT };
        let attempt = |node: Arc<Node>, told| {
            let batch = request.clone();
            async move { self.commit_at(&node, batch, told).await }
        };
        committed(self.until_answered(plan, attempt).await?.1)
    }

    /// Reads one page of a key range. The next page starts at `next_key` and asks for the same revision.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict or an unknown outcome; [`Error::TooOld`] when the revision is forgotten.
    pub async fn scan_page(&self, request: ScanRequest) -> Result<ScanResponse, Error> {
        check::accept(validate::scan(&request))?;
        let send = |channel, request| async move { strong(channel).scan(request).await };
        self.call(Plan::READ, request, send).await
    }
}

fn read(key: Bytes, answer: GetResponse) -> Read {
    let GetResponse { found, value, version, revision } = answer;
    Read { record: found.then_some(Record { key, value, version }), revision }
}

/// The revision of a batch that was answered.
pub(crate) fn committed(answer: CommitResponse) -> Result<u64, Error> {
    if answer.success { Ok(answer.revision) } else { Err(Error::Conflict { conflicts: answer.conflicts }) }
}

fn swap(success: bool, done: u64, version: u64, value: Bytes) -> Swap {
    if success { Swap::Done(done) } else { Swap::Conflict { version, value } }
}
