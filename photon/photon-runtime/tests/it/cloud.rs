//! A cloud for one test: a CA, certificates, a token, a running probe, and clients with each kind of credentials.

use std::{fs, path::PathBuf, time::Duration};

use photon_runtime::{
    ClientTls, Identity, Process, Token,
    client::BearerToken,
    pki::{self, Issued, Leaf, Validity},
};
use tempfile::TempDir;
use tonic::{
    Response, Status,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::probe::{Config, Probe, ProbeConfig};

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Cloud {
    pub(crate) folder: TempDir,
    pub(crate) ca: Issued,
    pub(crate) token: Token,
}

/// A caller of one process.
#[derive(Clone)]
pub(crate) struct Client(pub(crate) InterceptedService<Channel, BearerToken>);

pub(crate) fn leaf(ca: &Issued, cluster: &str, service: &str) -> Issued {
    let leaf = Leaf {
        identity: Identity::new(cluster, service, "1").unwrap(),
        dns_names: vec!["localhost".to_owned()],
        addresses: vec!["127.0.0.1".parse().unwrap()],
        validity: Validity::days(1).unwrap(),
    };
    pki::issue(ca, &leaf).unwrap()
}

impl Cloud {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ca = pki::create_ca("photon", Validity::days(1).unwrap()).unwrap();
        let cloud = Self { folder, ca, token: Token::generate() };
        let own = leaf(&cloud.ca, "photon", "probe");
        cloud.write("ca.crt", &cloud.ca.cert_pem);
        cloud.write("own.crt", &own.cert_pem);
        cloud.write("own.key", &own.key_pem);
        let sha256 = cloud.token.sha256_hex();
        cloud.write(
            "tokens.toml",
            &format!("[[token]]\nname = \"ada\"\nsha256 = \"{sha256}\"\nrole = \"admin\"\n"),
        );
        cloud
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn config(&self, gate: &str) -> Config {
        let file = |name: &str| Some(self.folder.path().join(name));
        let mut config = Config::default();
        config.tls.cert = file("own.crt");
        config.tls.key = file("own.key");
        config.tls.ca = file("ca.crt");
        config.auth.tokens_file = file("tokens.toml");
        config.probe = ProbeConfig { gate: gate.to_owned(), ..ProbeConfig::default() };
        config
    }

    pub(crate) async fn start(&self, gate: &str) -> Process {
        Process::start::<Probe>(self.config(gate)).await.unwrap()
    }

    /// Credentials with nothing in them but whom to believe.
    pub(crate) fn anonymous(&self) -> ClientTls {
        ClientTls { ca_pem: Some(self.ca.cert_pem.clone().into()), ..ClientTls::default() }
    }

    pub(crate) fn operator(&self) -> ClientTls {
        ClientTls { token: Some(self.token.clone()), ..self.anonymous() }
    }

    pub(crate) fn holder(&self, certificate: &Issued) -> ClientTls {
        let identity = (certificate.cert_pem.clone().into(), certificate.key_pem.clone().into());
        ClientTls { identity_pem: Some(identity), ..self.anonymous() }
    }
}

pub(crate) fn endpoint(process: &Process, credentials: &ClientTls) -> Endpoint {
    credentials.endpoint(&format!("https://{}", process.grpc_address())).unwrap()
}

pub(crate) async fn client(process: &Process, credentials: &ClientTls) -> Client {
    let channel = endpoint(process, credentials).connect().await.unwrap();
    Client(InterceptedService::new(channel, credentials.bearer()))
}

impl Client {
    pub(crate) async fn call(&self, path: &'static str) -> Result<String, Status> {
        self.request(path, tonic::Request::new(String::new())).await
    }

    pub(crate) async fn request(
        &self,
        path: &'static str,
        request: tonic::Request<String>,
    ) -> Result<String, Status> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let codec = ProstCodec::<String, String>::default();
        grpc.unary(request, PathAndQuery::from_static(path), codec).await.map(Response::into_inner)
    }

    pub(crate) async fn stream(&self, path: &'static str) -> Result<tonic::Streaming<String>, Status> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let codec = ProstCodec::<String, String>::default();
        let request = tonic::Request::new(String::new());
        grpc.server_streaming(request, PathAndQuery::from_static(path), codec).await.map(Response::into_inner)
    }
}

/// `work`, which must end within [`PATIENCE`].
pub(crate) async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_elapsed| panic!("{what} takes too long"))
}
