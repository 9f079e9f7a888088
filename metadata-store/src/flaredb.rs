//! The backend `flaredb`: a Strong namespace of a FlareDB cluster.
//!
//! Routing, deadlines and safe retries are the client's; here its answers get the contract's types. A commit under an
//! idempotency id is asked for again by the client until it is known; one without is told as it is.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use flaredb_client::{
    ClientConfig, CommitRequest, Error, RdbClient, ScanRequest, Tls, WatchEvent, WatchResponse,
};
use flaredb_proto::{
    limits::SCAN_RECORDS_MAX,
    prefix_end,
    v1::{self, CreateNamespaceRequest, NamespaceMode},
};
use futures::StreamExt as _;

use crate::{
    Commit, ConfigIssue, Credentials, Event, IdempotencyId, MetadataStore, Namespace, OpenError, Page,
    Record, Revision, StoreError, Token, Version, Watch, check, wire,
};

/// A service's metadata in a FlareDB cluster. Clones share the connections.
#[derive(Clone)]
pub struct FlareDbStore {
    client: RdbClient,
    namespace: Namespace,
}

impl fmt::Debug for FlareDbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlareDbStore").field("namespace", &self.namespace.name).finish_non_exhaustive()
    }
}

impl FlareDbStore {
    /// Reaches the cluster and finds the service's namespace there, or creates it.
    ///
    /// # Errors
    /// When the configuration cannot be used, no node answers, or the namespace is not the service's.
    pub async fn open(
        endpoints: Vec<String>,
        timeout: Duration,
        credentials: Credentials,
        namespace: Namespace,
        create: bool,
    ) -> Result<FlareDbStore, OpenError> {
        let Credentials { ca_pem, identity_pem, token, .. } = credentials;
        let tls = ca_pem.map(|ca| Tls { ca, identity: identity_pem });
        let config =
            ClientConfig { endpoints, tls, token, request_timeout: timeout, ..ClientConfig::default() };
        let client = RdbClient::connect(config).await.map_err(refused_config)?;
        FlareDbStore::over(client, namespace, create).await
    }

    /// The service's store over a client that is there already.
    ///
    /// # Errors
    /// When no node answers, or the namespace is not the service's.
    pub async fn over(
        client: RdbClient,
        namespace: Namespace,
        create: bool,
    ) -> Result<FlareDbStore, OpenError> {
        let found = find(&client, namespace, create).await?;
        if found.mode() != NamespaceMode::Strong || found.key_prefix != namespace.prefix {
            let prefix = String::from_utf8_lossy(&found.key_prefix);
            let mode = found.mode().as_str_name();
            let problem = format!("found {mode} with keys under {prefix:?}; it is not this service's");
            return Err(OpenError::Namespace { name: namespace.name.to_owned(), problem });
        }
        Ok(FlareDbStore { client, namespace })
    }
}

/// Only the configuration is judged before a node is reached.
fn refused_config(error: Error) -> OpenError {
    match error {
        Error::Invalid { field, found, accepted } => {
            let field = if field == "tls" { "tls" } else { "endpoints" };
            OpenError::Config(ConfigIssue { field, found, accepted })
        }
        other => OpenError::Store(read_failed(other)),
    }
}

/// The namespace, made where it is not there and may be made. Another process may make it at the same time.
async fn find(client: &RdbClient, namespace: Namespace, create: bool) -> Result<v1::Namespace, OpenError> {
    let problem = |problem: String| OpenError::Namespace { name: namespace.name.to_owned(), problem };
    match client.namespaces().describe(namespace.name).await {
        Err(Error::NotFound { .. }) if create => {}
        Err(Error::NotFound { message }) => return Err(problem(format!("{message}; create it first"))),
        other => return other.map_err(|error| OpenError::Store(read_failed(error))),
    }
    let request = CreateNamespaceRequest {
        name: namespace.name.to_owned(),
        mode: NamespaceMode::Strong.into(),
        key_prefix: namespace.prefix.into(),
        ..CreateNamespaceRequest::default()
    };
    match client.namespaces().create(request).await {
        Ok(created) => Ok(created),
        Err(Error::AlreadyExists { .. } | Error::Indeterminate { .. }) => client
            .namespaces()
            .describe(namespace.name)
            .await
            .map_err(|error| OpenError::Store(read_failed(error))),
        Err(Error::Denied { message }) => Err(problem(format!(
            "it does not exist and may not be created ({message}); create it as an operator"
        ))),
        Err(other) => Err(OpenError::Store(read_failed(other))),
    }
}

/// What a commit's failure says. What is not understood may have happened.
fn commit_failed(error: Error, id: Option<IdempotencyId>) -> StoreError {
    match error {
        Error::Indeterminate { .. } | Error::Protocol { .. } => {
            StoreError::Indeterminate { id, source: error.into() }
        }
        other => read_failed(other),
    }
}

