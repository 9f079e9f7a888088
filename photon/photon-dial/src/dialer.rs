//! Makes connections to nodes, and the rule of which node may be sent what.

use std::{fmt, time::Duration};

use tonic::transport::{Certificate, ClientTlsConfig, Endpoint, Identity, Uri};

use crate::words_of;

/// A dead peer behind a silent network is found within interval and timeout together.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(3);
/// Room for a whole page or batch in flight; the default of 64 KiB would make each large answer wait for its windows.
const STREAM_WINDOW_BYTES: u32 = 2 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 8 << 20;

/// Credentials for TLS, all PEM.
#[derive(Clone)]
pub struct Tls {
    /// The CA that signed the nodes' certificates.
    pub ca: Vec<u8>,
    /// The caller's certificate chain and private key.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
}

/// A setting that can never work.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {found} is not accepted; accepted: {accepted}")]
pub struct BadSetting {
    /// Which.
    pub field: &'static str,
    /// What it held.
    pub found: String,
    /// What it may hold.
    pub accepted: String,
}

impl BadSetting {
    /// One of these words.
    pub fn new(field: &'static str, found: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { field, found: found.into(), accepted: accepted.into() }
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
pub struct Dialer {
    tls: Option<ClientTlsConfig>,
    /// Whether calls carry a secret.
    secret: bool,
    connect_timeout: Duration,
}

impl Dialer {
    /// A dialer with these credentials. Certificates are checked against `domain`, or else the endpoint's host; with
    /// `secret`, calls carry what must not be read on the way.
    pub fn new(tls: Option<&Tls>, domain: Option<&str>, secret: bool, connect_timeout: Duration) -> Self {
        let tls = tls.map(|tls| tls_config(tls, domain));
        Self { tls, secret, connect_timeout }
    }

    /// How to connect to a node, whose address may also have come from a redirect.
    ///
    /// # Errors
    /// When it is no address, when its scheme does not fit the credentials, or when it would get
    /// a secret in plaintext over the network.
    pub fn endpoint(&self, address: &str) -> Result<Endpoint, BadSetting> {
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

    fn checked(&self, address: &str) -> Result<Uri, BadSetting> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        let refused = |accepted: String| BadSetting::new("endpoints", format!("{address:?}"), accepted);
        let uri: Uri = address.parse().map_err(|_malformed| refused(format!("{scheme}://host:port")))?;
        if uri.scheme_str() != Some(scheme) || uri.host().is_none() || !matches!(uri.path(), "" | "/") {
            let with = if self.tls.is_some() { "with" } else { "without" };
            return Err(refused(format!("{scheme}://host:port, since TLS is configured {with} a CA")));
        }
        if self.secret && self.tls.is_none() && !uri.host().is_some_and(is_loopback) {
            return Err(refused(
                "https, or this machine: a secret is not sent in plaintext over the network".to_owned(),
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

fn unusable(error: &tonic::transport::Error) -> BadSetting {
    let words = words_of(error);
    BadSetting::new("tls", words, "a CA certificate, and a certificate chain with its private key, as PEM")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialer(tls: bool, secret: bool) -> Dialer {
        let tls = tls.then(ClientTlsConfig::new);
        Dialer { tls, secret, connect_timeout: Duration::from_secs(1) }
    }

    #[test]
    fn scheme_must_fit_the_credentials() {
        assert!(dialer(false, false).checked("http://db:7401").is_ok());
        assert!(dialer(true, false).checked("https://db:7401/").is_ok());
        for (tls, address) in
            [(false, "https://db:7401"), (true, "http://db:7401"), (false, "db"), (false, "http://")]
        {
            assert!(dialer(tls, false).checked(address).is_err(), "{address}");
        }
    }

    #[test]
    fn secret_does_not_leave_this_machine_in_plaintext() {
        for address in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert!(dialer(false, true).checked(address).is_ok(), "{address}");
        }
        for address in ["http://db:1", "http://10.0.0.1:1", "http://localhost.example:1"] {
            assert!(dialer(false, true).checked(address).is_err(), "{address}");
        }
        assert!(dialer(true, true).checked("https://db:1").is_ok());
    }
}
