//! How a verb reaches the cluster: its endpoints, and who the operator is.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use clap::Args;
use flaredb_client::{ClientConfig, RdbClient, Tls};

use super::failure::Misuse;

/// Where the cluster is, and the credentials.
#[derive(Clone, Debug, Args)]
#[group(skip)]
pub(crate) struct Options {
    /// The nodes to ask, e.g. https://db1:7401,https://db2:7401; any one that is up is enough.
    #[arg(
        long,
        global = true,
        value_delimiter = ',',
        env = "FLAREDB_ENDPOINTS",
        default_value = "http://127.0.0.1:7401"
    )]
    endpoints: Vec<String>,
    /// The CA that signed the nodes' certificates (PEM).
    #[arg(long, global = true, env = "FLAREDB_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate (PEM), together with --key.
    #[arg(long, global = true, env = "FLAREDB_CERT", value_name = "FILE")]
    cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(id = "key_file", long = "key", global = true, env = "FLAREDB_KEY", value_name = "FILE")]
    key: Option<PathBuf>,
    /// An operator's token, pct_...; better in the environment than on the command line.
    #[arg(long, global = true, env = "FLAREDB_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Gives up on a request after so many milliseconds.
    #[arg(long, global = true, env = "FLAREDB_TIMEOUT_MS", default_value_t = 10_000)]
    timeout_ms: u64,
}

impl Options {
    /// A client of the whole cluster.
    pub(crate) async fn client(&self) -> anyhow::Result<RdbClient> {
        self.client_of(self.endpoints.clone()).await
    }

    /// The endpoints as they were given.
    pub(crate) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    /// A client of one node alone.
    pub(crate) async fn client_of(&self, endpoints: Vec<String>) -> anyhow::Result<RdbClient> {
        let config = ClientConfig {
            endpoints,
            tls: self.tls()?,
            token: self.token.clone(),
            request_timeout: Duration::from_millis(self.timeout_ms),
            ..ClientConfig::default()
        };
        Ok(RdbClient::connect(config).await?)
    }

    fn tls(&self) -> anyhow::Result<Option<Tls>> {
        let Some(ca) = &self.ca else {
            if self.cert.is_some() || self.key.is_some() {
                return Err(Misuse("--cert and --key need --ca".to_owned()).into());
            }
            return Ok(None);
        };
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
            (None, None) => None,
            _ => return Err(Misuse("--cert and --key belong together".to_owned()).into()),
        };
        Ok(Some(Tls { ca: read(ca)?, identity }))
    }
}

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}
