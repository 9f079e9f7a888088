//! The sections that every service's configuration has.
//!
//! Each field has a default that is safe: loopback, bounded, authenticated. No service adds a switch that turns
//! authentication off.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use serde::{Deserialize, Deserializer, Serialize};

/// The common sections of a service's configuration, wherever the service keeps them.
#[derive(Debug, Clone, Copy)]
pub struct CommonRef<'a> {
    /// `[server]`
    pub server: &'a ServerConfig,
    /// `[tls]`
    pub tls: &'a TlsConfig,
    /// `[auth]`
    pub auth: &'a AuthConfig,
    /// `[log]`
    pub log: &'a LogConfig,
}

/// A configuration that has the common sections.
pub trait HasCommon {
    /// The common sections.
    fn common(&self) -> CommonRef<'_>;
}

/// `[server]`: where to listen, and the bounds of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of the gRPC port. Port 0 takes a free one, which the log names.
    #[serde(deserialize_with = "address")]
    pub listen: SocketAddr,
    /// Address of the plain-HTTP port for `/metrics`, `/livez` and `/readyz`; loopback only.
    #[serde(deserialize_with = "address")]
    pub admin_listen: SocketAddr,
    /// Longest time that a call may take, whatever deadline the caller asks for. Streams are exempt.
    pub request_timeout_ms: u64,
    /// Largest message that is read.
    pub message_bytes_max: u32,
    /// Calls in flight at once, streams not counted; more are refused with RESOURCE_EXHAUSTED.
    pub requests_max: u32,
    /// Open connections at once; more are closed on arrival.
    pub connections_max: u32,
    /// Longest time from the signal to stop until the process ends.
    pub drain_timeout_ms: u64,
}

/// `[tls]`: the certificate of this process. All three files, or none for plaintext on loopback.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate chain (PEM), with the identity `spiffe://<cluster>/<service>/<node>`.
    pub cert: Option<PathBuf>,
    /// Its private key (PEM).
    pub key: Option<PathBuf>,
    /// The cloud's CA (PEM): who may call with a certificate, and whom this process believes.
    pub ca: Option<PathBuf>,
}

/// `[auth]`: whose certificates and tokens count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// Name of the cloud; certificates of another one are nobody's.
    pub cluster: String,
    /// TOML file of the people's tokens: `[[token]]` with `name`, `sha256` (hex) and `role`.
    pub tokens_file: Option<PathBuf>,
}

/// `[log]`: what is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How lines look.
    pub format: LogFormat,
    /// What is logged: directives as of `tracing-subscriber`'s `EnvFilter`, such as `info,flaredb=debug`.
    pub filter: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// Human on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Human,
    /// One JSON object a line.
    Json,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            request_timeout_ms: 10_000,
            message_bytes_max: 16 << 20,
            requests_max: 4_096,
            connections_max: 1_024,
            drain_timeout_ms: 10_000,
        }
    }
}

impl ServerConfig {
    /// `request_timeout_ms`
    pub fn request_timeout(&self) -> Duration {
        Duration::from_millis(self.request_timeout_ms)
    }

    /// `drain_timeout_ms`
    pub fn drain_timeout(&self) -> Duration {
        Duration::from_millis(self.drain_timeout_ms)
    }

    /// `message_bytes_max` as the size that tonic's `max_decoding_message_size` takes.
    pub fn message_size_max(&self) -> usize {
        usize::try_from(self.message_bytes_max).unwrap_or(usize::MAX)
    }
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self { cluster: "photon".to_owned(), tokens_file: None }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Auto, filter: "info".to_owned() }
    }
}

fn address<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_unhelpful| {
        serde::de::Error::custom("an IP address and a port, such as 127.0.0.1:7000 or [::1]:7000")
    })
}
