//! A service that does nothing but be registered, in this process.

use std::{fs, path::Path};

use anyhow::{Result, anyhow};
use photon_registry::{About, RegistryConfig, announce};
use photon_runtime::{
    AuthConfig, CommonRef, Context, GrpcServer, HasCommon, LogConfig, Process, Role, ServerConfig, Service,
    StartError, Started, TlsConfig, Token, auth::add_token,
};
use serde::{Deserialize, Serialize};

/// Its name.
pub(super) const SERVICE: &str = "announced";
/// What the registry calls it.
pub(super) const INSTANCE: &str = "host-1-1";
/// Longer than a scenario: what goes sooner was taken out.
const TTL_MS: u64 = 600_000;

/// A process of it.
pub(super) struct Announced {
    pub(super) process: Process,
}

struct Idle;

#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Config {
    server: ServerConfig,
    tls: TlsConfig,
    auth: AuthConfig,
    log: LogConfig,
    registry: RegistryConfig,
}

impl HasCommon for Config {
    fn common(&self) -> CommonRef<'_> {
        CommonRef { server: &self.server, tls: &self.tls, auth: &self.auth, log: &self.log }
    }
}

impl Service for Idle {
    const NAME: &'static str = SERVICE;
    type Config = Config;

    async fn start(config: Config, context: Context) -> Result<Started, StartError> {
        let address = format!("http://{}", context.grpc);
        announce(&config.registry, About { service: SERVICE, number: "1".to_owned(), address }, &context)?;
        Ok(Started::new(GrpcServer::new()))
    }
}

impl Announced {
    /// Starts it, with a registry at these endpoints.
    ///
    /// # Errors
    /// When it does not start.
    pub(super) async fn start(folder: &Path, endpoints: Vec<String>) -> Result<Self> {
        let tokens = folder.join("tokens.toml");
        fs::write(&tokens, add_token("", "e2e", &Token::generate(), Role::Viewer)?)?;
        let registry = RegistryConfig {
            endpoints,
            node: "host-1".to_owned(),
            ttl_ms: TTL_MS,
            ..RegistryConfig::default()
        };
        let auth = AuthConfig { tokens_file: Some(tokens), ..AuthConfig::default() };
        let process = Process::start::<Idle>(Config { auth, registry, ..Config::default() }).await;
        Ok(Self { process: process.map_err(|error| anyhow!("{error}"))? })
    }
}
