//! FlareDB beside etcd: the same clients, keys, values and number of nodes, both syncing before they answer.
//!
//! Both speak TLS to clients and mutual TLS among their nodes, by the same certificates, since FlareDB's nodes refuse
//! anything less; ours also checks a bearer token on every call, which etcd does not. Clients of both are in this
//! process, on at most 16 connections, and know every node: ours is `flaredb-client`, which goes to the leader; many
//! clients of etcd are spread over all nodes, as etcd's own client does it. Every get meets a record that is there.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use flaredb_client::{RdbClient, Swap};
use flaredb_proto::v1::{CommitRequest, Write, write::Op as WriteOp};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::transport::Channel;

use super::{
    Options, Reach, Row, Side, Usage,
    etcd::{Etcd, Theirs},
    load::{self, Client, KEYS},
    start,
};
use crate::{
    cloud::{Cloud, Layout},
    process::{self, Process},
};

/// Bytes of a value.
pub(super) const VALUE_BYTES: usize = 256;
const KEY_BYTES: usize = 64;
const CONNECTIONS: u32 = 16;
/// Where our records are.
pub(super) const NAMESPACE: &str = "bench";
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Keys that each client swaps.
const OWN_KEYS: u64 = 64;
/// Writes of one batch.
const BATCH: u64 = 32;
/// In a mix, one operation in so many is a write.
const WRITES_ONE_IN: u64 = 10;
const FILLERS: usize = 8;

/// One operation of the benchmark.
#[derive(Clone, Copy, Debug)]
pub(super) enum Operation {
    /// Writes a key, whatever is there.
    Put,
    /// Reads a key, linearizably.
    Get,
    /// Nine reads for each write.
    Mix,
    /// Compares and swaps a key of the client's own.
    Swap,
    /// Writes several keys atomically.
    Batch,
}

/// What is measured under load.
const OPERATIONS: [(Operation, &str); 5] = [
    (Operation::Put, "put"),
    (Operation::Get, "get linearizable"),
    (Operation::Swap, "compare and swap"),
    (Operation::Mix, "mix 90 % get 10 % put"),
    (Operation::Batch, "batch of 32 puts"),
];

/// The load's key with this number, padded to 64 bytes.
pub(super) fn key(number: u64) -> Vec<u8> {
    padded(format!("/load/{number:016x}"))
}

fn padded(key: String) -> Vec<u8> {
    let mut key = key.into_bytes();
    key.resize(KEY_BYTES, b'k');
    key
}

/// The numbers of the keys in the batch that begins with this one.
pub(super) fn batch(first: u64) -> impl Iterator<Item = u64> {
    (first..first + BATCH).map(|number| number % KEYS)
}

/// Whether the operation of a mix that met this number is a write.
pub(super) fn is_write(number: u64) -> bool {
    number.is_multiple_of(WRITES_ONE_IN)
}

/// Keys that only one client writes, with the version that its last write made.
#[derive(Debug)]
pub(super) struct OwnKeys {
    owner: String,
    versions: HashMap<Vec<u8>, u64>,
}

impl OwnKeys {
    /// None written yet.
    pub(super) fn of(owner: String) -> Self {
        Self { owner, versions: HashMap::new() }
    }

    /// The own key behind a number, and the version it is at; 0: it was never written.
    pub(super) fn pick(&self, number: u64) -> (Vec<u8>, u64) {
        let key = padded(format!("/cas/{}/{:x}", self.owner, number % OWN_KEYS));
        let version = self.versions.get(&key).copied().unwrap_or(0);
        (key, version)
    }

    /// Remembers the version that a swap made.
    pub(super) fn learned(&mut self, key: Vec<u8>, version: u64) {
        self.versions.insert(key, version);
    }
}

/// The two clusters.
struct Sides {
    ours: Cloud,
    theirs: Etcd,
    seconds: u64,
    reach: Reach,
    /// Where both keep their data.
    disk: PathBuf,
}

/// One measurement: what, by how many clients, for which time.
#[derive(Clone, Copy)]
struct Round {
    operation: Operation,
    clients: u32,
    number: u32,
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
        let theirs = Etcd::start(&ours, options.nodes, folder)?;
        let (seconds, reach) = (options.seconds, options.endpoints);
        let sides = Self { ours, theirs, seconds, reach, disk: folder.to_owned() };
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
        let round = Round { operation: Operation::Batch, clients: 1, number: 0 };
        let starts = || (0..KEYS).step_by(usize::try_from(BATCH).unwrap_or(1));
        let theirs = self.theirs(round).await?.pop();
        let ours = self.ours(round).await?.pop();
        if let (Some(theirs), Some(ours)) = (theirs, ours) {
            let writes = stream::iter(starts()).map(|first| theirs.batch(first));
            writes.buffer_unordered(FILLERS).try_collect::<()>().await?;
            let writes = stream::iter(starts()).map(|first| ours.batch(first));
            writes.buffer_unordered(FILLERS).try_collect::<()>().await?;
        }
        Ok(())
    }

    async fn theirs_once(&self, round: Round) -> Result<Side> {
        let clients = self.theirs(round).await?;
        load::run(clients, self.seconds, || usage(&self.disk, &self.theirs.processes)).await
    }

    async fn ours_once(&self, round: Round) -> Result<Side> {
        let clients = self.ours(round).await?;
        load::run(clients, self.seconds, || usage(&self.disk, self.ours.processes())).await
    }

    async fn theirs(&self, round: Round) -> Result<Vec<Theirs>> {
        let channels = self.channels(round.clients).await?;
        let client = |(channel, keys)| Theirs {
            operation: round.operation,
            channel,
            value: vec![b'v'; VALUE_BYTES],
            keys,
        };
        Ok(shared(&channels, round).map(client).collect())
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

    async fn channels(&self, clients: u32) -> Result<Vec<Channel>> {
        let many = clients > 1 && self.reach == Reach::All;
        let urls = if many { self.theirs.urls.clone() } else { vec![self.theirs.leader(&self.ours).await?] };
        let mut open = Vec::new();
        for (_, url) in (0..CONNECTIONS.min(clients)).zip(urls.iter().cycle()) {
            open.push(self.ours.endpoint(url, CALL_TIMEOUT)?.connect().await?);
        }
        Ok(open)
    }
}

/// What the servers of a side have used so far; both sides take turns on the same disk.
fn usage<'a>(disk: &Path, processes: impl IntoIterator<Item = &'a Process>) -> Result<Usage> {
    let mut usage = Usage { written_bytes: process::written_bytes(disk)?, ..Usage::default() };
    for process in processes {
        usage.cpu_s += process::cpu_s([process])?;
        usage.resident_bytes = usage.resident_bytes.max(process::resident_bytes(process)?);
    }
    Ok(usage)
}

/// A connection, shared evenly, and keys of its own for each client.
fn shared<C: Clone>(connections: &[C], round: Round) -> impl Iterator<Item = (C, OwnKeys)> {
    let Round { clients, number, .. } = round;
    let keys = (0..clients).map(move |client| OwnKeys::of(format!("{clients}-{number}-{client}")));
    connections.iter().cloned().cycle().zip(keys)
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
            Operation::Swap => self.swap(number).await,
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
