//! FlareDB beside etcd: the same clients, keys, values and number of nodes, both syncing before they answer.
//!
//! Both speak TLS to clients and mutual TLS among their nodes, by the same certificates, since FlareDB's nodes refuse
//! anything less; ours also checks a bearer token on every call, which etcd does not. Clients of both are this process
//! and speak to the leader. Every get meets a record that is there.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use flaredb_proto::v1::{
    CasRequest, CommitRequest, GetRequest, Write, kv_cas_client::KvCasClient, write::Op as WriteOp,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tonic::transport::Channel;

use super::{
    Options, Row, Side,
    etcd::{Etcd, Theirs},
    load::{self, Client, KEYS},
};
use crate::{
    cloud::{Authorized, Cloud, Layout},
    process,
};

const VALUE_BYTES: usize = 256;
const KEY_BYTES: usize = 64;
const CONNECTIONS: usize = 16;
const NAMESPACE: &str = "bench";
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

/// What is measured, with how many clients.
const MATRIX: [(Operation, &str, [u32; 3]); 5] = [
    (Operation::Put, "put", [1, 64, 256]),
    (Operation::Get, "get linearizable", [1, 64, 256]),
    (Operation::Swap, "compare and swap", [1, 64, 256]),
    (Operation::Mix, "mix 90 % get 10 % put", [1, 64, 256]),
    (Operation::Batch, "batch of 32 puts", [1, 64, 256]),
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
    fn of(owner: String) -> Self {
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
}

/// One measurement: what, by how many clients, for which time.
#[derive(Clone, Copy)]
struct Round {
    operation: Operation,
    clients: u32,
    number: u32,
}

/// Measures the whole matrix, the two sides in turn.
///
/// # Errors
/// When a cluster does not start or any operation fails.
pub(super) async fn measure(options: &Options) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let layout = Layout { nodes: options.nodes, dns: false, ..Layout::default() };
    let ours = Cloud::start(&folder.path().join("flaredb"), layout).await?;
    ours.create_namespace(NAMESPACE).await?;
    let theirs = Etcd::start(&ours, options.nodes, folder.path()).await?;
    let sides = Sides { ours, theirs, seconds: options.seconds };
    sides.fill().await?;
    let mut rows = Vec::new();
    for (operation, name, clients) in MATRIX
        .iter()
        .flat_map(|(operation, name, clients)| clients.map(|clients| (*operation, *name, clients)))
    {
        let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
        for number in 0..options.rounds {
            tracing::info!(op = name, clients, round = number, "measuring");
            let round = Round { operation, clients, number };
            their_rounds.push(sides.theirs_once(round).await?);
            our_rounds.push(sides.ours_once(round).await?);
        }
        rows.push(Row::of(name, "etcd", clients, &our_rounds, &their_rounds));
    }
    Ok(rows)
}

impl Sides {
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
        load::run(clients, self.seconds, || process::cpu_s(&self.theirs.processes)).await
    }

    async fn ours_once(&self, round: Round) -> Result<Side> {
        let clients = self.ours(round).await?;
        load::run(clients, self.seconds, || process::cpu_s(self.ours.processes())).await
    }

    async fn theirs(&self, round: Round) -> Result<Vec<Theirs>> {
        let channels = self.channels(&self.theirs.leader, round.clients).await?;
        let client = |(channel, keys)| Theirs {
            operation: round.operation,
            channel,
            value: vec![b'v'; VALUE_BYTES],
            keys,
        };
        Ok(shared(&channels, round).map(client).collect())
    }

    async fn ours(&self, round: Round) -> Result<Vec<Ours>> {
        let leader = self.ours.database_url(self.ours.leader().await?);
        let channels = self.channels(&leader, round.clients).await?;
        let token = self.ours.operator()?.bearer();
        let client = |(channel, keys)| Ours {
            operation: round.operation,
            keys,
            value: Bytes::from(vec![b'v'; VALUE_BYTES]),
            client: KvCasClient::with_interceptor(channel, token.clone()),
        };
        Ok(shared(&channels, round).map(client).collect())
    }

    async fn channels(&self, url: &str, clients: u32) -> Result<Vec<Channel>> {
        let endpoint = self.ours.endpoint(url, CALL_TIMEOUT)?;
        let mut open = Vec::new();
        for _ in 0..CONNECTIONS.min(usize::try_from(clients)?) {
            open.push(endpoint.connect().await?);
        }
        Ok(open)
    }
}

/// A channel, shared evenly, and keys of its own for each client.
fn shared(channels: &[Channel], round: Round) -> impl Iterator<Item = (Channel, OwnKeys)> {
    let Round { clients, number, .. } = round;
    let keys = (0..clients).map(move |client| OwnKeys::of(format!("{clients}-{number}-{client}")));
    channels.iter().cloned().cycle().zip(keys)
}

/// One of our clients.
#[derive(Debug)]
struct Ours {
    operation: Operation,
    keys: OwnKeys,
    value: Bytes,
    client: KvCasClient<Authorized>,
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
        let put = |number| Write { key: key(number).into(), op: Some(WriteOp::Put(self.value.clone())) };
        let writes = numbers.map(put).collect();
        let request = CommitRequest { namespace: NAMESPACE.to_owned(), writes, ..Default::default() };
        let done = self.client.clone().commit(request).await?.into_inner();
        ensure!(done.success, "FlareDB refused an unconditional write");
        Ok(())
    }

    async fn get(&self, number: u64) -> Result<()> {
        let request = GetRequest { key: key(number).into(), namespace: NAMESPACE.to_owned() };
        let answer = self.client.clone().get(request).await?.into_inner();
        ensure!(answer.found, "FlareDB did not find a record that is there");
        Ok(())
    }

    async fn swap(&mut self, number: u64) -> Result<()> {
        let (key, expected_version) = self.keys.pick(number);
        let request = CasRequest {
            key: key.clone().into(),
            value: self.value.clone(),
            expected_version,
            namespace: NAMESPACE.to_owned(),
            ..Default::default()
        };
        let done = self.client.compare_and_swap(request).await?.into_inner();
        ensure!(done.success, "FlareDB refused a swap that nobody contended");
        self.keys.learned(key, done.new_version);
        Ok(())
    }
}
