//! The backend `chainfire`: keys of a ChainFire cluster, or of etcd, by nothing but etcd's v3 API.
//!
//! Routing, deadlines and safe retries are the client's; here its answers get the contract's types. A version is the
//! revision that wrote the key, which is the whole store's and so rises for every service's write. The API knows no ids
//! of commits, so each commit under one writes a marker of it ([`markers`]) in the same transaction, and holds only if
//! there is none yet; that makes it safe to send until its outcome is known.

mod markers;
mod transaction;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chainfire_client::{Client, ClientConfig, Error, PageRequest, Tls, User, WatchRequest};
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{RangeRequest, ResponseHeader, TxnResponse},
    mvccpb::{self, KeyValue, event::EventType},
};
use flaredb_proto::limits::{CONFLICT_BYTES_MAX, SCAN_RECORDS_MAX};
use futures::StreamExt as _;

use self::{
    markers::Markers,
    transaction::{Carried, Unread},
};
use crate::{
    Commit, ConfigIssue, Conflict, Credentials, Event, IdempotencyId, MetadataStore, Namespace, OpenError,
    Page, Record, Revision, StoreError, Token, Version, Watch, check, wire,
};

/// A service's metadata in a ChainFire or etcd cluster. Clones share the connections.
#[derive(Clone)]
pub struct ChainFireStore {
    client: Client,
    namespace: Namespace,
    markers: Arc<Markers>,
}

impl fmt::Debug for ChainFireStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainFireStore").field("namespace", &self.namespace.name).finish_non_exhaustive()
    }
}

impl ChainFireStore {
    /// Reaches the cluster. TLS is used when the endpoints say `https`.
    ///
    /// # Errors
    /// When the configuration cannot be used, or no node answers.
    pub async fn open(
        endpoints: Vec<String>,
        timeout: Duration,
        credentials: Credentials,
        namespace: Namespace,
    ) -> Result<ChainFireStore, OpenError> {
        Ok(ChainFireStore::over(connect(endpoints, timeout, credentials).await?, namespace))
    }

    /// The service's store over a client that is there already.
    pub fn over(client: Client, namespace: Namespace) -> ChainFireStore {
        let markers = Arc::new(Markers::of(client.clone(), namespace));
        ChainFireStore { client, namespace, markers }
    }

    async fn under_id(&self, commit: &Commit, id: &IdempotencyId) -> Result<TxnResponse, Error> {
        let marker = self.markers.marker(id).await?;
        let lease = marker.lease;
        match self.client.txn_repeatable(transaction::request(commit, Some(marker))).await {
            // The lease has ended before its time, so nothing was written.
            Err(Error::NotFound { .. }) => {
                self.markers.forget(lease).await;
                let marker = self.markers.marker(id).await?;
                self.client.txn_repeatable(transaction::request(commit, Some(marker))).await
            }
            answer => answer,
        }
    }

    async fn carry_out(&self, commit: &Commit) -> Result<TxnResponse, Error> {
        match &commit.idempotency_id {
            Some(id) if !commit.writes.is_empty() => self.under_id(commit, id).await,
            _ => self.client.txn(transaction::request(commit, None)).await,
        }
    }

    /// What compares found, with the values that the transaction's answer had no room for.
    async fn conflict(&self, unread: Unread) -> Result<Conflict, StoreError> {
        let Unread { mut found, revision, values } = unread;
        let mut bytes = 0;
        for record in found.iter_mut().filter_map(|found| found.actual.as_mut()).filter(|_| !values) {
            if bytes >= CONFLICT_BYTES_MAX {
                break;
            }
            let key = Bytes::from(record.key.clone());
            let request = RangeRequest { key, revision, ..RangeRequest::default() };
            let mut read = self.client.range(request).await.map_err(read_failed)?;
            record.value = read.kvs.pop().map(|read| read.value).unwrap_or_default();
            bytes += record.value.len();
        }
        Ok(Conflict { found })
    }
}

/// A client that has reached the cluster.
pub(crate) async fn connect(
    endpoints: Vec<String>,
    timeout: Duration,
    credentials: Credentials,
) -> Result<Client, OpenError> {
    let Credentials { ca_pem, identity_pem, password, .. } = credentials;
    // A cluster without TLS is no worse for a CA that other servers of this cloud are checked against.
    let is_plain = endpoints.iter().all(|endpoint| endpoint.starts_with("http://"));
    let tls = ca_pem.filter(|_| !is_plain).map(|ca| Tls { ca, identity: identity_pem });
    let user = password.map(|(name, password)| User { name, password });
    let config = ClientConfig { endpoints, tls, user, request_timeout: timeout, ..ClientConfig::default() };
    Client::connect(config).await.map_err(refused_config)
}

/// Only the configuration is judged before a node is reached.
pub(crate) fn refused_config(error: Error) -> OpenError {
    match error {
        Error::Invalid { field, found, accepted } => {
            let field = if field == "tls" { "tls" } else { "endpoints" };
            OpenError::Config(ConfigIssue { field, found, accepted })
        }
        other => OpenError::Store(read_failed(other)),
    }
}

