//! FlareDB beside etcd: the same clients, keys, values and number of nodes, both syncing before they answer.
//!
//! Both speak TLS to clients and mutual TLS among their nodes, by the same certificates, since FlareDB's nodes refuse
//! anything less; ours also checks a bearer token on every call, which etcd does not. Clients of both are in this
//! process, on at most 16 connections, and know every node: ours is `flaredb-client`, which goes to the leader; many
//! clients of etcd are spread over all nodes, as etcd's own client does it. Every get meets a record that is there.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use flaredb_client::{RdbClient, Swap};
use flaredb_proto::v1::{CommitRequest, Write, write::Op as WriteOp};
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    Options, Row, Side,
    etcd::{self, Speakers},
    load::{self, Client},
    start,
    workload::{CONNECTIONS, Operation, OwnKeys, Round, VALUE_BYTES, batch, is_write, key, shared, usage},
};
use crate::{
    cloud::{Cloud, Layout},
    etcd::Etcd,
    process::Process,
};

/// Where our records are.
pub(super) const NAMESPACE: &str = "bench";

/// What is measured under load.
const OPERATIONS: [(Operation, &str); 5] = [
    (Operation::Put, "put"),
    (Operation::Get, "get linearizable"),
    (Operation::Swap, "compare and swap"),
    (Operation::Mix, "mix 90 % get 10 % put"),
    (Operation::Batch, "batch of 32 puts"),
];

/// The two clusters.
struct Sides {
    ours: Cloud,
    theirs: Etcd,
    speakers: Speakers,
    seconds: u64,
    /// Where both keep their data.
    disk: PathBuf,
}

/// Measures everything that is asked for, the two sides in turn.
///
/// # Errors
/// When a cluster does not start or any operation fails.
pub(super) async fn measure(options: &Options) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let mut rows = Vec::new();
    if start::NAME.contains(&options.filter) {
        rows.push(start::measure(folder.path(), options.rounds).await?);
    }
    let wanted = OPERATIONS.iter().filter(|(_, name)| name.contains(&options.filter));
    let wanted: Vec<_> =
        wanted.flat_map(|row| options.clients.iter().map(move |clients| (row, *clients))).collect();
    if wanted.is_empty() {
        return Ok(rows);
    }
    let sides = Sides::start(folder.path(), options).await?;
    for ((operation, name), clients) in wanted {
        rows.push(sides.row(*operation, name, clients, options.rounds).await?);
    }
    Ok(rows)
}

impl Sides {
    /// Two clusters with every key of the load.
    async fn start(folder: &Path, options: &Options) -> Result<Self> {
        let layout = Layout { nodes: options.nodes, dns: false, ..Layout::default() };
        let ours = Cloud::start(&folder.join("flaredb"), layout).await?;
        ours.create_namespace(NAMESPACE).await?;
        let theirs = Etcd::start(folder, options.nodes, Some(&ours.certificates(options.nodes))).await?;
        let speakers = Speakers::of(&theirs, options.endpoints).await?;
        let sides = Self { ours, theirs, speakers, seconds: options.seconds, disk: folder.to_owned() };
        sides.fill().await?;
        Ok(sides)
    }

    async fn row(&self, operation: Operation, name: &str, clients: u32, rounds: u32) -> Result<Row> {
        let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
        for number in 0..rounds {
            tracing::info!(op = name, clients, round = number, "measuring");
            let round = Round { operation, clients, number };
            their_rounds.push(self.theirs_once(round).await?);
            our_rounds.push(self.ours_once(round).await?);
        }
        Ok(Row::of(name, "etcd", clients, &our_rounds, &their_rounds))
    }

    /// Writes every key of the load on both sides.
    async fn fill(&self) -> Result<()> {
        self.speakers.fill().await?;
        let round = Round { operation: Operation::Batch, clients: 1, number: 0 };
        let Some(ours) = self.ours(round).await?.pop() else { return Ok(()) };
        let writes = stream::iter(etcd::batches()).map(|first| ours.batch(first));
        writes.buffer_unordered(etcd::FILLERS).try_collect().await
    }

    async fn theirs_once(&self, round: Round) -> Result<Side> {
        let clients = self.speakers.clients(round).await?;
        let pids = pids(self.theirs.processes());
        load::run(clients, self.seconds, || usage(&self.disk, &pids)).await
    }

    async fn ours_once(&self, round: Round) -> Result<Side> {
        let (clients, pids) = (self.ours(round).await?, pids(self.ours.processes()));
        load::run(clients, self.seconds, || usage(&self.disk, &pids)).await
    }

    async fn ours(&self, round: Round) -> Result<Vec<Ours>> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS.min(round.clients) {
            let client = self.ours.rdb().await?;
            // Its first call teaches it where the leader is, as in any program that lives longer than a call.
            client.get(NAMESPACE, key(0)).await?;
            connections.push(client);
        }
        let client = |(client, keys)| Ours {
            operation: round.operation,
            keys,
            value: Bytes::from(vec![b'v'; VALUE_BYTES]),
            client,
        };
        Ok(shared(&connections, round).map(client).collect())
    }
}

fn pids<'a>(processes: impl Iterator<Item = &'a Process>) -> Vec<u32> {
    processes.map(Process::pid).collect()
}

/// One of our clients.
#[derive(Debug)]
struct Ours {
    operation: Operation,
    keys: OwnKeys,
    value: Bytes,
    client: RdbClient,
}

impl Client for Ours {
    async fn operate(&mut self, number: u64) -> Result<()> {
        match self.operation {
            Operation::Put => self.commit([number].into_iter()).await,
            Operation::Get => self.get(number).await,
            Operation::Mix if is_write(number) => self.commit([number].into_iter()).await,
            Operation::Mix => self.get(number).await,
            Operation::Swap | Operation::ReadAndSwap => self.swap(number).await,
            Operation::Batch => self.batch(number).await,
        }
    }
}

impl Ours {
    async fn batch(&self, number: u64) -> Result<()> {
        self.commit(batch(number)).await
    }

    async fn commit(&self, numbers: impl Iterator<Item = u64>) -> Result<()> {
        let writes = numbers.map(|number| put(number, self.value.clone())).collect();
        let request = CommitRequest { namespace: NAMESPACE.to_owned(), writes, ..Default::default() };
        self.client.commit(request).await?;
        Ok(())
    }

    async fn get(&self, number: u64) -> Result<()> {
        let read = self.client.get(NAMESPACE, key(number)).await?;
        ensure!(read.record.is_some(), "FlareDB did not find a record that is there");
        Ok(())
    }

    async fn swap(&mut self, number: u64) -> Result<()> {
        let (key, expected) = self.keys.pick(number);
        match self.client.cas_put(NAMESPACE, key.clone(), self.value.clone(), expected).await? {
            Swap::Done(version) => self.keys.learned(key, version),
            Swap::Conflict { .. } => bail!("FlareDB refused a swap that nobody contended"),
        }
        Ok(())
    }
}

/// Writes a key of the load.
pub(super) fn put(number: u64, value: Bytes) -> Write {
    Write { key: key(number).into(), op: Some(WriteOp::Put(value)) }
}
