//! A cloud for one test: a CA, certificates, tokens, nodes that run in this process, and clients of each kind.

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::{Duration, Instant},
};

use flaredb_client::{ClientConfig, RdbClient, Tls};
use flaredb_proto::v1::{CreateNamespaceRequest, NamespaceMode};
use flaredb_server::{
    Config, FlareDb,
    config::{InitialMember, NodeConfig},
};
use photon_runtime::{
    ClientTls, Identity, Process, StartError, Token,
    client::BearerToken,
    pki::{self, Issued, Leaf, Validity},
};
use tempfile::TempDir;
use tonic::{service::interceptor::InterceptedService, transport::Channel};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A connection with credentials.
pub(crate) type Caller = InterceptedService<Channel, BearerToken>;

pub(crate) struct Cloud {
    pub(crate) folder: TempDir,
    ca: Issued,
    admin: Token,
    viewer: Token,
}

/// One node and where it is.
pub(crate) struct Running {
    pub(crate) process: Process,
    pub(crate) endpoint: String,
}

/// Waits until a condition holds.
pub(crate) async fn wait_for<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An address that nothing listens on at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn member(id: u64, address: SocketAddr) -> InitialMember {
    InitialMember { id, endpoint: format!("https://{address}") }
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = pki::create_ca("photon", Validity::days(1).unwrap()).unwrap();
        let cloud = Self { folder, ca, admin: Token::generate(), viewer: Token::generate() };
        let own = cloud.issue("flaredb");
        let tokens = [(&cloud.admin, "admin"), (&cloud.viewer, "viewer")].map(|(token, role)| {
            let sha256 = token.sha256_hex();
            format!("[[token]]\nname = \"{role}\"\nsha256 = \"{sha256}\"\nrole = \"{role}\"\n")
        });
        cloud.write("ca.crt", &cloud.ca.cert_pem);
        cloud.write("own.crt", &own.cert_pem);
        cloud.write("own.key", &own.key_pem);
        cloud.write("tokens.toml", &tokens.concat());
        cloud
    }

    fn issue(&self, service: &str) -> Issued {
        let leaf = Leaf {
            identity: Identity::new("photon", service, "1").unwrap(),
            dns_names: vec!["localhost".to_owned()],
            addresses: vec!["127.0.0.1".parse().unwrap()],
            validity: Validity::days(1).unwrap(),
        };
        pki::issue(&self.ca, &leaf).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// A node at one of these addresses, which are its cluster's first members.
    pub(crate) fn config(&self, id: u64, address: SocketAddr, members: &[SocketAddr]) -> Config {
        let mut config = Config::default();
        config.server.listen = address;
        config.tls.cert = Some(self.path("own.crt"));
        config.tls.key = Some(self.path("own.key"));
        config.tls.ca = Some(self.path("ca.crt"));
        config.auth.tokens_file = Some(self.path("tokens.toml"));
        let data_dir = self.path(&format!("node{id}"));
        config.node = NodeConfig { id, endpoint: format!("https://{address}"), data_dir };
        config.cluster.initial_members = (1..).zip(members).map(|(id, at)| member(id, *at)).collect();
        config
    }

    pub(crate) async fn start(&self, config: Config) -> Result<Running, StartError> {
        let endpoint = config.node.endpoint.clone();
        Ok(Running { process: Process::start::<FlareDb>(config).await?, endpoint })
    }

    /// A cluster of one node.
    pub(crate) async fn single(&self) -> Running {
        let address = free_address();
        let running = self.start(self.config(1, address, &[address])).await.unwrap();
        wait_for("the node is ready", async || running.process.health().readiness().is_ready().then_some(()))
            .await;
        running
    }

    /// Credentials with nothing in them but whom to believe.
    pub(crate) fn anonymous(&self) -> ClientTls {
        ClientTls { ca_pem: Some(self.ca.cert_pem.clone().into()), ..ClientTls::default() }
    }

    pub(crate) fn operator(&self) -> ClientTls {
        ClientTls { token: Some(self.admin.clone()), ..self.anonymous() }
    }

    pub(crate) fn viewer(&self) -> ClientTls {
        ClientTls { token: Some(self.viewer.clone()), ..self.anonymous() }
    }

    /// The certificate of a service.
    pub(crate) fn service(&self, name: &str) -> ClientTls {
        let own = self.issue(name);
        ClientTls { identity_pem: Some((own.cert_pem.into(), own.key_pem.into())), ..self.anonymous() }
    }

    /// The operator's client of some nodes.
    pub(crate) fn client<'a>(&self, nodes: impl IntoIterator<Item = &'a Running>) -> RdbClient {
        self.client_of(nodes.into_iter().map(|node| node.endpoint.clone()).collect())
    }

    pub(crate) fn client_of(&self, endpoints: Vec<String>) -> RdbClient {
        let config = ClientConfig {
            endpoints,
            tls: Some(Tls { ca: self.ca.cert_pem.clone().into(), identity: None }),
            token: Some(self.admin.expose().to_owned()),
            ..ClientConfig::default()
        };
        RdbClient::new(config).unwrap()
    }

    pub(crate) fn viewer_token(&self) -> &str {
        self.viewer.expose()
    }

    pub(crate) fn admin_token(&self) -> &str {
        self.admin.expose()
    }
}

impl Running {
    /// A connection with these credentials.
    pub(crate) async fn caller(&self, credentials: &ClientTls) -> Caller {
        let channel = credentials.endpoint(&self.endpoint).unwrap().connect().await.unwrap();
        InterceptedService::new(channel, credentials.bearer())
    }

    pub(crate) async fn stop(self) {
        self.process.stop().await.unwrap();
    }
}

/// Makes a namespace without prefix and quota.
pub(crate) async fn create(client: &RdbClient, name: &str, mode: NamespaceMode) {
    let request = CreateNamespaceRequest {
        name: name.to_owned(),
        mode: mode.into(),
        ..CreateNamespaceRequest::default()
    };
    client.namespaces().create(request).await.unwrap();
}
