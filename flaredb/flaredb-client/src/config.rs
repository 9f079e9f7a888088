//! Where a cluster is, who the caller is, and how long a call may take.

use std::{fmt, time::Duration};

use photon_dial::{Dialer, Tls};
use tonic::metadata::{Ascii, MetadataValue};

use crate::Error;

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

impl ClientConfig {
    /// What makes connections with these credentials.
    pub(crate) fn dialer(&self) -> Dialer {
        let secret = self.token.is_some();
        Dialer::new(self.tls.as_ref(), self.tls_domain.as_deref(), secret, self.connect_timeout)
    }
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

    #[test]
    fn secrets_are_not_shown() {
        let tls = Tls { ca: b"ca".to_vec(), identity: Some((b"cert".to_vec(), b"SECRET".to_vec())) };
        let config =
            ClientConfig { tls: Some(tls), token: Some("pct_SECRET".to_owned()), ..ClientConfig::default() };
        assert!(!format!("{config:?}").contains("SECRET"));
    }
}
