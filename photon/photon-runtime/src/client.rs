//! How our programs call our servers: TLS with the cloud's CA, a certificate or a token, keepalive and timeouts.
//!
//! Refuses to send a token in plaintext off this machine.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue, errors::InvalidMetadataValue},
    service::Interceptor,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use crate::token::{MalformedToken, Token};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Credentials of a caller. Everything is PEM as it stands in the files, ready for other clients' own types.
#[derive(Clone, Default)]
pub struct ClientTls {
    /// The CA whose servers are believed.
    pub ca_pem: Option<Vec<u8>>,
    /// Certificate chain and private key of the calling service.
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// Token of the calling person.
    pub token: Option<Token>,
}

/// Files that hold credentials.
#[derive(Debug, Clone, Default)]
pub struct CredentialFiles {
    /// The CA (PEM).
    pub ca: Option<PathBuf>,
    /// Certificate chain (PEM) and private key (PEM).
    pub identity: Option<(PathBuf, PathBuf)>,
    /// A bearer token.
    pub token: Option<PathBuf>,
}

/// Why a server cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// A file of credentials cannot be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A token file holds no token.
    #[error("{} holds no token", file.display())]
    Token {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: MalformedToken,
    },
    /// The endpoint is no URL, or the certificates cannot be used.
    #[error("cannot call {endpoint}, expected https://host:port and PEM certificates")]
    Endpoint {
        /// The endpoint.
        endpoint: String,
        /// What tonic said.
        #[source]
        source: tonic::transport::Error,
    },
    /// Credentials are only sent over TLS, except on this machine.
    #[error("{0} would get the credentials in plaintext over the network; use https://")]
    Plaintext(String),
}

impl ClientTls {
    /// Reads credentials from their files.
    ///
    /// # Errors
    /// When a file cannot be read, or the token file holds no token.
    pub fn read(files: &CredentialFiles) -> Result<Self, ClientError> {
        let identity = files.identity.as_ref();
        Ok(Self {
            ca_pem: files.ca.as_deref().map(read).transpose()?,
            identity_pem: identity.map(|(cert, key)| Ok((read(cert)?, read(key)?))).transpose()?,
            token: files.token.as_deref().map(read_token).transpose()?,
        })
    }

    /// The CA's PEM.
    pub fn ca_pem(&self) -> Option<&[u8]> {
        self.ca_pem.as_deref()
    }

    /// Certificate chain and key, PEM.
    pub fn identity_pem(&self) -> Option<(&[u8], &[u8])> {
        self.identity_pem.as_ref().map(|(cert, key)| (cert.as_slice(), key.as_slice()))
    }

    /// The token as it goes after `Bearer `.
    pub fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Token::expose)
    }

    /// An endpoint with these credentials' TLS, keepalive and a connect timeout. The token goes in by
    /// [`ClientTls::bearer`].
    ///
    /// # Errors
    /// When the endpoint is no URL, a PEM is none, or credentials would leave the machine in plaintext.
    pub fn endpoint(&self, endpoint: &str) -> Result<Endpoint, ClientError> {
        let wrong = |source| ClientError::Endpoint { endpoint: endpoint.to_owned(), source };
        let plain = Endpoint::from_shared(endpoint.to_owned()).map_err(wrong)?;
        let with_bounds = plain
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if with_bounds.uri().scheme_str() == Some("https") {
            return with_bounds.tls_config(self.tls_config()).map_err(wrong);
        }
        let exposed = !is_loopback(with_bounds.uri().host().unwrap_or_default());
        match exposed && self.token.is_some() {
            true => Err(ClientError::Plaintext(endpoint.to_owned())),
            false => Ok(with_bounds),
        }
    }

    /// An interceptor that sends the token with every call, or nothing when there is none.
    pub fn bearer(&self) -> BearerToken {
        // A token is letters, digits and an underscore, so it is always a header value.
        BearerToken(self.token().and_then(|token| BearerToken::value(token).ok()))
    }

    fn tls_config(&self) -> ClientTlsConfig {
        let mut config = ClientTlsConfig::new();
        if let Some(ca) = &self.ca_pem {
            config = config.ca_certificate(Certificate::from_pem(ca));
        }
        if let Some((cert, key)) = &self.identity_pem {
            config = config.identity(Identity::from_pem(cert, key));
        }
        config
    }
}

/// Sends `authorization: Bearer <token>` with every call.
#[derive(Clone, Default)]
pub struct BearerToken(Option<MetadataValue<Ascii>>);

impl BearerToken {
    fn value(token: &str) -> Result<MetadataValue<Ascii>, InvalidMetadataValue> {
        let mut value = MetadataValue::try_from(format!("Bearer {token}"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl Interceptor for BearerToken {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn read(file: &Path) -> Result<Vec<u8>, ClientError> {
    fs::read(file).map_err(|source| ClientError::Unreadable { file: file.to_owned(), source })
}

fn read_token(file: &Path) -> Result<Token, ClientError> {
    let text = read(file)?;
    let token = String::from_utf8_lossy(&text).parse();
    token.map_err(|source| ClientError::Token { file: file.to_owned(), source })
}

impl std::fmt::Debug for ClientTls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientTls")
            .field("ca", &self.ca_pem.is_some())
            .field("identity", &self.identity_pem.is_some())
            .field("token", &self.token.is_some())
            .finish()
    }
}

impl std::fmt::Debug for BearerToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("BearerToken").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn token_is_not_sent_in_plaintext_off_the_machine() {
        let credentials = ClientTls { token: Some(Token::generate()), ..ClientTls::default() };
        for endpoint in
            ["http://127.0.0.1:1", "http://localhost:1", "http://[::1]:1", "https://example.org:1"]
        {
            assert!(credentials.endpoint(endpoint).is_ok(), "{endpoint}");
        }
        for endpoint in ["http://10.0.0.1:1", "http://localhost.example.org:1"] {
            assert!(matches!(credentials.endpoint(endpoint), Err(ClientError::Plaintext(_))), "{endpoint}");
        }
    }

    #[test]
    fn credentials_are_not_in_debug_output() {
        let credentials = ClientTls { token: Some(Token::generate()), ..ClientTls::default() };
        let shown = format!("{credentials:?} {:?}", credentials.bearer());
        assert!(!shown.contains("pct_"), "{shown}");
    }
}
