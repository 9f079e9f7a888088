//! TLS: who is believed, by which name, and who must show a certificate.

use std::time::Duration;

use flaredb_client::{ClientConfig, Error, RdbClient, Tls};
use flaredb_proto::v1::GetResponse;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

use crate::node::{Node, Step};

/// An authority with the certificates that it signs, all PEM.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for this name, and its key.
    fn signs(&self, name: &str) -> (Vec<u8>, Vec<u8>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.pem().into_bytes(), key.serialize_pem().into_bytes())
    }

    /// A node with a certificate for this name.
    async fn node(&self, name: &str, wants_clients_certificate: bool) -> Node {
        let (chain, key) = self.signs(name);
        let mut tls = ServerTlsConfig::new().identity(Identity::from_pem(chain, key));
        if wants_clients_certificate {
            tls = tls.client_ca_root(Certificate::from_pem(&self.pem));
        }
        let found = || Step::Get(GetResponse { revision: 3, ..GetResponse::default() });
        Node::start_tls(tls, [found(), found()]).await
    }
}

fn config(node: &Node, authority: &Authority, identity: Option<(Vec<u8>, Vec<u8>)>) -> ClientConfig {
    ClientConfig {
        endpoints: vec![node.address.clone()],
        tls: Some(Tls { ca: authority.pem.clone().into_bytes(), identity }),
        request_timeout: Duration::from_secs(2),
        ..ClientConfig::default()
    }
}

async fn reads(config: ClientConfig) -> Result<u64, Error> {
    Ok(RdbClient::connect(config).await?.get("n", "k").await?.revision)
}

#[tokio::test]
async fn node_with_a_certificate_of_the_authority_is_believed_and_no_other() {
    let authority = Authority::new();
    let node = authority.node("127.0.0.1", false).await;
    assert_eq!(reads(config(&node, &authority, None)).await.unwrap(), 3);
    let stranger = reads(config(&node, &Authority::new(), None)).await;
    assert!(matches!(stranger, Err(Error::Unavailable { .. })), "{stranger:?}");
}

#[tokio::test]
async fn certificate_is_checked_against_the_configured_name() {
    let authority = Authority::new();
    let node = authority.node("db.internal", false).await;
    let by_address = config(&node, &authority, None);
    let by_name = ClientConfig { tls_domain: Some("db.internal".to_owned()), ..by_address.clone() };
    assert!(matches!(reads(by_address).await, Err(Error::Unavailable { .. })));
    assert_eq!(reads(by_name).await.unwrap(), 3);
}

#[tokio::test]
async fn caller_with_a_certificate_is_let_in_where_one_is_wanted_and_no_other() {
    let authority = Authority::new();
    let node = authority.node("127.0.0.1", true).await;
    let identity = Some(authority.signs("caller"));
    assert_eq!(reads(config(&node, &authority, identity)).await.unwrap(), 3);
    let anonymous = reads(config(&node, &authority, None)).await;
    assert!(matches!(anonymous, Err(Error::Unavailable { .. })), "{anonymous:?}");
}

#[tokio::test]
async fn broken_certificates_are_refused_before_anything_is_dialed() {
    let authority = Authority::new();
    let node = authority.node("127.0.0.1", false).await;
    let broken = config(&node, &authority, Some((b"no chain".to_vec(), b"no key".to_vec())));
    assert!(matches!(RdbClient::new(broken), Err(Error::Invalid { field, .. }) if field == "tls"));
}
