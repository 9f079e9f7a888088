//! How this node asks another one what it found at an audit.

use std::{sync::Arc, time::Duration};

use flaredb_node::audit::{Findings, PATIENCE};
use flaredb_proto::v1::{StateHashRequest, maintenance_client::MaintenanceClient};
use tokio::time::timeout;
use tonic::{Request, transport::Endpoint};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

type Dial = dyn Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync;

/// How other nodes are asked.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Dial>);

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl Peers {
    /// Reaches nodes by `dial`.
    pub(crate) fn new(
        dial: impl Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(dial))
    }
}

impl Findings for Peers {
    async fn finding(&self, endpoint: &str, index: u64) -> Option<Vec<u8>> {
        let asked = async {
            let channel = (self.0)(endpoint)?.connect_timeout(CONNECT_TIMEOUT).connect().await?;
            let mut request = Request::new(StateHashRequest { audit_index: index });
            request.set_timeout(PATIENCE);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                MaintenanceClient::new(channel).state_hash(request).await?.into_inner(),
            )
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Some(answer.sha256.into()),
            Ok(Err(error)) => {
                tracing::debug!(endpoint, index, %error, "a node has nothing to say to an audit");
                None
            }
            Err(_late) => None,
        }
    }
}
