//! Opens the backend that the configuration names.

use std::{sync::Arc, time::Duration};

use crate::{
    MetadataConfig, MetadataStore, Namespace, OpenError, config::Backend, embedded::EmbeddedStore,
    flaredb::FlareDbStore,
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
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let has_identity = self.identity_pem.is_some();
        f.debug_struct("Credentials").field("has_identity", &has_identity).finish_non_exhaustive()
    }
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
    let timeout = Duration::from_millis(config.timeout_ms);
    match config.backend {
        Backend::Embedded => {
            let folder = config.data_dir.clone().unwrap_or_default();
            Ok(Arc::new(EmbeddedStore::open(&folder, namespace, timeout).await?))
        }
        Backend::Flaredb => {
            let (endpoints, create) = (config.endpoints.clone(), config.create_namespace);
            Ok(Arc::new(FlareDbStore::open(endpoints, timeout, credentials, namespace, create).await?))
        }
    }
}
