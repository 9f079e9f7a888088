//! A watch on the bare protocol: it moves from node to node, on faults and now and then without one, and resumes where
//! it was. The client library would hide what a server repeats.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use anyhow::Result;
use flaredb_proto::v1::{WatchRequest, WatchResponse, kv_cas_client::KvCasClient};
use photon_runtime::client::BearerToken;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::timeout;
use tonic::{
    Streaming,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

use super::{Shared, revision_of};
use crate::faults::{
    check::watch::Watched,
    cluster::{Cluster, SLOTS, STRONG, url},
};

/// Servers send progress twice a second.
const SILENCE_AT_MOST: Duration = Duration::from_secs(2);
const OPEN_AT_MOST: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
/// One response in so many is followed by a move to another node.
const MOVES_ONE_IN: u32 = 300;

/// One watch.
#[derive(Debug)]
pub(super) struct Watcher {
    endpoints: Vec<Endpoint>,
    token: BearerToken,
    slot: usize,
    watched: Watched,
}

impl Watcher {
    /// A watch that begins at the slot of its number; one of three watches a part of the keys.
    ///
    /// # Errors
    /// When the credentials cannot be used.
    pub(super) fn new(cluster: &Cluster, number: usize) -> Result<Self> {
        let credentials = cluster.credentials();
        let endpoint = |slot| anyhow::Ok(credentials.endpoint(&url(slot))?.connect_timeout(OPEN_AT_MOST));
        let prefix = if number == 0 { "pair/" } else { "" };
        let watched = Watched {
            name: format!("watch {number}"),
            prefix: prefix.to_owned(),
            from: 1,
            ..Watched::default()
        };
        let endpoints = (0..SLOTS).map(endpoint).collect::<Result<_>>()?;
        Ok(Self { endpoints, token: credentials.bearer(), slot: number, watched })
    }

    /// Watches until the last revision has come.
    pub(super) async fn run(mut self, shared: Arc<Shared>, seed: u64) -> Watched {
        let mut random = StdRng::seed_from_u64(seed ^ u64::try_from(self.slot).unwrap_or(0));
        while self.watched.next() <= shared.last_revision.load(Ordering::SeqCst) {
            if let Some(stream) = self.open().await {
                self.follow(stream, &shared, &mut random).await;
                self.watched.resumed += 1;
            } else {
                tokio::time::sleep(PAUSE).await;
            }
            self.slot = (self.slot + 1) % self.endpoints.len();
        }
        self.watched
    }

    /// `None`: this node does not answer.
    async fn open(&self) -> Option<Streaming<WatchResponse>> {
        let request = WatchRequest {
            namespace: STRONG.to_owned(),
            prefix: self.watched.prefix.clone().into(),
            from_revision: self.watched.next(),
        };
        let opened = async {
            let channel: Channel = self.endpoints.get(self.slot)?.connect().await.ok()?;
            let service = InterceptedService::new(channel, self.token.clone());
            let opened = KvCasClient::new(service).watch(request).await;
            opened.inspect_err(|status| tracing::debug!(%status, "a watch was refused")).ok()
        };
        timeout(OPEN_AT_MOST, opened).await.ok().flatten().map(tonic::Response::into_inner)
    }

    async fn follow(&mut self, mut stream: Streaming<WatchResponse>, shared: &Shared, random: &mut StdRng) {
        while self.watched.next() <= shared.last_revision.load(Ordering::SeqCst) {
            let Ok(Ok(Some(response))) = timeout(SILENCE_AT_MOST, stream.message()).await else { return };
            self.watched.delivered.push(revision_of(response));
            if random.random_range(0..MOVES_ONE_IN) == 0 {
                return;
            }
        }
    }
}
