//! Where a cluster is, who the caller is, and how long a call may take; and the rule of which node may be sent what.

use std::{fmt, time::Duration};

use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Uri},
};

use crate::Error;

/// A dead peer behind a silent network is found within interval and timeout together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Room for a whole page or batch in flight; the default of 64 KiB would make each large answer wait for its windows.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// How to reach a cluster.
#[derive(Clone)]
pub struct ClientConfig {
    /// The nodes to ask first, as `http://host:port`, or `https://host:port` with [`ClientConfig::tls`]. One that is up
    /// is enough; the others are found by its redirects.
    pub endpoints: Vec<String>,
    /// TLS; without it, everything is sent in plaintext.
    pub tls: Option<Tls>,
    /// The name that the nodes' certificates are checked against, when it is not the endpoint's host.
    pub tls_domain: Option<String>,
    /// A bearer token. Never sent in plaintext to another machine.
    pub token: Option<String>,
    /// Longest time that a call takes, all retries included. Streams are exempt; opening one is not.
    pub request_timeout: Duration,
    /// Longest time until a connection is made, before the next node is tried.
    pub connect_timeout: Duration,
}

/// Credentials for TLS, all PEM.
#[derive(Clone)]
pub struct Tls {
    /// The CA that signed the nodes' certificates.
    pub ca: Vec<u8>,
    /// The caller's certificate chain and private key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            tls: None,
            tls_domain: None,
            token: None,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(2),
        }
    }
}

/// Shows no secrets.
impl fmt::Debug for ClientConfig {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ClientConfig")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("tls_domain", &self.tls_domain)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .field("request_timeout", &self.request_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .finish()
    }
}

/// Shows no secrets.
impl fmt::Debug for Tls {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Tls").field("identity", &self.identity.is_some()).finish_non_exhaustive()
    }
}

/// Makes connections to nodes, all with the same credentials.
#[derive(Debug)]
pub(crate) struct Dialer {
    tls: Option<ClientTlsConfig>,
    token: bool,
    connect_timeout: Duration,
}

impl Dialer {
    /// A dialer with the credentials of `config`.
    pub(crate) fn new(config: &ClientConfig) -> Self {
        let tls = config.tls.as_ref().map(|tls| tls_config(tls, config.tls_domain.as_deref()));
        Self { tls, token: config.token.is_some(), connect_timeout: config.connect_timeout }
    }

    /// How to connect to a node, whose address may also have come from a redirect.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is no address, when its scheme does not fit the credentials, or when it would get
    /// the token in plaintext over the network.
    pub(crate) fn endpoint(&self, address: &str) -> Result<Endpoint, Error> {
        let uri = self.checked(address)?;
        let endpoint = Endpoint::from(uri)
            .connect_timeout(self.connect_timeout)
            .tcp_nodelay(true)
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        let Some(tls) = &self.tls else { return Ok(endpoint) };
        endpoint.tls_config(tls.clone()).map_err(|error| unusable(&error))
    }

    fn checked(&self, address: &str) -> Result<Uri, Error> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let refused = |accepted: String| Error::invalid("endpoints", format!("{address:?}"), accepted);
        let uri: Uri = address.parse().map_err(|_malformed| refused(format!("{scheme}://host:port")))?;
        if uri.scheme_str() != Some(scheme) || uri.host().is_none() || !matches!(uri.path(), "" | "/") {
            let with = if self.tls.is_some() { "with" } else { "without" };
            return Err(refused(format!("{scheme}://host:port, since TLS is configured {with} a CA")));
        }
        if self.token && self.tls.is_none() && !uri.host().is_some_and(is_loopback) {
            return Err(refused(
                "https, or this machine: a token is not sent in plaintext over the network".to_owned(),
            ));
        }
        Ok(uri)
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

fn tls_config(tls: &Tls, domain: Option<&str>) -> ClientTlsConfig {
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(&tls.ca));
    let config = match &tls.identity {
        Some((chain, key)) => config.identity(Identity::from_pem(chain, key)),
        None => config,
    };
    match domain {
        Some(domain) => config.domain_name(domain),
        None => config,
    }
}

fn unusable(error: &tonic::transport::Error) -> Error {
    let words = crate::outcome::words_of(error);
    Error::invalid("tls", words, "a CA certificate, and a certificate chain with its private key, as PEM")
}

/// The token as it is sent.
///
/// # Errors
/// [`Error::Invalid`] when it cannot be sent in a header.
pub(crate) fn authorization(token: &str) -> Result<MetadataValue<Ascii>, Error> {
    let value = MetadataValue::try_from(format!("Bearer {token}"));
    let mut value = value.map_err(|_malformed| {
        Error::invalid("token", "bytes that no header can carry", "visible ASCII characters")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(tls: bool, token: bool) -> Dialer {
        let tls = tls.then(ClientTlsConfig::new);
        Dialer { tls, token, connect_timeout: Duration::from_secs(1) }
    }

    #[test]
    fn scheme_must_fit_the_credentials() {
        assert!(dialer(false, false).checked("http://db:7401").is_ok());
        assert!(dialer(true, false).checked("https://db:7401/").is_ok());
        for (tls, address) in
            [(false, "https://db:7401"), (true, "http://db:7401"), (false, "db"), (false, "http://")]
        {
            assert!(matches!(dialer(tls, false).checked(address), Err(Error::Invalid { .. })), "{address}");
        }
    }

    #[test]
    fn token_does_not_leave_this_machine_in_plaintext() {
        for address in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(dialer(false, true).checked(address).is_ok(), "{address}");
        }
        for address in ["http://db:1", "http://10.0.0.1:1", "http://localhost.example:1"] {
            assert!(dialer(false, true).checked(address).is_err(), "{address}");
        }
        assert!(dialer(true, true).checked("https://db:1").is_ok());
    }

    #[test]
    fn secrets_are_not_shown() {
        let tls = Tls { ca: b"ca".to_vec(), identity: Some((b"cert".to_vec(), b"SECRET".to_vec())) };
        let config =
            ClientConfig { tls: Some(tls), token: Some("pct_SECRET".to_owned()), ..ClientConfig::default() };
        assert!(!format!("{config:?}").contains("SECRET"));
    }
}
