//! `[gossip]`: whether a node gossips, where, and what it says about itself.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use chainfire_gossip::{Metadata, MetadataError};
use photon_runtime::ConfigError;
use serde::{Deserialize, Serialize};

use super::StartError;

/// Where Linux keeps the machine's name.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// Whether a node gossips, where, and what it says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GossipConfig {
    /// Address of gossip, the same port by UDP and TCP. Without it, a server does not gossip.
    pub listen: Option<SocketAddr>,
    /// Where the others send gossip; without it, `listen`.
    pub advertise: Option<SocketAddr>,
    /// Where the others reach this process's own port; without it, `server.listen`, at the advertised address. The
    /// certificate must be good for this address: by it the leader asks whether a node that is said to be dead is so.
    pub endpoint: Option<SocketAddr>,
    /// Gossip addresses of some other nodes, best of those that are always there; at most 16 are asked.
    pub join: Vec<SocketAddr>,
    /// The cluster's keys, as `chainfire gossip keys generate` makes them. The process writes the file when keys change.
    pub key_file: PathBuf,
    /// The node's name, other than every other's; empty: the machine's. Instances in the registry name it.
    pub name: String,
    /// Where the machine stands.
    pub zone: String,
    /// What else runs on the machine, for whoever looks at the members.
    pub services: Vec<String>,
}

impl GossipConfig {
    pub(super) fn advertised(&self, bound: SocketAddr) -> SocketAddr {
        let advertise = self.advertise.unwrap_or(bound);
        match advertise.port() {
            0 => SocketAddr::new(advertise.ip(), bound.port()),
            _ => advertise,
        }
    }

    /// The node's name.
    pub(crate) fn name(&self) -> Result<String, StartError> {
        if !self.name.is_empty() {
            return Ok(self.name.clone());
        }
        Ok(fs::read_to_string(Path::new(HOSTNAME)).map_err(StartError::Nameless)?.trim().to_owned())
    }

    /// What the node says about itself.
    pub(super) fn metadata(
        &self,
        name: &str,
        service: &str,
        gossip: SocketAddr,
        grpc: SocketAddr,
    ) -> Result<Metadata, MetadataError> {
        let reachable =
            if grpc.ip().is_unspecified() { SocketAddr::new(gossip.ip(), grpc.port()) } else { grpc };
        let mut services = vec![service.to_owned()];
        services.extend(self.services.iter().filter(|other| *other != service).cloned());
        Metadata::new(name, self.zone.clone(), vec![self.endpoint.unwrap_or(reachable)], services)
    }

    pub(super) fn check_advertised(&self) -> Result<(), ConfigError> {
        let told = self.advertise.or(self.listen);
        if told.is_some_and(|address| address.ip().is_unspecified()) {
            let accepted = "the address by which the others reach gossip.listen, which names none";
            return Err(ConfigError::invalid("gossip.advertise", "nothing", accepted));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_told_can_be_reached() {
        let config = GossipConfig { name: "n".to_owned(), ..GossipConfig::default() };
        let told = |grpc| config.metadata("n", "chainfire", address("10.0.0.1:7946"), address(grpc)).unwrap();
        assert_eq!(told("0.0.0.0:7100").addresses(), [address("10.0.0.1:7100")]);
        assert_eq!(told("10.0.0.9:7100").addresses(), [address("10.0.0.9:7100")]);
        let nowhere = GossipConfig { listen: Some(address("0.0.0.0:7946")), ..config };
        assert!(nowhere.check_advertised().is_err());
        let natted = GossipConfig { advertise: Some(address("10.0.0.1:0")), ..nowhere };
        assert!(natted.check_advertised().is_ok());
        assert_eq!(natted.advertised(address("0.0.0.0:7946")), address("10.0.0.1:7946"));
    }
}
