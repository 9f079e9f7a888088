//! A second port, for a protocol that is older than this cloud and brings its own clients.
//!
//! On it nobody is authenticated by the runtime: no call carries a [`Principal`](crate::Principal), and the service
//! decides by its protocol's own rules. What the runtime still decides is who may connect, and all of its bounds hold.

use std::{io, net::SocketAddr, sync::Arc};

use rustls::ServerConfig;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{config::ConfigError, process::BindError, service::StartError, tls::Tls};

/// Who may connect to an open port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OpenTls {
    /// Whoever reaches it, in plaintext.
    Off,
    /// Whoever reaches it; the server shows its certificate.
    Server,
    /// Who has a certificate of the cloud's CA.
    #[default]
    Mutual,
}

/// An open port that is bound.
#[derive(Debug)]
pub struct OpenPort {
    pub(crate) listener: TcpListener,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    address: SocketAddr,
}

impl OpenPort {
    /// Binds the port that `key` of the configuration names, to be served with this process's certificate.
    ///
    /// # Errors
    /// When it cannot be had, or its TLS needs a certificate that the process does not have.
    pub async fn bind(
        key: &'static str,
        address: SocketAddr,
        mode: OpenTls,
        own: Option<&Arc<Tls>>,
    ) -> Result<Self, StartError> {
        let tls = match (mode, own) {
            (OpenTls::Off, _) => None,
            (OpenTls::Server, Some(own)) => Some(own.anybodys()),
            (OpenTls::Mutual, Some(own)) => Some(own.members()),
            (OpenTls::Server | OpenTls::Mutual, None) => {
                return Err(ConfigError::invalid(
                    "tls.cert",
                    "nothing",
                    "a certificate, which an open port shows",
                )
                .into());
            }
        };
        let failed = |source: io::Error| BindError { key, address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, tls, address })
    }

    /// Where it is, with the real port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
