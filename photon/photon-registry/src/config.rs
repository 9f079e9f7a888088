//! `[registry]`: where the registry is, and what a process says of itself there.

use std::{fs, io, net::SocketAddr, time::Duration};

use chainfire_client::{Client, ClientConfig, Error, Registry, Tls};
use photon_runtime::ConfigError;
use serde::{Deserialize, Serialize};

/// Where Linux keeps the machine's name.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";
/// A record's time to live, in milliseconds: shorter, one lost packet would end it.
const TTL_MS: std::ops::RangeInclusive<u64> = 2_000..=600_000;

/// Where the registry is, and what a process says of itself there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RegistryConfig {
    /// ChainFire's ports for etcd's clients, e.g. `https://cf1:2379`; without any, the process is not registered.
    pub endpoints: Vec<String>,
    /// The machine, by its name in gossip; empty: the host's name.
    pub node: String,
    /// Where callers reach the process; empty: what it knows itself.
    pub address: String,
    /// Where the machine stands.
    pub zone: String,
    /// Words that callers may choose by.
    pub tags: Vec<String>,
    /// Its share of the load, beside the others' weights.
    pub weight: u32,
    /// How long the record outlives the process, if nobody takes it out.
    pub ttl_ms: u64,
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            node: String::new(),
            address: String::new(),
            zone: String::new(),
            tags: Vec::new(),
            weight: 100,
            ttl_ms: 10_000,
        }
    }
}

impl RegistryConfig {
    /// Whether there is a registry.
    pub fn is_on(&self) -> bool {
        !self.endpoints.is_empty()
    }

    /// Checks what the types do not say.
    ///
    /// # Errors
    /// The first value that is not acceptable.
    pub fn check(&self) -> Result<(), ConfigError> {
        match TTL_MS.contains(&self.ttl_ms) {
            true => Ok(()),
            false => {
                let accepted = format!("{} to {}", TTL_MS.start(), TTL_MS.end());
                Err(ConfigError::invalid("registry.ttl_ms", self.ttl_ms.to_string(), accepted))
            }
        }
    }

    /// Checks that a service which is reached where it listens listens where it can be reached.
    ///
    /// # Errors
    /// When nobody could call the address that would be registered.
    pub fn check_reached_at(&self, listen: SocketAddr) -> Result<(), ConfigError> {
        match self.is_on() && self.address.is_empty() && listen.ip().is_unspecified() {
            true => {
                let accepted = "where callers reach server.listen, which names no address";
                Err(ConfigError::invalid("registry.address", "nothing", accepted))
            }
            false => Ok(()),
        }
    }

    pub(crate) fn ttl(&self) -> Duration {
        Duration::from_millis(self.ttl_ms)
    }

    /// The machine's name.
    pub(crate) fn node(&self) -> io::Result<String> {
        match self.node.is_empty() {
            true => Ok(fs::read_to_string(HOSTNAME)?.trim().to_owned()),
            false => Ok(self.node.clone()),
        }
    }

    /// The registry, called with this process's own certificate where it has one.
    pub(crate) fn registry(&self, tls: Option<&photon_runtime::Tls>) -> Result<Registry, Error> {
        let identity = |tls: &photon_runtime::Tls| Some((tls.cert_pem().to_vec(), tls.key_pem().to_vec()));
        let config = ClientConfig {
            endpoints: self.endpoints.clone(),
            tls: tls.map(|tls| Tls { ca: tls.ca_pem().to_vec(), identity: identity(tls) }),
            ..ClientConfig::default()
        };
        Ok(Registry::new(Client::new(config)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn section_that_is_left_out_registers_nothing_and_a_ttl_that_cannot_work_is_refused() {
        let config: RegistryConfig = toml::from_str("").unwrap();
        assert!(!config.is_on() && config.check().is_ok());
        let short: RegistryConfig = toml::from_str("endpoints = [\"http://cf1:2379\"]\nttl_ms = 10").unwrap();
        assert!(short.is_on() && short.check().is_err());
        let (nowhere, here) = ("0.0.0.0:1".parse().unwrap(), "10.0.0.1:1".parse().unwrap());
        assert!(short.check_reached_at(nowhere).is_err() && short.check_reached_at(here).is_ok());
        assert!(config.check_reached_at(nowhere).is_ok());
    }
}
