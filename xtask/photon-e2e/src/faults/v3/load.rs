//! Clients of etcd's v3 API: writes go through the client library with all endpoints, reads to one node at a time;
//! beside those of the registers, some read ranges and some keep leases.

mod leases;
mod ranges;
mod requests;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use chainfire_client::{Client, Error};
use chainfire_proto::KeyRange;
use tokio::{task::JoinSet, time::timeout};

use super::{Program, V3, chain, client, client_of_all, feed::Responses};
use crate::{
    faults::{
        check::{Revision, lease::Lease, watch::Watched},
        cluster::{Cluster, SLOTS},
        history::{Did, LEASED, NEVER, Operation, Outcome, Recorder},
        load::{
            NODE_PATIENCE, PATIENCE, STRONG_CLIENTS, Shared, WATCHERS, strong,
            watchers::{Feed as _, Watcher},
        },
        subject,
    },
    wait::wait_for,
};

const LEASE_CLIENTS: u32 = 8;
const HISTORY_SILENCE_AT_MOST: Duration = Duration::from_secs(20);
/// When nobody renews them any more, and nothing is broken, all leases have ended after so long.
const LEASES_END_AT_MOST: Duration = Duration::from_secs(20);
/// The number of the client that ends the run.
const LAST_CLIENT: u32 = 999;

/// The running clients.
#[derive(Debug)]
pub(in crate::faults) struct Load {
    shared: Arc<Shared>,
    leases: Arc<Mutex<Vec<Lease>>>,
    clients: JoinSet<()>,
    watchers: JoinSet<Watched>,
}

/// What is left when the clients have stopped.
#[derive(Debug)]
pub(super) struct Harvest {
    /// What the watches delivered.
    pub(super) watched: Vec<Watched>,
    /// The whole history.
    pub(super) log: Vec<Revision>,
    /// What became of the leases.
    pub(super) leases: Vec<Lease>,
    /// When the last look at the leases was.
    pub(super) ended_ms: u64,
}

impl<P: Program> subject::Load<V3<P>> for Load {
    fn start(cluster: &Cluster<V3<P>>, seed: u64) -> Result<Self> {
        let nodes: Vec<Client> =
            (0..SLOTS).map(|slot| client(&[P::url(slot)], NODE_PATIENCE)).collect::<Result<_>>()?;
        let (nodes, shared) = (Arc::new(nodes), Arc::new(Shared::new(cluster.members())));
        let leases = Arc::<Mutex<Vec<Lease>>>::default();
        let (mut clients, mut watchers) = (JoinSet::new(), JoinSet::new());
        for number in 0..STRONG_CLIENTS {
            let requests = requests::Routed::new(client_of_all::<P>(PATIENCE)?, Arc::clone(&nodes));
            clients.spawn(strong::run(Arc::clone(&shared), requests, number, seed));
        }
        clients.spawn(ranges::run(Arc::clone(&shared), Arc::clone(&nodes), seed));
        for number in 0..LEASE_CLIENTS {
            let router = client_of_all::<P>(PATIENCE)?;
            clients.spawn(leases::run(Arc::clone(&shared), router, Arc::clone(&leases), number, seed));
        }
        for number in 0..WATCHERS {
            let watcher = Watcher::new(Responses::new::<P>()?, number);
            watchers.spawn(watcher.run(Arc::clone(&shared), seed));
        }
        Ok(Self { shared, leases, clients, watchers })
    }

    fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    fn members_are(&self, members: Vec<usize>) {
        self.shared.members_are(members);
    }

    fn read_at(
        &mut self,
        _cluster: &Cluster<V3<P>>,
        slot: usize,
        times: u32,
        patience: Duration,
    ) -> Result<()> {
        for number in 0..times {
            let client = client(&[P::url(slot)], patience)?;
            let shared = Arc::clone(&self.shared);
            self.clients.spawn(async move {
                let read = async |key: &str| requests::get(&client, key).await;
                strong::read_once(&shared, number, read).await;
            });
        }
        Ok(())
    }
}

impl Load {
    /// Stops the clients, waits until the leases that nobody renews have ended, then stops the watches when they have
    /// got everything.
    ///
    /// # Errors
    /// When a client panicked, or the history cannot be read back.
    pub(super) async fn stop<P: Program>(&mut self, cluster: &Cluster<V3<P>>) -> Result<Harvest> {
        self.shared.stop(&mut self.clients).await?;
        let client = client_of_all::<P>(PATIENCE)?;
        if let Err(error) = until_no_lease_is_held(&client).await {
            // The check of the leases tells which.
            tracing::warn!("{error:#}");
        }
        let ended_ms = self.shared.recorder.now_ms();
        let last = self.last_write(&client).await?;
        let log = history(cluster, last).await?;
        let watched = self.shared.end(last, &mut self.watchers).await?;
        let leases = std::mem::take(&mut *self.leases.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(Harvest { watched, log, leases, ended_ms })
    }

    /// A write that all watches see, so that each knows when it has got everything.
    async fn last_write(&self, client: &Client) -> Result<u64> {
        let recorder = &self.shared.recorder;
        let (mut last, mut number) = (None, 0);
        let done = wait_for("the last write", HISTORY_SILENCE_AT_MOST, async || {
            number += 1;
            let (key, did) = ("pair/end".to_owned(), Did::Put(format!("end-{number}")));
            let (at_ms, called) = (recorder.now_ms(), recorder.tick());
            let outcome = requests::write(client, &key, &did).await;
            last = Some(outcome.clone());
            let client = LAST_CLIENT;
            recorder.note(Operation { client, key, did, outcome, called, returned: NEVER, at_ms });
            if let Some(Outcome::Done(revision)) = last { Some(revision) } else { None }
        })
        .await;
        done.with_context(|| format!("it ended with {last:?}"))
    }
}

async fn until_no_lease_is_held(client: &Client) -> Result<()> {
    wait_for("all leases to end", LEASES_END_AT_MOST, async || {
        let answer = client.range(ranges::of_prefix(LEASED)).await.ok()?;
        answer.kvs.is_empty().then_some(())
    })
    .await
}

/// Everything that ever happened.
async fn history<P: Program>(cluster: &Cluster<V3<P>>, last: u64) -> Result<Vec<Revision>> {
    let (leader, _) = cluster.leader().await?;
    let (feed, whole) = (Responses::new::<P>()?, Watched { from: 1, ..Watched::default() });
    let mut stream = feed.open(leader, &whole).await.context("the history cannot be read back")?;
    let mut log: Vec<Revision> = Vec::new();
    while log.last().is_none_or(|entry| entry.revision < last) {
        let next = timeout(HISTORY_SILENCE_AT_MOST, Responses::next(&mut stream)).await;
        let came = next.context("the history ends early")?.context("the history ended")?;
        log.extend(came.into_iter().filter(|entry| !entry.events.is_empty()));
    }
    Ok(log)
}

/// What came of a write that was not answered.
fn failed(error: &Error) -> Outcome {
    match error {
        Error::Indeterminate { .. } => Outcome::Unknown(chain(error)),
        _ => Outcome::Failed(chain(error)),
    }
}

/// The keys that begin so.
fn range_of(prefix: &str) -> KeyRange {
    KeyRange::prefix(prefix.to_owned())
}
