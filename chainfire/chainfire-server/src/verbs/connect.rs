//! How a verb reaches nodes: where they are, and who the operator is.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, bail};
use chainfire_client::{Client, ClientConfig, Tls, User};
use clap::Args;
use photon_runtime::{
    ClientTls,
    client::{BearerToken, CredentialFiles},
};
use tonic::{Request, service::interceptor::InterceptedService, transport::Channel};

/// A connection that sends the operator's token with every call.
pub(crate) type Caller = InterceptedService<Channel, BearerToken>;

/// Where the nodes are, and the credentials.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub(crate) struct Connect {
    /// The nodes to ask, e.g. https://db1:2379,https://db2:2379; any one that is up is enough.
    #[arg(long, value_delimiter = ',', env = "CHAINFIRE_ENDPOINTS", default_value = "http://127.0.0.1:2379")]
    endpoints: Vec<String>,
    /// The CA that signed the nodes' certificates (PEM).
    #[arg(long, env = "CHAINFIRE_CA", value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A client certificate (PEM), together with --key.
    #[arg(long, env = "CHAINFIRE_CERT", value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, env = "CHAINFIRE_KEY", value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// A file with an operator's token, which the nodes' own port asks for.
    #[arg(long, env = "CHAINFIRE_TOKEN_FILE", value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// NAME:PASSWORD, where etcd's auth is enabled; better in the environment than on the command line.
    #[arg(long, env = "CHAINFIRE_USER", hide_env_values = true)]
    user: Option<String>,
    /// Gives up on a call after so many milliseconds.
    #[arg(long, env = "CHAINFIRE_TIMEOUT_MS", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    timeout_ms: u64,
}

impl Connect {
    /// Asks one node after the other until one answers.
    pub(crate) async fn first<T>(&self, ask: impl AsyncFn(&str, Caller) -> Result<T>) -> Result<T> {
        let mut failed = None;
        for endpoint in &self.endpoints {
            let asked = async { ask(endpoint, self.caller(endpoint)?).await };
            match asked.await.with_context(|| format!("{endpoint} did not answer")) {
                Ok(answer) => return Ok(answer),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) => Err(error),
            None => bail!("no node was named; give --endpoints"),
        }
    }

    /// A connection to one node, made by its first call.
    pub(crate) fn caller(&self, endpoint: &str) -> Result<Caller> {
        let credentials = self.credentials()?;
        let channel = credentials.endpoint(endpoint)?.timeout(self.timeout()).connect_lazy();
        Ok(InterceptedService::new(channel, credentials.bearer()))
    }

    /// A request with the deadline of this command.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout());
        request
    }

    /// A client of the store.
    pub(crate) fn client(&self) -> Result<Client> {
        let credentials = self.credentials()?;
        let identity = credentials.identity_pem().map(|(cert, key)| (cert.to_vec(), key.to_vec()));
        let config = ClientConfig {
            endpoints: self.endpoints.clone(),
            tls: credentials.ca_pem().map(|ca| Tls { ca: ca.to_vec(), identity }),
            user: self.user.as_deref().map(user).transpose()?,
            request_timeout: self.timeout(),
            ..ClientConfig::default()
        };
        Ok(Client::new(config)?)
    }

    fn credentials(&self) -> Result<ClientTls> {
        let identity = self.cert.clone().zip(self.key.clone());
        let files = CredentialFiles { ca: self.ca.clone(), identity, token: self.token_file.clone() };
        Ok(ClientTls::read(&files)?)
    }

    fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }
}

fn user(text: &str) -> Result<User> {
    let (name, password) = text.split_once(':').context("--user is NAME:PASSWORD")?;
    Ok(User { name: name.to_owned(), password: password.to_owned() })
}
