//! Opens the backend that the configuration names.

use std::{fs, path::Path, sync::Arc, time::Duration};

use crate::{
    ChainFireStore, ClusterTls, ClusterUser, ConfigIssue, MetadataConfig, MetadataStore, Namespace,
    OpenError, config::Backend, embedded::EmbeddedStore, find, flaredb::FlareDbStore,
};

/// How the process shows a cluster who it is. Everything is PEM as it stands in the files.
#[derive(Clone, Default)]
pub struct Credentials {
    /// The CA whose servers are believed; without it, endpoints are called in plaintext.
    pub ca_pem: Option<Vec<u8>>,
    /// Certificate chain and private key.
    pub identity_pem: Option<(Vec<u8>, Vec<u8>)>,
    /// A person's token, for tools.
    pub token: Option<String>,
    /// A user's name and password, for ChainFire and etcd.
    pub password: Option<(String, String)>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let has_identity = self.identity_pem.is_some();
        f.debug_struct("Credentials").field("has_identity", &has_identity).finish_non_exhaustive()
    }
}

impl Credentials {
    /// What the configuration names instead of what the service has itself.
    fn overridden(mut self, config: &MetadataConfig) -> Result<Credentials, ConfigIssue> {
        if let Some(ClusterTls { ca, cert, key }) = &config.tls {
            self.ca_pem = Some(read("tls.ca", ca)?);
            let identity = cert.as_deref().zip(key.as_deref());
            let identity = identity.map(|(cert, key)| Ok((read("tls.cert", cert)?, read("tls.key", key)?)));
            self.identity_pem = identity.transpose()?;
        }
        if let Some(ClusterUser { name, password_file }) = &config.user {
            let password = String::from_utf8(read("user.password_file", password_file)?);
            let password = password.map_err(|_bytes| ConfigIssue {
                field: "user.password_file",
                found: password_file.display().to_string(),
                accepted: "a file with text".to_owned(),
            })?;
            self.password = Some((name.clone(), password.trim_end_matches(['\r', '\n']).to_owned()));
        }
        Ok(self)
    }
}

fn read(field: &'static str, file: &Path) -> Result<Vec<u8>, ConfigIssue> {
    fs::read(file).map_err(|error| ConfigIssue {
        field,
        found: format!("{} ({error})", file.display()),
        accepted: "a file that can be read".to_owned(),
    })
}

/// Opens the service's store. The embedded backend needs no credentials.
///
/// # Errors
/// When the configuration cannot be used, the folder is damaged or in use, or the cluster cannot be reached or does
/// not let this process have the namespace. Only the last two pass by themselves.
pub async fn open(
    config: &MetadataConfig,
    namespace: Namespace,
    credentials: Credentials,
) -> Result<Arc<dyn MetadataStore>, OpenError> {
    config.validate()?;
    let credentials = credentials.overridden(config)?;
    let (timeout, endpoints) = (Duration::from_millis(config.timeout_ms), config.endpoints.clone());
    match config.backend {
        Backend::Embedded => {
            let folder = config.data_dir.clone().unwrap_or_default();
            Ok(Arc::new(EmbeddedStore::open(&folder, namespace, timeout).await?))
        }
        Backend::Flaredb => {
            let (create, registry) = (config.create_namespace, config.registry.clone());
            let endpoints = match registry.is_empty() {
                true => endpoints,
                false => find::flaredb(registry, timeout, credentials.clone()).await?,
            };
            Ok(Arc::new(FlareDbStore::open(endpoints, timeout, credentials, namespace, create).await?))
        }
        Backend::Chainfire => {
            Ok(Arc::new(ChainFireStore::open(endpoints, timeout, credentials, namespace).await?))
        }
    }
}
