//! FlashDNS's configuration: what it listens on, where its records are, and the bounds of its data plane.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use metadata_store::MetadataConfig;
use photon_registry::RegistryConfig;
use photon_runtime::{AuthConfig, CommonRef, ConfigError, HasCommon, LogConfig, ServerConfig, TlsConfig};
use serde::{Deserialize, Serialize};

use crate::tcp;

/// Everything that can be configured.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The control API's listener.
    pub server: ServerConfig,
    /// Its certificate.
    pub tls: TlsConfig,
    /// Who may use it.
    pub auth: AuthConfig,
    /// What is logged.
    pub log: LogConfig,
    /// Where the zones are.
    pub metadata: MetadataConfig,
    /// Where the control API is registered, so that others find it.
    pub registry: RegistryConfig,
    /// The data plane.
    pub dns: DnsConfig,
    /// Where the checkpoint of the served zones is kept.
    pub data_dir: PathBuf,
}

/// The data plane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsConfig {
    /// Addresses for UDP and TCP. Port 0 takes one that is free in both.
    pub listen: Vec<SocketAddr>,
    /// UDP threads for each address; 0: one for each core.
    pub workers: usize,
    /// Bind each UDP thread to a core.
    pub pin_workers: bool,
    /// Largest UDP reply; 1,232 fits every path (DNS flag day 2020).
    pub udp_payload_max: u16,
    /// TCP connections at a time.
    pub tcp_connections_max: usize,
    /// How long a TCP connection may be without a query.
    pub tcp_idle_timeout_ms: u64,
    /// How long a TCP message may take to arrive.
    pub tcp_message_timeout_ms: u64,
    /// Without contact to the metadata store for longer than this, the process is not ready; it goes on answering.
    pub stale_max_s: u64,
    /// How often changes are saved for a restart without the metadata store.
    pub checkpoint_interval_s: u64,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            // A zone file of some 100,000 records has to fit, and its import to end in time.
            server: ServerConfig {
                message_bytes_max: 64 << 20,
                request_timeout_ms: 60_000,
                ..ServerConfig::default()
            },
            tls: TlsConfig::default(),
            auth: AuthConfig::default(),
            log: LogConfig::default(),
            metadata: MetadataConfig::default(),
            registry: RegistryConfig::default(),
            dns: DnsConfig::default(),
            data_dir: PathBuf::from("/var/lib/flashdns"),
        }
    }
}

impl Default for DnsConfig {
    fn default() -> DnsConfig {
        DnsConfig {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 5300))],
            workers: 0,
            pin_workers: true,
            udp_payload_max: 1232,
            tcp_connections_max: 1024,
            tcp_idle_timeout_ms: 10_000,
            tcp_message_timeout_ms: 5_000,
            stale_max_s: 30,
            checkpoint_interval_s: 10,
        }
    }
}

impl HasCommon for Config {
    fn common(&self) -> CommonRef<'_> {
        CommonRef { server: &self.server, tls: &self.tls, auth: &self.auth, log: &self.log }
    }
}

impl DnsConfig {
    /// Refuses values that the data plane cannot work with.
    ///
    /// # Errors
    /// The field, what was found, and what is accepted.
    pub fn validate(&self) -> Result<(), ConfigError> {
        in_range("dns.listen", self.listen.len(), 1, 64)?;
        in_range("dns.workers", self.workers, 0, 256)?;
        in_range("dns.udp_payload_max", usize::from(self.udp_payload_max), 512, 4096)?;
        in_range("dns.tcp_connections_max", self.tcp_connections_max, 1, 65_536)?;
        let positive = [
            ("dns.tcp_idle_timeout_ms", self.tcp_idle_timeout_ms),
            ("dns.tcp_message_timeout_ms", self.tcp_message_timeout_ms),
            ("dns.stale_max_s", self.stale_max_s),
            ("dns.checkpoint_interval_s", self.checkpoint_interval_s),
        ];
        positive.into_iter().try_for_each(|(field, value)| in_range(field, value, 1, 86_400_000))
    }

    /// The bounds of TCP connections.
    pub(crate) fn tcp_limits(&self) -> tcp::Limits {
        tcp::Limits {
            connections_max: self.tcp_connections_max,
            idle: Duration::from_millis(self.tcp_idle_timeout_ms),
            message: Duration::from_millis(self.tcp_message_timeout_ms),
        }
    }

    /// How stale the zones may be before the process is not ready.
    pub(crate) fn stale_max(&self) -> Duration {
        Duration::from_secs(self.stale_max_s)
    }
}

fn in_range<T: PartialOrd + Copy + std::fmt::Display>(
    field: &'static str,
    value: T,
    least: T,
    most: T,
) -> Result<(), ConfigError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(ConfigError::invalid(field, value.to_string(), format!("{least} to {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_valid() {
        DnsConfig::default().validate().unwrap();
    }

    #[test]
    fn reply_size_that_no_resolver_could_use_is_refused_by_name() {
        let config = DnsConfig { udp_payload_max: 100, ..DnsConfig::default() };
        let message = config.validate().unwrap_err().to_string();
        assert!(message.contains("dns.udp_payload_max") && message.contains("100"), "{message}");
    }
}
