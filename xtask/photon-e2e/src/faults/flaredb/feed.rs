//! How a Strong namespace is watched at one node, without the client library.

use std::time::Duration;

use anyhow::Result;
use flaredb_proto::v1::{WatchRequest, WatchResponse, kv_cas_client::KvCasClient};
use photon_runtime::client::BearerToken;
use tonic::{
    Streaming,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{Flaredb, STRONG, load::revision_of};
use crate::faults::{
    check::{Revision, watch::Watched},
    cluster::{Cluster, SLOTS, url},
    load::watchers::Feed,
};

const CONNECT_AT_MOST: Duration = Duration::from_secs(1);

/// The responses of a watch as a server sends them.
#[derive(Debug)]
pub(super) struct Responses {
    endpoints: Vec<Endpoint>,
    token: BearerToken,
}

impl Responses {
    /// From any slot.
    ///
    /// # Errors
    /// When the credentials cannot be used.
    pub(super) fn new(cluster: &Cluster<Flaredb>) -> Result<Self> {
        let credentials = cluster.credentials();
        let endpoint = |slot| anyhow::Ok(credentials.endpoint(&url(slot))?.connect_timeout(CONNECT_AT_MOST));
        let endpoints = (0..SLOTS).map(endpoint).collect::<Result<_>>()?;
        Ok(Self { endpoints, token: credentials.bearer() })
    }
}

impl Feed for Responses {
    type Stream = Streaming<WatchResponse>;

    async fn open(&self, slot: usize, watched: &Watched) -> Option<Self::Stream> {
        let request = WatchRequest {
            namespace: STRONG.to_owned(),
            prefix: watched.prefix.clone().into(),
            from_revision: watched.next(),
        };
        let channel: Channel = self.endpoints.get(slot)?.connect().await.ok()?;
        let service = InterceptedService::new(channel, self.token.clone());
        let opened = KvCasClient::new(service).watch(request).await;
        let opened = opened.inspect_err(|status| tracing::debug!(%status, "a watch was refused")).ok()?;
        Some(opened.into_inner())
    }

    async fn next(stream: &mut Self::Stream) -> Option<Vec<Revision>> {
        Some(vec![revision_of(stream.message().await.ok()??)])
    }
}
