//! ChainFire beside etcd: one driver for both, since both speak etcd's v3 API. Both speak TLS to clients and
//! mutual TLS among their nodes, by the same certificates.
//!
//! The clients are those of the other database benchmark. Watchers have a stream each; a put is sent when every watcher
//! has received the one before.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{
    Options, Row, Side,
    etcd::Speakers,
    load, watchers,
    workload::{Operation, Round, usage},
};
use crate::{etcd::Etcd, process::Process};

/// What is measured under load.
const OPERATIONS: [(Operation, &str); 3] = [
    (Operation::Put, "put"),
    (Operation::Get, "get linearizable"),
    (Operation::ReadAndSwap, "get and swap in a txn"),
];
/// Watchers of one key.
const WATCHERS: [u32; 2] = [100, 1_000];
const WATCH: &str = "watch, put to receipt";

/// One cluster under load.
struct Cluster {
    speakers: Speakers,
    pids: Vec<u32>,
    _servers: Etcd,
}

/// The two clusters.
struct Sides {
    ours: Cluster,
    theirs: Cluster,
    seconds: u64,
    /// Where both keep their data.
    disk: PathBuf,
}

/// Measures everything that is asked for, the two sides in turn.
///
/// # Errors
/// When a cluster cannot be reached or any operation fails.
pub(super) async fn measure(options: &Options) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let sides = Sides::start(folder.path(), options).await?;
    let Options { filter, clients, rounds, .. } = options;
    let mut rows = Vec::new();
    for (operation, name) in OPERATIONS.into_iter().filter(|(_, name)| name.contains(filter.as_str())) {
        for clients in clients {
            rows.push(sides.row(Some(operation), name, *clients, *rounds).await?);
        }
    }
    for watchers in WATCHERS.into_iter().filter(|_| WATCH.contains(filter.as_str())) {
        rows.push(sides.row(None, WATCH, watchers, *rounds).await?);
    }
    Ok(rows)
}

impl Sides {
    async fn start(folder: &Path, options: &Options) -> Result<Self> {
        let (ours, theirs) = Etcd::start_both(folder, options.nodes).await?;
        let (ours, theirs) = (Cluster::of(ours, options).await?, Cluster::of(theirs, options).await?);
        Ok(Self { ours, theirs, seconds: options.seconds, disk: folder.to_owned() })
    }

    /// The medians of some rounds; without an operation, of watchers.
    async fn row(&self, operation: Option<Operation>, name: &str, clients: u32, rounds: u32) -> Result<Row> {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for number in 0..rounds {
            tracing::info!(op = name, clients, round = number, "measuring");
            theirs.push(self.once(&self.theirs, operation, clients, number).await?);
            ours.push(self.once(&self.ours, operation, clients, number).await?);
        }
        Ok(Row::of(name, "etcd", clients, &ours, &theirs))
    }

    async fn once(
        &self,
        cluster: &Cluster,
        operation: Option<Operation>,
        clients: u32,
        number: u32,
    ) -> Result<Side> {
        let usage = || usage(&self.disk, &cluster.pids);
        let Some(operation) = operation else {
            return watchers::run(&cluster.speakers, clients, self.seconds, usage).await;
        };
        let speakers = cluster.speakers.clients(Round { operation, clients, number }).await?;
        load::run(speakers, self.seconds, usage).await
    }
}

impl Cluster {
    /// A cluster that runs, with every key of the load.
    async fn of(servers: Etcd, options: &Options) -> Result<Self> {
        let speakers = Speakers::of(&servers, options.endpoints).await?;
        speakers.fill().await?;
        let pids = servers.processes().map(Process::pid).collect();
        Ok(Self { speakers, pids, _servers: servers })
    }
}
