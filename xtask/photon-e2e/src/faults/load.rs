//! Clients that write and read all the time, whatever happens, and note what came of it.
//!
//! Writes go through the client library with all endpoints, reads to one node at a time, so that a node that should
//! not answer is asked as well. A register key is used for so many requests and then left for a fresh one, which keeps
//! each key's history small enough to be decided.

mod eventual;
mod strong;
mod watchers;

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use flaredb_client::{Error, RdbClient};
use futures::StreamExt as _;
use rand::{RngExt as _, rngs::StdRng};
use tokio::{task::JoinSet, time::timeout};

pub(super) use self::strong::register_keys;
use super::{
    check::{Event, Revision, watch::Watched},
    cluster::{Cluster, SLOTS, STRONG},
    history::Recorder,
};
use crate::wait::wait_for;

/// Clients of the Strong namespace; with the readers of single faults, no key has many more.
const STRONG_CLIENTS: u32 = 8;
const EVENTUAL_CLIENTS: u32 = 4;
const WATCHERS: usize = 3;
/// A client's pause between two requests, so that the machine is not the bottleneck.
const PACE: Duration = Duration::from_millis(12);
/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long one waits for one node, where no other may be asked.
const NODE_PATIENCE: Duration = Duration::from_secs(1);
const HISTORY_SILENCE_AT_MOST: Duration = Duration::from_secs(20);
const PROGRESS_AT_MOST: Duration = Duration::from_secs(30);

/// The running clients.
#[derive(Debug)]
pub(super) struct Load {
    shared: Arc<Shared>,
    clients: JoinSet<()>,
    watchers: JoinSet<Watched>,
}

/// What all clients have in common.
#[derive(Debug)]
struct Shared {
    recorder: Recorder,
    stop: AtomicBool,
    /// Requests to register keys so far.
    tickets: AtomicU64,
    /// The last revision there will be, once the clients have stopped.
    last_revision: AtomicU64,
    /// One client for each slot, which asks that node and no other.
    nodes: Vec<RdbClient>,
    /// The slots with nodes of the cluster.
    members: Mutex<Vec<usize>>,
}

impl Shared {
    fn runs(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    /// The slot of one of the nodes.
    fn any_slot(&self, random: &mut StdRng) -> usize {
        let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        members.get(random.random_range(0..members.len().max(1))).copied().unwrap_or(0)
    }
}

/// What is left when the clients have stopped.
#[derive(Debug)]
pub(super) struct Harvest {
    /// What the watches delivered.
    pub(super) watched: Vec<Watched>,
    /// The whole history of the Strong namespace.
    pub(super) log: Vec<Revision>,
}

impl Load {
    /// Starts all clients.
    ///
    /// # Errors
    /// When a client's configuration is refused.
    pub(super) fn start(cluster: &Cluster, seed: u64) -> Result<Self> {
        let all: Vec<usize> = (0..SLOTS).collect();
        let nodes = all.iter().map(|&slot| cluster.client(&[slot], NODE_PATIENCE)).collect::<Result<_>>()?;
        let shared = Arc::new(Shared {
            recorder: Recorder::new(),
            stop: AtomicBool::new(false),
            tickets: AtomicU64::new(0),
            last_revision: AtomicU64::new(u64::MAX),
            nodes,
            members: Mutex::new(cluster.members()),
        });
        let (mut clients, mut watchers) = (JoinSet::new(), JoinSet::new());
        for number in 0..STRONG_CLIENTS {
            let router = cluster.client(&all, PATIENCE)?;
            clients.spawn(strong::run(Arc::clone(&shared), router, number, seed));
        }
        for number in 0..EVENTUAL_CLIENTS {
            let router = cluster.client(&all, PATIENCE)?;
            let readers =
                all.iter().map(|&slot| cluster.client(&[slot], NODE_PATIENCE)).collect::<Result<_>>()?;
            clients.spawn(eventual::run(Arc::clone(&shared), router, readers, number, seed));
        }
        for number in 0..WATCHERS {
            let watcher = watchers::Watcher::new(cluster, number)?;
            watchers.spawn(watcher.run(Arc::clone(&shared), seed));
        }
        Ok(Self { shared, clients, watchers })
    }

    /// The notes.
    pub(super) fn recorder(&self) -> &Recorder {
        &self.shared.recorder
    }

    /// Reads are for these nodes from now on.
    pub(super) fn members_are(&self, members: Vec<usize>) {
        *self.shared.members.lock().unwrap_or_else(PoisonError::into_inner) = members;
    }

    /// Reads so often at one slot, at once, beside everything else; with this patience.
    ///
    /// # Errors
    /// When the client's configuration is refused.
    pub(super) fn read_at(
        &mut self,
        cluster: &Cluster,
        slot: usize,
        times: u32,
        patience: Duration,
    ) -> Result<()> {
        for number in 0..times {
            let client = cluster.client(&[slot], patience)?;
            let shared = Arc::clone(&self.shared);
            self.clients.spawn(async move { strong::read_once(&shared, &client, number).await });
        }
        Ok(())
    }

    /// How long from `since_ms` until a write was acknowledged that was sent later than that.
    ///
    /// # Errors
    /// When there was none in time.
    pub(super) async fn resumed(&self, since_ms: u64) -> Result<Duration> {
        let recorder = self.recorder();
        let sent_later = async || (recorder.acknowledged_call_ms() > since_ms).then_some(());
        wait_for("an acknowledged write", PROGRESS_AT_MOST, sent_later).await?;
        Ok(Duration::from_millis(recorder.now_ms().saturating_sub(since_ms)))
    }

    /// Waits until so many more requests were noted.
    ///
    /// # Errors
    /// When they were not in time.
    pub(super) async fn goes_on(&self, requests: usize) -> Result<()> {
        let wanted = self.recorder().count() + requests;
        let reached = async || (self.recorder().count() >= wanted).then_some(());
        wait_for("more requests", PROGRESS_AT_MOST, reached).await
    }

    /// Stops the clients, then the watches when they have got everything.
    ///
    /// # Errors
    /// When a client panicked, or the history cannot be read back.
    pub(super) async fn stop(&mut self, cluster: &Cluster) -> Result<Harvest> {
        self.shared.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.clients.join_next().await {
            ended?;
        }
        let client = cluster.admin()?;
        let last = client.get(STRONG, "end").await.context("the last revision is not told")?.revision;
        let log = history(&client, last).await?;
        self.shared.last_revision.store(last, Ordering::SeqCst);
        let mut watched = Vec::new();
        while let Some(ended) = self.watchers.join_next().await {
            watched.push(ended?);
        }
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

fn revision_of(response: flaredb_client::WatchResponse) -> Revision {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let events = response.events.iter().map(|event| Event {
        key: text(&event.key),
        value: event.value.as_deref().map(text),
        previous: event.previous_version,
    });
    Revision { revision: response.revision, events: events.collect() }
}

/// Whether an error leaves open what happened; with its words.
fn unknown(error: &Error) -> (bool, String) {
    let source = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
    (matches!(error, Error::Indeterminate { .. }), format!("{error}{source}"))
}
