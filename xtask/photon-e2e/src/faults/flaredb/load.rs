//! FlareDB's clients: writes go through the client library with all endpoints, reads to one node at a time, so that a
//! node that should not answer is asked as well.

mod eventual;
mod requests;

use std::{sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use flaredb_client::{Error, RdbClient};
use futures::StreamExt as _;
use tokio::{task::JoinSet, time::timeout};

use super::{Flaredb, STRONG, feed::Responses};
use crate::faults::{
    check::{Event, Revision, watch::Watched},
    cluster::{Cluster, SLOTS},
    history::Recorder,
    load::{NODE_PATIENCE, PACE, PATIENCE, STRONG_CLIENTS, Shared, WATCHERS, strong, watchers::Watcher},
    subject,
};

const EVENTUAL_CLIENTS: u32 = 4;
const HISTORY_SILENCE_AT_MOST: Duration = Duration::from_secs(20);

/// The running clients.
#[derive(Debug)]
pub(in crate::faults) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    watchers: JoinSet<Watched>,
}

/// What is left when the clients have stopped.
#[derive(Debug)]
pub(super) struct Harvest {
    /// What the watches delivered.
    pub(super) watched: Vec<Watched>,
    /// The whole history of the Strong namespace.
    pub(super) log: Vec<Revision>,
}

impl subject::Load<Flaredb> for Load {
    fn start(cluster: &Cluster<Flaredb>, seed: u64) -> Result<Self> {
        let all: Vec<usize> = (0..SLOTS).collect();
        let nodes =
            || all.iter().map(|&slot| cluster.client(&[slot], NODE_PATIENCE)).collect::<Result<Vec<_>>>();
        let shared = Arc::new(Shared::new(cluster.members()));
        let (mut clients, mut watchers) = (JoinSet::new(), JoinSet::new());
        let readers = Arc::new(nodes()?);
        for number in 0..STRONG_CLIENTS {
            let requests = requests::Routed::new(cluster.client(&all, PATIENCE)?, Arc::clone(&readers));
            clients.spawn(strong::run(Arc::clone(&shared), requests, number, seed));
        }
        for number in 0..EVENTUAL_CLIENTS {
            let router = cluster.client(&all, PATIENCE)?;
            clients.spawn(eventual::run(Arc::clone(&shared), router, nodes()?, number, seed));
        }
        for number in 0..WATCHERS {
            let watcher = Watcher::new(Responses::new(cluster)?, number);
            watchers.spawn(watcher.run(Arc::clone(&shared), seed));
        }
        Ok(Self { shared, clients, watchers })
    }

    fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    fn members_are(&self, members: Vec<usize>) {
        self.shared.members_are(members);
    }

    fn read_at(
        &mut self,
        cluster: &Cluster<Flaredb>,
        slot: usize,
        times: u32,
        patience: Duration,
    ) -> Result<()> {
        for number in 0..times {
            let client = cluster.client(&[slot], patience)?;
            let shared = Arc::clone(&self.shared);
            self.clients.spawn(async move {
                let read = async |key: &str| requests::found(client.get(STRONG, key.to_owned()).await);
                strong::read_once(&shared, number, read).await;
            });
        }
        Ok(())
    }
}

impl Load {
    /// Stops the clients, then the watches when they have got everything.
    ///
    /// # Errors
    /// When a client panicked, or the history cannot be read back.
    pub(super) async fn stop(&mut self, cluster: &Cluster<Flaredb>) -> Result<Harvest> {
        self.shared.stop(&mut self.clients).await?;
        let client = cluster.admin()?;
        let last = client.get(STRONG, "end").await.context("the last revision is not told")?.revision;
        let log = history(&client, last).await?;
        let watched = self.shared.end(last, &mut self.watchers).await?;
        Ok(Harvest { watched, log })
    }
}

/// Everything that ever happened in the Strong namespace.
async fn history(client: &RdbClient, last: u64) -> Result<Vec<Revision>> {
    let mut log = Vec::new();
    let mut revisions = client.watch(STRONG, b"", 1).await.context("the history cannot be read back")?;
    let mut seen = 0;
    while seen < last {
        let next =
            timeout(HISTORY_SILENCE_AT_MOST, revisions.next()).await.context("the history ends early")?;
        let response = next.context("the history ended")??;
        seen = response.revision;
        if !response.events.is_empty() {
            log.push(revision_of(response));
        }
    }
    Ok(log)
}

/// A response of a watch, without what the checks do not look at.
pub(super) fn revision_of(response: flaredb_client::WatchResponse) -> Revision {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let events = response.events.iter().map(|event| Event {
        key: text(&event.key),
        value: event.value.as_deref().map(text),
        previous: event.previous_version,
        meta: None,
    });
    Revision { revision: response.revision, events: events.collect() }
}

/// Whether an error leaves open what happened; with its words.
fn unknown(error: &Error) -> (bool, String) {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    (matches!(error, Error::Indeterminate { .. }), format!("{error}{source}"))
}