/// What any other failure says; where nothing is written, what is not known did not happen.
fn read_failed(error: Error) -> StoreError {
    match error {
        Error::Invalid { field, found, accepted } => {
            StoreError::invalid("request", format!("{field}: {found}"), accepted)
        }
        Error::TooLarge { what, found, accepted } => {
            StoreError::TooLarge { what, bytes: found, bytes_max: accepted }
        }
        Error::Conflict { conflicts } => wire::conflict(conflicts),
        Error::NotFound { message } => StoreError::NotFound { key: message },
        Error::NoSpace { message, .. } => StoreError::NoSpace { what: message },
        Error::TooOld { requested, oldest } => {
            StoreError::TooOld { requested: Version(requested), oldest: Version(oldest) }
        }
        Error::Denied { message } | Error::Unauthenticated { message } => {
            StoreError::Denied { what: message }
        }
        Error::WrongMode { namespace, mode } => {
            StoreError::invalid("namespace", format!("{namespace}, which is {mode}"), "a strong one")
        }
        other => StoreError::unavailable(other),
    }
}

fn record(found: v1::Record) -> Result<Record, StoreError> {
    wire::record(&found.key, found.value, found.version)
}

fn revision(response: WatchResponse) -> Result<Revision, StoreError> {
    let events = response.events.into_iter().map(event).collect::<Result<_, _>>()?;
    Ok(Revision { version: Version(response.revision), events })
}

fn event(event: WatchEvent) -> Result<Event, StoreError> {
    let WatchEvent { key, value, previous_version } = event;
    Ok(Event { key: wire::text(&key)?, value, previous: Version(previous_version) })
}

#[async_trait]
impl MetadataStore for FlareDbStore {
    async fn get(&self, key: &str, at_least: Version) -> Result<Option<Record>, StoreError> {
        check::key(&self.namespace, key)?;
        let read = self.client.get(self.namespace.name, key).await.map_err(read_failed)?;
        check::reached(at_least, Version(read.revision))?;
        read.record.map(record).transpose()
    }

    async fn scan(&self, prefix: &str, limit: usize, token: Option<&Token>) -> Result<Page, StoreError> {
        check::prefix(&self.namespace, prefix)?;
        token.map_or(Ok(()), |token| check::token(prefix, token))?;
        let request = ScanRequest {
            namespace: self.namespace.name.to_owned(),
            start_key: token.map_or_else(|| prefix.as_bytes().to_vec(), |token| token.start.clone()).into(),
            end_key: prefix_end(prefix.as_bytes()).unwrap_or_default().into(),
            limit: u32::try_from(limit.min(SCAN_RECORDS_MAX)).unwrap_or(0),
            revision: token.map_or(0, |token| token.revision.0),
            keys_only: false,
        };
        let page = self.client.scan_page(request).await.map_err(read_failed)?;
        let revision = Version(page.revision);
        let records = page.records.into_iter().map(record).collect::<Result<_, _>>()?;
        let next = (!page.next_key.is_empty()).then(|| Token { revision, start: page.next_key.to_vec() });
        Ok(Page { records, revision, next })
    }

    async fn commit(&self, commit: Commit) -> Result<Version, StoreError> {
        check::commit(&self.namespace, &commit)?;
        let Commit { compares, writes, idempotency_id: id } = commit;
        let request = CommitRequest {
            namespace: self.namespace.name.to_owned(),
            compares: wire::compares(compares),
            writes: wire::writes(writes),
            idempotency_id: wire::id(id.as_ref()),
        };
        self.client.commit(request).await.map(Version).map_err(|error| commit_failed(error, id))
    }

    async fn watch(&self, prefix: &str, from: Version) -> Result<Watch, StoreError> {
        check::prefix(&self.namespace, prefix)?;
        let revisions = self.client.watch(self.namespace.name, prefix, from.0).await.map_err(read_failed)?;
        Ok(wire::watch(revisions.map(|next| next.map_err(read_failed).and_then(revision))))
    }
}

#[cfg(test)]
mod tests {
    use flaredb_client::NodeError;

    use super::*;

    fn node() -> NodeError {
        NodeError { endpoint: "http://db".to_owned(), message: "gone".to_owned() }
    }

    #[test]
    fn only_a_commit_of_unknown_outcome_may_have_happened() {
        let unknown = || Error::Indeterminate { source: node() };
        assert!(commit_failed(unknown(), None).may_have_happened());
        assert!(commit_failed(Error::Protocol { source: node() }, None).may_have_happened());
        assert!(matches!(read_failed(unknown()), StoreError::Unavailable { .. }));
        let away = commit_failed(Error::Unavailable { source: node() }, None);
        assert!(matches!(away, StoreError::Unavailable { .. }) && away.is_passing());
        let denied = commit_failed(Error::Denied { message: "no".to_owned() }, None);
        assert!(matches!(denied, StoreError::Denied { .. }) && !denied.is_passing());
    }
}