/// What a commit's failure says. What is not understood may have happened.
fn commit_failed(error: Error, commit: &Commit) -> StoreError {
    match error {
        Error::Indeterminate { .. } | Error::Protocol { .. } => {
            StoreError::Indeterminate { id: commit.idempotency_id.clone(), source: error.into() }
        }
        Error::TooLarge { .. } => {
            StoreError::TooLarge { what: "writes", bytes: check::bytes(commit), bytes_max: 0 }
        }
        other => read_failed(other),
    }
}

/// What any other failure says; where nothing is written, what is not known did not happen.
fn read_failed(error: Error) -> StoreError {
    match error {
        Error::Invalid { field: "revision", found, accepted } => {
            StoreError::invalid("token", found, accepted)
        }
        Error::Invalid { field, found, accepted } => {
            StoreError::invalid("request", format!("{field}: {found}"), accepted)
        }
        // Nobody writes records through this crate that no answer has room for.
        Error::TooLarge { .. } => StoreError::corrupt("an answer", error),
        Error::NotFound { message } => StoreError::NotFound { key: message },
        Error::NoSpace { message } => StoreError::NoSpace { what: message },
        Error::TooOld { requested, oldest } => {
            StoreError::TooOld { requested: version(requested), oldest: version(oldest) }
        }
        Error::Denied { message } => StoreError::Denied { what: message },
        other => StoreError::unavailable(other),
    }
}

/// A revision of etcd's, which is never negative.
fn version(revision: i64) -> Version {
    Version(u64::try_from(revision).unwrap_or(0))
}

/// A version as etcd's; one that is beyond its numbers is none that it ever gives.
fn revision(version: Version) -> i64 {
    i64::try_from(version.0).unwrap_or(i64::MAX)
}

fn newest(header: Option<&ResponseHeader>) -> Version {
    version(header.map_or(0, |header| header.revision))
}

fn record(found: KeyValue) -> Result<Record, StoreError> {
    let KeyValue { key, value, mod_revision, .. } = found;
    wire::record(&key, value, version(mod_revision).0)
}

fn delivered(changes: chainfire_client::Revision) -> Result<Revision, StoreError> {
    let events = changes.events.into_iter().map(event).collect::<Result<_, _>>()?;
    Ok(Revision { version: version(changes.revision), events })
}

fn event(event: mvccpb::Event) -> Result<Event, StoreError> {
    let (kind, previous) = (event.r#type(), event.prev_kv.map_or(0, |before| before.mod_revision));
    let kv = event.kv.unwrap_or_default();
    let is_new = kind == EventType::Put && kv.create_revision == kv.mod_revision;
    if previous == 0 && !is_new {
        // There was a record, and history has just forgotten which: only a list says what is true now.
        let requested = version(kv.mod_revision);
        return Err(StoreError::TooOld { requested, oldest: requested.next() });
    }
    let value = (kind == EventType::Put).then_some(kv.value);
    Ok(Event { key: wire::text(&kv.key)?, value, previous: version(previous) })
}

#[async_trait]
impl MetadataStore for ChainFireStore {
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError> {
        check::key(&self.namespace, key)?;
        let request = RangeRequest { key: wire::key(key.to_owned()), ..RangeRequest::default() };
        let mut read = self.client.range(request).await.map_err(read_failed)?;
        check::reached(at_least, newest(read.header.as_ref()))?;
        read.kvs.pop().map(record).transpose()
    }

    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        check::prefix(&self.namespace, prefix)?;
        token.map_or(Ok(()), |token| check::token(prefix, token))?;
        let (_, end) = KeyRange::prefix(prefix.as_bytes().to_vec()).into_request();
        let start = token.map_or_else(|| prefix.as_bytes().to_vec(), |token| token.start.clone());
        let limit = if limit == 0 { SCAN_RECORDS_MAX } else { limit.min(SCAN_RECORDS_MAX) };
        let request = PageRequest {
            range: KeyRange::new(start, end),
            limit: u32::try_from(limit).unwrap_or(u32::MAX),
            revision: token.map_or(0, |token| revision(token.revision)),
        };
        let page = self.client.page(request).await.map_err(read_failed)?;
        let revision = version(page.revision);
        let records = page.records.into_iter().map(record).collect::<Result<_, _>>()?;
        let next = page.next.map(|next| Token { revision, start: next.to_vec() });
        Ok(Page { records, revision, next })
    }

    async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        check::commit(&self.namespace, &commit)?;
        let carried = self.carry_out(&commit).await;
        let answer = carried.map_err(|error| commit_failed(error, &commit))?;
        match transaction::carried(&commit, answer)? {
            Carried::At(version) => Ok(version),
            Carried::Refused(unread) => Err(StoreError::Conflict(self.conflict(unread).await?)),
        }
    }

    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError> {
        check::prefix(&self.namespace, prefix)?;
        let range = KeyRange::prefix(prefix.as_bytes().to_vec());
        let request = WatchRequest { range, from: revision(from), prev_kv: true };
        let revisions = self.client.watch(request).await.map_err(read_failed)?;
        Ok(wire::watch(revisions.map(|next| next.map_err(read_failed).and_then(delivered))))
    }
}
