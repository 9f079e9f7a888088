//! Who calls a cloud: the operator with their token, a service with its certificate, a stranger.

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use flaredb_client::{ClientConfig, RdbClient};
use flaredb_proto::v1::{
    self as flaredb, NamespaceMode, cluster_client::ClusterClient, kv_cas_client::KvCasClient,
};
use flashdns_proto::v1::{self as flashdns, record_sets_client::RecordSetsClient, zones_client::ZonesClient};
use metadata_store::{Credentials, MetadataConfig, MetadataStore, Namespace};
use photon_runtime::{
    Token,
    client::{BearerToken, ClientTls, CredentialFiles},
};
use tonic::{
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::Cloud;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
const STATUS_TIMEOUT: Duration = Duration::from_millis(500);
/// A zone file of the benchmark's size is parsed and committed within it, also by a build without optimization.
const IMPORT_TIMEOUT: Duration = Duration::from_secs(60);

/// A channel that sends the operator's token with every call.
type Authorized = InterceptedService<Channel, BearerToken>;

impl Cloud {
    /// The operator's credentials.
    ///
    /// # Errors
    /// When their files cannot be read.
    pub(crate) fn operator(&self) -> Result<ClientTls> {
        let (ca, token) = (Some(self.layout.ca()), Some(self.layout.admin_token()));
        Ok(ClientTls::read(&CredentialFiles { ca, token, identity: None })?)
    }

    /// A service's credentials.
    fn service(&self, service: &str) -> Result<ClientTls> {
        let (ca, identity) = (Some(self.layout.ca()), Some(self.layout.certificate(service, "1")));
        Ok(ClientTls::read(&CredentialFiles { ca, identity, token: None })?)
    }

    /// FlareDB's client, as the operator.
    ///
    /// # Errors
    /// When its configuration is refused.
    pub(crate) async fn rdb(&self) -> Result<RdbClient> {
        let credentials = self.operator()?;
        self.connect(&credentials, credentials.token().map(str::to_owned)).await
    }

    /// FlareDB's client, with a token that may be anything.
    ///
    /// # Errors
    /// When its configuration is refused.
    pub(crate) async fn rdb_with_token(&self, token: &str) -> Result<RdbClient> {
        self.connect(&self.operator()?, Some(token.to_owned())).await
    }

    /// FlareDB's client, as a service.
    ///
    /// # Errors
    /// When its configuration is refused.
    pub(crate) async fn rdb_as(&self, service: &str) -> Result<RdbClient> {
        self.connect(&self.service(service)?, None).await
    }

    async fn connect(&self, credentials: &ClientTls, token: Option<String>) -> Result<RdbClient> {
        let ca = credentials.ca_pem().context("there is no CA")?.to_vec();
        let identity = credentials.identity_pem().map(|(cert, key)| (cert.to_vec(), key.to_vec()));
        let config = ClientConfig {
            endpoints: self.layout.database_endpoints(),
            tls: Some(flaredb_client::Tls { ca, identity }),
            token,
            request_timeout: CALL_TIMEOUT,
            ..ClientConfig::default()
        };
        Ok(RdbClient::connect(config).await?)
    }

    /// FlareDB's calls as they are, at the first node, with this token or none.
    ///
    /// # Errors
    /// When the CA cannot be read.
    pub(crate) fn kv_cas(&self, token: Option<Token>) -> Result<KvCasClient<Authorized>> {
        self.kv_cas_at(0, token)
    }

    /// The same at any node.
    ///
    /// # Errors
    /// When the CA cannot be read.
    pub(crate) fn kv_cas_at(&self, node: usize, token: Option<Token>) -> Result<KvCasClient<Authorized>> {
        let credentials = ClientTls { token, ..self.operator()? };
        let channel = credentials.endpoint(&self.database_url(node))?.timeout(CALL_TIMEOUT).connect_lazy();
        Ok(KvCasClient::with_interceptor(channel, credentials.bearer()))
    }

    /// A service's metadata store in FlareDB.
    ///
    /// # Errors
    /// When the database does not let the service have its namespace.
    pub(crate) async fn store(&self, namespace: Namespace) -> Result<Arc<dyn MetadataStore>> {
        let ClientTls { ca_pem, identity_pem, .. } = self.service(namespace.name)?;
        let config = MetadataConfig {
            backend: metadata_store::Backend::Flaredb,
            endpoints: self.layout.database_endpoints(),
            ..MetadataConfig::default()
        };
        let credentials = Credentials { ca_pem, identity_pem, ..Credentials::default() };
        Ok(metadata_store::open(&config, namespace, credentials).await?)
    }

    /// Creates a Strong namespace that takes any key.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) async fn create_namespace(&self, name: &str) -> Result<()> {
        let wanted = flaredb::CreateNamespaceRequest {
            name: name.to_owned(),
            mode: NamespaceMode::Strong.into(),
            ..Default::default()
        };
        // By the client library: any node may lead by now.
        let created = self.rdb().await?.namespaces().create(wanted).await;
        created.with_context(|| format!("namespace {name} was not created"))?;
        Ok(())
    }

    /// The node that says of itself that it leads.
    pub(super) async fn leader_now(&self) -> Option<usize> {
        for (number, endpoint) in self.layout.database_endpoints().iter().enumerate() {
            let regions = self.regions(endpoint, STATUS_TIMEOUT).await;
            if regions.is_ok_and(|regions| regions.iter().any(|region| region.role == "leader")) {
                return Some(number);
            }
        }
        None
    }

    /// The highest term that a node knows.
    ///
    /// # Errors
    /// When no node answers.
    pub(crate) async fn term(&self) -> Result<u64> {
        let mut terms = Vec::new();
        for endpoint in &self.layout.database_endpoints() {
            let regions =
                self.regions(endpoint, CALL_TIMEOUT).await.context("a node does not tell its term")?;
            terms.extend(regions.iter().map(|region| region.term));
        }
        terms.into_iter().max().context("no node has a region")
    }

    /// What a node says of its replicas.
    async fn regions(&self, endpoint: &str, timeout: Duration) -> Result<Vec<flaredb::RegionStatus>> {
        let (channel, token) = self.channel(endpoint, timeout)?;
        let status = ClusterClient::with_interceptor(channel, token).status(flaredb::StatusRequest {}).await;
        Ok(status?.into_inner().regions)
    }

    /// An endpoint of this cloud with the operator's credentials; calls are to end within `timeout`.
    ///
    /// # Errors
    /// When the credentials cannot be used.
    pub(crate) fn endpoint(&self, url: &str, timeout: Duration) -> Result<Endpoint> {
        Ok(self.operator()?.endpoint(url)?.timeout(timeout))
    }

    /// A node's URL.
    pub(crate) fn database_url(&self, node: usize) -> String {
        self.layout.database_endpoints().into_iter().nth(node).unwrap_or_default()
    }

    fn channel(&self, url: &str, timeout: Duration) -> Result<(Channel, BearerToken)> {
        Ok((self.endpoint(url, timeout)?.connect_lazy(), self.operator()?.bearer()))
    }

    fn dns_channel(&self, timeout: Duration) -> Result<(Channel, BearerToken)> {
        self.channel(&self.layout.dns_endpoint().context("FlashDNS is not a part of this cloud")?, timeout)
    }

    /// FlashDNS's record sets, as the operator.
    ///
    /// # Errors
    /// When FlashDNS is not a part of this cloud.
    pub(crate) fn record_sets(&self) -> Result<RecordSetsClient<Authorized>> {
        let (channel, token) = self.dns_channel(CALL_TIMEOUT)?;
        Ok(RecordSetsClient::with_interceptor(channel, token))
    }

    /// Creates or replaces a zone from a zone file.
    ///
    /// # Errors
    /// What FlashDNS refuses it for.
    pub(crate) async fn import_zone(&self, name: &str, zone_file: String) -> Result<()> {
        let (channel, token) = self.dns_channel(IMPORT_TIMEOUT)?;
        let mut zones = ZonesClient::with_interceptor(channel, token);
        let request =
            flashdns::ImportZoneRequest { name: name.to_owned(), zone_file, comment: String::new() };
        zones.import_zone(request).await.with_context(|| format!("zone {name} was not imported"))?;
        Ok(())
    }
}
