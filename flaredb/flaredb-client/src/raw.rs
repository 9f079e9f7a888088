//! Records of Eventual namespaces: the last writer wins, any replica answers.
//!
//! A client reads its own writes, and never less than it has read before: it carries what it has seen of a namespace
//! to whichever replica it asks next.

use std::time::Duration;

use bytes::Bytes;
use flaredb_proto::{
    v1::{
        RawDeleteRequest, RawGetRequest, RawPutRequest, RawRecord, RawScanRequest, RawScanResponse,
        Staleness, kv_raw_client::KvRawClient,
    },
    validate,
};
use tonic::transport::Channel;

use crate::{
    Error, IntoBytes, RdbClient, check,
    client::{ANSWER_BYTES_MAX, Plan},
};

/// What an eventual read found.
#[derive(Debug, Clone, PartialEq)]
pub struct RawRead {
    /// The record; `None`: the replica holds none.
    pub record: Option<RawRecord>,
    /// How far the replica was.
    pub staleness: Staleness,
}

/// A write that is on a quorum's disks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    /// Its timestamp, which decides against other writes.
    pub ts: u64,
    /// Lets another client read it: [`RdbClient::join_session`].
    pub session_token: Bytes,
}

fn eventual(channel: Channel) -> KvRawClient<Channel> {
    KvRawClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

impl RdbClient {
    /// Writes a record; a write with a larger timestamp wins over it.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict.
    pub async fn raw_put(
        &self,
        namespace: &str,
        key: impl IntoBytes,
        value: impl IntoBytes,
    ) -> Result<Stamped, Error> {
        let mut request = RawPutRequest {
            key: key.into_bytes(),
            value: value.into_bytes(),
            namespace: namespace.to_owned(),
            ts: 0,
            origin: self.shared.origin,
        };
        check::sizes(&request.key, &request.value)?;
        check::accept(validate::raw_put(&request))?;
        request.ts = self.shared.clock.now();
        let send = |channel, request| async move { eventual(channel).raw_put(request).await };
        let answer = self.call(Plan::IDEMPOTENT, request, send).await?;
        Ok(self.stamped(namespace, answer.ts, answer.session_token))
    }

    /// Deletes a record, whether it is there or not; a write with a larger timestamp wins over it.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict.
    pub async fn raw_delete(&self, namespace: &str, key: impl IntoBytes) -> Result<Stamped, Error> {
        let mut request = RawDeleteRequest {
            key: key.into_bytes(),
            namespace: namespace.to_owned(),
            ts: 0,
            origin: self.shared.origin,
        };
        check::sizes(&request.key, b"")?;
        check::accept(validate::raw_delete(&request))?;
        request.ts = self.shared.clock.now();
        let send = |channel, request| async move { eventual(channel).raw_delete(request).await };
        let answer = self.call(Plan::IDEMPOTENT, request, send).await?;
        Ok(self.stamped(namespace, answer.ts, answer.session_token))
    }

    /// Reads a record at some replica, which holds at least what this client has seen.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict or an unknown outcome.
    pub async fn raw_get(&self, namespace: &str, key: impl IntoBytes) -> Result<RawRead, Error> {
        self.raw_get_within(namespace, key, Duration::ZERO).await
    }

    /// Like [`RdbClient::raw_get`], at a replica that has heard from a leader within `lag_max`, which counts in whole
    /// milliseconds; none: ever.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict or an unknown outcome; [`Error::Unavailable`] when every replica is further behind.
    pub async fn raw_get_within(
        &self,
        namespace: &str,
        key: impl IntoBytes,
        lag_max: Duration,
    ) -> Result<RawRead, Error> {
        let key = key.into_bytes();
        let request = RawGetRequest {
            key: key.clone(),
            namespace: namespace.to_owned(),
            session_token: self.session(namespace),
            max_lag_ms: u64::try_from(lag_max.as_millis()).unwrap_or(u64::MAX),
        };
        check::sizes(&key, b"")?;
        check::accept(validate::raw_get(&request))?;
        let send = |channel, request| async move { eventual(channel).raw_get(request).await };
        let answer = self.call(Plan::REPLICA, request, send).await?;
        let staleness = self.noted(namespace, answer.staleness);
        self.shared.clock.observe(answer.ts);
        let record = answer.found.then_some(RawRecord { key, value: answer.value, ts: answer.ts });
        Ok(RawRead { record, staleness })
    }

    /// Reads one page of a key range at some replica. This client's session is added to the request's own.
    ///
    /// # Errors
    /// Any [`Error`] but a conflict or an unknown outcome.
    pub async fn raw_scan_page(&self, mut request: RawScanRequest) -> Result<RawScanResponse, Error> {
        check::accept(validate::raw_scan(&request))?;
        self.join_session(&request.namespace, &request.session_token);
        request.session_token = self.session(&request.namespace);
        let namespace = request.namespace.clone();
        let send = |channel, request| async move { eventual(channel).raw_scan(request).await };
        let mut answer = self.call(Plan::REPLICA, request, send).await?;
        answer.staleness = Some(self.noted(&namespace, answer.staleness));
        let newest = answer.records.iter().map(|record| record.ts).max();
        self.shared.clock.observe(newest.unwrap_or_default());
        Ok(answer)
    }

    /// What this client has seen of an Eventual namespace, to hand to another client; empty: nothing.
    pub fn session(&self, namespace: &str) -> Bytes {
        self.shared.sessions.of(namespace)
    }

    /// From now on reads what another client has seen of the namespace.
    pub fn join_session(&self, namespace: &str, token: &Bytes) {
        self.shared.sessions.note(namespace, token);
    }

    fn stamped(&self, namespace: &str, ts: u64, session_token: Bytes) -> Stamped {
        self.shared.clock.observe(ts);
        self.shared.sessions.note(namespace, &session_token);
        Stamped { ts, session_token }
    }

    fn noted(&self, namespace: &str, staleness: Option<Staleness>) -> Staleness {
        let staleness = staleness.unwrap_or_default();
        self.shared.sessions.note(namespace, &staleness.session_token);
        staleness
    }
}
