//! ChainFire beside etcd: one driver for both, since both speak etcd's v3 API.
//!
//! The clients are those of the other database benchmark. Watchers have a stream each; a put is sent when every watcher
//! has received the one before.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use photon_runtime::client::{ClientTls, CredentialFiles};

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

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct ChainFireOptions {
    #[command(flatten)]
    pub(super) shared: Options,
    /// Client URLs of the running cluster that is measured as ours.
    #[arg(long, value_delimiter = ',', required = true, value_name = "URL")]
    ours: Vec<String>,
    /// Process ids of its nodes, for what they use.
    #[arg(long, value_delimiter = ',', required = true, value_name = "PID")]
    ours_pids: Vec<u32>,
    /// The CA of its certificates, where it speaks TLS.
    #[arg(long, value_name = "FILE")]
    ours_ca: Option<PathBuf>,
}

/// One cluster under load.
struct Cluster {
    speakers: Speakers,
    pids: Vec<u32>,
}

/// The two clusters.
struct Sides {
    ours: Cluster,
    theirs: Cluster,
    seconds: u64,
    /// Whose writes are counted.
    disk: PathBuf,
    _etcd: Etcd,
}

/// Measures everything that is asked for, the two sides in turn.
///
/// # Errors
/// When a cluster cannot be reached or any operation fails.
pub(super) async fn measure(options: &ChainFireOptions) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let sides = Sides::start(folder.path(), options).await?;
    let Options { filter, clients, rounds, .. } = &options.shared;
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
    async fn start(folder: &Path, options: &ChainFireOptions) -> Result<Self> {
        let shared = &options.shared;
        let etcd = Etcd::start(folder, shared.nodes, None).await?;
        let pids = etcd.processes().map(Process::pid).collect();
        let theirs = Cluster { speakers: Speakers::of(&etcd, shared.endpoints).await?, pids };
        let ours = Cluster::running(options).await?;
        ours.speakers.fill().await.context("our cluster cannot be filled")?;
        theirs.speakers.fill().await.context("etcd cannot be filled")?;
        Ok(Self { ours, theirs, seconds: shared.seconds, disk: folder.to_owned(), _etcd: etcd })
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
    async fn running(options: &ChainFireOptions) -> Result<Self> {
        let ChainFireOptions { shared, ours, ours_pids, ours_ca } = options;
        ensure!(ours.len() == shared.nodes, "{} URLs of ours, {} nodes of etcd", ours.len(), shared.nodes);
        let files = CredentialFiles { ca: ours_ca.clone(), ..CredentialFiles::default() };
        let credentials = ClientTls::read(&files)?;
        let leader = crate::etcd::leader_of(&credentials, ours).await.context("nobody leads our cluster")?;
        let speakers = Speakers { urls: ours.clone(), leader, credentials, reach: shared.endpoints };
        Ok(Self { speakers, pids: ours_pids.clone() })
    }
}
