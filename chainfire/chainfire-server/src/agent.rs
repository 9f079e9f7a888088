//! `chainfire agent`: gossip and nothing else, for machines that hold none of ChainFire's data.
//!
//! An agent tells the cloud that its machine is there, and the machine who else is. It is another service than the
//! server, with certificates of its own: an agent's certificate must not let its machine take part in consensus.

use chainfire_proto::v1::gossip_server::GossipServer;
use photon_runtime::{
    AuthConfig, CommonRef, ConfigError, Context, GrpcServer, HasCommon, LogConfig, ServerConfig, Service,
    StartError, Started, TlsConfig,
};
use serde::{Deserialize, Serialize};

use crate::gossip::{self, Gossip, GossipConfig};

/// The agent.
#[derive(Debug)]
pub struct Agent;

/// The whole configuration of a `chainfire agent` process.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// Where its gRPC is, and the bounds of a request.
    pub server: ServerConfig,
    /// The agent's certificate.
    pub tls: TlsConfig,
    /// Whose tokens and certificates count.
    pub auth: AuthConfig,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where it gossips, and what it says about itself.
    pub gossip: GossipConfig,
}

impl HasCommon for AgentConfig {
    fn common(&self) -> CommonRef<'_> {
        CommonRef { server: &self.server, tls: &self.tls, auth: &self.auth, log: &self.log }
    }
}

impl Service for Agent {
    const NAME: &'static str = "chainfire-agent";
    type Config = AgentConfig;

    fn validate(config: &AgentConfig) -> Result<(), ConfigError> {
        listen(config)?;
        gossip::check(&config.gossip)
    }

    async fn start(config: AgentConfig, context: Context) -> Result<Started, StartError> {
        let listen = listen(&config)?;
        // Judging is for those who may write the registry.
        let (gossip, _events) = Gossip::start(&config.gossip, listen, Self::NAME, &context).await?;
        Ok(Started::new(serve(GrpcServer::new(), gossip)))
    }
}

fn listen(config: &AgentConfig) -> Result<std::net::SocketAddr, ConfigError> {
    let accepted = "the address of gossip, such as 10.0.0.1:7946";
    config.gossip.listen.ok_or_else(|| ConfigError::invalid("gossip.listen", "nothing", accepted))
}

/// Adds the gossip's own service to what a port serves.
pub(crate) fn serve(server: GrpcServer, gossip: std::sync::Arc<Gossip>) -> GrpcServer {
    let service = GossipServer::new(gossip::Service { gossip });
    server
        .descriptors(chainfire_proto::OWN_FILE_DESCRIPTOR_SET)
        .service(service.max_decoding_message_size(gossip::MESSAGE_BYTES_MAX))
}
