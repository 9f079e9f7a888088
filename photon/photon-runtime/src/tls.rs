//! The certificate of this process: loaded once, checked whole before anything is bound.
//!
//! Checked here because a peer would only say "bad certificate" later: that the key fits, that the CA in the config
//! has signed it, that it has not expired, and that it is *this* service's certificate and not its neighbour's.
//! TLS 1.3 only, with ring; a client's certificate is optional (people use tokens) and verified when given.

use std::{fmt, fs, path::Path, sync::Arc};

use rustls::{
    CertificateError, RootCertStore, ServerConfig, crypto::CryptoProvider, crypto::ring,
    server::NoServerSessionStorage, server::WebPkiClientVerifier, server::danger::ClientCertVerifier,
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _};

use crate::{
    client::ClientTls,
    config::{AuthConfig, ConfigError, TlsConfig},
    identity::Identity,
};

/// The certificate, key and CA of this process.
pub struct Tls {
    identity: Identity,
    ca_pem: Vec<u8>,
    cert_pem: Vec<u8>,
    key_pem: Vec<u8>,
    server: Arc<ServerConfig>,
    /// For whoever comes, with or without a certificate, at which nobody looks.
    anybodys: Arc<ServerConfig>,
    /// For nobody but those who have a certificate.
    members: Arc<ServerConfig>,
}

/// A file that the config names, read.
struct PemFile<'a> {
    key: &'static str,
    path: &'a Path,
    bytes: Vec<u8>,
}

/// What a client must show to connect.
#[derive(Clone, Copy)]
enum ClientsNeed {
    Nothing,
    Certificate,
}

impl Tls {
    /// Loads and checks what `[tls]` names; nothing without it.
    ///
    /// # Errors
    /// The file that is wrong, and what is wrong with it.
    pub fn load(tls: &TlsConfig, auth: &AuthConfig, service: &str) -> Result<Option<Self>, ConfigError> {
        let (Some(cert), Some(key), Some(ca)) = (&tls.cert, &tls.key, &tls.ca) else {
            return Ok(None);
        };
        let ca = PemFile::read("tls.ca", ca)?;
        let cert = PemFile::read("tls.cert", cert)?;
        let key = PemFile::read("tls.key", key)?;
        let chain = cert.certificates()?;
        let identity = cert.identity(&chain, &auth.cluster, service)?;
        let verifier = ca.verifier()?;
        cert.check_signature(&chain, verifier.as_ref())?;
        let server = server_config(verifier, chain.clone(), &key)?;
        let anybodys = server_config(WebPkiClientVerifier::no_client_auth(), chain.clone(), &key)?;
        let members = server_config(ca.verifier_of(ClientsNeed::Certificate)?, chain, &key)?;
        let (ca_pem, cert_pem, key_pem) = (ca.bytes, cert.bytes, key.bytes);
        let [server, anybodys, members] = [server, anybodys, members].map(Arc::new);
        Ok(Some(Self { identity, ca_pem, cert_pem, key_pem, server, anybodys, members }))
    }

    /// Who this process is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// When the certificate expires, in seconds since 1970.
    pub fn expires_s(&self) -> Option<u64> {
        let der = CertificateDer::from_pem_slice(&self.cert_pem).ok()?;
        let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
        u64::try_from(certificate.validity().not_after.timestamp()).ok()
    }

    /// The CA's certificate.
    pub fn ca_pem(&self) -> &[u8] {
        &self.ca_pem
    }

    /// The certificate chain of this process.
    pub fn cert_pem(&self) -> &[u8] {
        &self.cert_pem
    }

    /// The private key of this process.
    pub fn key_pem(&self) -> &[u8] {
        &self.key_pem
    }

    /// What this process needs to call others as itself.
    pub fn client(&self) -> ClientTls {
        ClientTls {
            ca_pem: Some(self.ca_pem.clone()),
            identity_pem: Some((self.cert_pem.clone(), self.key_pem.clone())),
            token: None,
        }
    }

    pub(crate) fn anybodys(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.anybodys)
    }

    pub(crate) fn members(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.members)
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}

impl<'a> PemFile<'a> {
    fn read(key: &'static str, path: &'a Path) -> Result<Self, ConfigError> {
        let bytes = fs::read(path).map_err(|source| ConfigError::unreadable(key, path, source))?;
        Ok(Self { key, path, bytes })
    }

    fn wrong(&self, problem: impl Into<String>) -> ConfigError {
        ConfigError::file(self.key, self.path, problem, None)
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
        let certificates = CertificateDer::pem_slice_iter(&self.bytes).collect::<Result<Vec<_>, _>>();
        match certificates {
            Ok(certificates) if !certificates.is_empty() => Ok(certificates),
            _ => Err(self.wrong("found no certificate, expected PEM with BEGIN CERTIFICATE")),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>, ConfigError> {
        PrivateKeyDer::from_pem_slice(&self.bytes)
            .map_err(|_detail| self.wrong("found no private key, expected PEM with BEGIN PRIVATE KEY"))
    }

    fn identity(
        &self,
        chain: &[CertificateDer<'_>],
        cluster: &str,
        service: &str,
    ) -> Result<Identity, ConfigError> {
        let identity =
            chain.first().map_or_else(|| Identity::of_certificate(&[]), |own| Identity::of_certificate(own));
        let identity = identity
            .and_then(|identity| identity.in_cluster(cluster))
            .map_err(|error| self.wrong(error.to_string()))?;
        match identity.service == service {
            true => Ok(identity),
            false => {
                Err(self.wrong(format!("it is {identity}, expected a certificate of service {service}")))
            }
        }
    }

    fn verifier(&self) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
        self.verifier_of(ClientsNeed::Nothing)
    }

    fn verifier_of(&self, clients: ClientsNeed) -> Result<Arc<dyn ClientCertVerifier>, ConfigError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots
                .add(certificate)
                .map_err(|error| self.wrong(format!("it cannot be used as a CA: {error}")))?;
        }
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = match clients {
            ClientsNeed::Nothing => verifier.allow_unauthenticated(),
            ClientsNeed::Certificate => verifier,
        };
        verifier.build().map_err(|error| self.wrong(format!("it cannot be used as a CA: {error}")))
    }

    fn check_signature(
        &self,
        chain: &[CertificateDer<'_>],
        verifier: &dyn ClientCertVerifier,
    ) -> Result<(), ConfigError> {
        let Some((own, intermediates)) = chain.split_first() else { return Ok(()) };
        let verified = verifier.verify_client_cert(own, intermediates, UnixTime::now());
        verified.map(drop).map_err(|error| self.wrong(signature_problem(&error)))
    }
}

fn signature_problem(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "it has expired; issue a new one with `photon pki`".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "it is not signed by the CA in tls.ca".to_owned(),
        other => format!("it would be refused by peers: {other}"),
    }
}

fn server_config(
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: &PemFile<'_>,
) -> Result<ServerConfig, ConfigError> {
    let fits = |error| match error {
        rustls::Error::InconsistentKeys(_) => key.wrong("it is not the key of the certificate in tls.cert"),
        other => key.wrong(format!("it cannot be used with tls.cert: {other}")),
    };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| key.wrong(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key.private_key()?)
        .map_err(fits)?;
    config.alpn_protocols.push(b"h2".to_vec());
    // A resumed session would carry a client certificate past its expiry; connections live long enough to handshake.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("identity", &self.identity).finish_non_exhaustive()
    }
}
