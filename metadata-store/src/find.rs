//! Where a FlareDB cluster's nodes are, as ChainFire's registry has them.

use std::time::Duration;

use chainfire_client::Registry;

use crate::{Credentials, OpenError, StoreError, chainfire};

/// The name under which FlareDB's nodes are registered.
const FLAREDB: &str = "flaredb";

/// The endpoints of those that may be called now. The client learns of all others from any one of them.
///
/// # Errors
/// When the registry cannot be read, or holds none; both pass by themselves.
pub(crate) async fn flaredb(
    registry: Vec<String>,
    timeout: Duration,
    credentials: Credentials,
) -> Result<Vec<String>, OpenError> {
    let registry = Registry::new(chainfire::connect(registry, timeout, credentials).await?);
    let (catalog, _) = registry.of_service(FLAREDB).await.map_err(chainfire::refused_config)?;
    let endpoints: Vec<_> = catalog.available().map(|instance| instance.address.clone()).collect();
    match endpoints.is_empty() {
        true => Err(StoreError::unavailable("no node of FlareDB is registered that may be called").into()),
        false => Ok(endpoints),
    }
}
