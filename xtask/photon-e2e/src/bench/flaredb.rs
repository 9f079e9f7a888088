//! FlareDB beside etcd: the same clients, keys, values and number of nodes, both syncing before they answer.
//!
//! Both serve plain HTTP/2 here, so that the figures compare databases and not TLS libraries; ours also checks a
//! bearer token on every call, which etcd does not. Clients speak to the leader on both sides.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use flaredb_proto::v1::{
    CasRequest, CommitRequest, GetRequest, Write, kv_cas_client::KvCasClient, write::Op as WriteOp,
};
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use super::{
    Options, Row, Side, etcd,
    load::{self, Client},
};
use crate::{bare::Bare, process};

const VALUE_BYTES: usize = 256;
const KEY_BYTES: usize = 64;
const CONNECTIONS: usize = 16;
const NAMESPACE: &str = "bench";
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// One operation of the benchmark.
#[derive(Clone, Copy, Debug)]
enum Operation {
    Put,
    Get,
    Cas,
}

/// What is measured, with how many clients.
const MATRIX: [(Operation, &str, u32); 6] = [
    (Operation::Put, "put", 1),
    (Operation::Put, "put", 64),
    (Operation::Put, "put", 256),
    (Operation::Get, "get linearizable", 256),
    (Operation::Cas, "compare and swap", 64),
    (Operation::Cas, "compare and swap", 256),
];

/// The load's key with this number, padded to 64 bytes.
pub(super) fn key(number: u64) -> Vec<u8> {
    let mut key = format!("/load/{number:016x}").into_bytes();
    key.resize(KEY_BYTES, b'k');
    key
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
        let mut key = format!("/cas/{}/{number:x}", self.owner).into_bytes();
        key.resize(KEY_BYTES, b'k');
        let version = self.versions.get(&key).copied().unwrap_or(0);
        (key, version)
    }

    /// Remembers the version that a swap made.
    pub(super) fn learned(&mut self, key: Vec<u8>, version: u64) {
        self.versions.insert(key, version);
    }
}

/// Measures the whole matrix, the two sides in turn.
///
/// # Errors
/// When a cluster does not start or any operation fails.
pub(super) async fn measure(options: &Options) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let theirs = etcd::Etcd::start(options.nodes, folder.path()).await?;
    let ours = Bare::start(options.nodes, folder.path(), NAMESPACE).await?;
    let mut rows = Vec::new();
    for (operation, name, clients) in MATRIX {
        let (mut our_rounds, mut their_rounds) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            tracing::info!(op = name, clients, round, "measuring");
            their_rounds.push(theirs_once(&theirs, operation, clients, round, options.seconds).await?);
            our_rounds.push(ours_once(&ours, operation, clients, round, options.seconds).await?);
        }
        rows.push(Row::of(name, "etcd", clients, &our_rounds, &their_rounds));
    }
    Ok(rows)
}

async fn channels(url: &str, clients: u32) -> Result<Vec<Channel>> {
    let connections = CONNECTIONS.min(usize::try_from(clients)?);
    let endpoint = Endpoint::from_shared(url.to_owned())?.tcp_nodelay(true).timeout(CALL_TIMEOUT);
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(endpoint.connect().await?);
    }
    Ok(open)
}

/// A channel for each client, shared evenly.
fn shared(channels: &[Channel], clients: u32) -> impl Iterator<Item = (u32, Channel)> {
    (0..clients).zip(channels.iter().cloned().cycle())
}

async fn theirs_once(
    peer: &etcd::Etcd,
    operation: Operation,
    clients: u32,
    round: u32,
    seconds: u64,
) -> Result<Side> {
    let channels = channels(&peer.leader, clients).await?;
    let each = shared(&channels, clients);
    let value = vec![b'v'; VALUE_BYTES];
    let cpu = || process::cpu_s(&peer.processes);
    match operation {
        Operation::Put => {
            load::run(each.map(|(_, on)| etcd::Put(on, value.clone())).collect(), seconds, cpu).await
        }
        Operation::Get => load::run(each.map(|(_, on)| etcd::Get(on)).collect(), seconds, cpu).await,
        Operation::Cas => {
            let swapper = |(number, channel)| etcd::Cas {
                channel,
                value: value.clone(),
                keys: OwnKeys::of(format!("{clients}-{round}-{number}")),
            };
            load::run(each.map(swapper).collect(), seconds, cpu).await
        }
    }
}

async fn ours_once(
    ours: &Bare,
    operation: Operation,
    clients: u32,
    round: u32,
    seconds: u64,
) -> Result<Side> {
    let channels = channels(&ours.leader_url().await?, clients).await?;
    let call = Caller { token: ours.authorization()?, value: Bytes::from(vec![b'v'; VALUE_BYTES]) };
    let client = |(number, channel)| Ours {
        operation,
        keys: OwnKeys::of(format!("{clients}-{round}-{number}")),
        call: call.clone(),
        client: KvCasClient::new(channel),
    };
    load::run(shared(&channels, clients).map(client).collect(), seconds, || process::cpu_s(&ours.processes))
        .await
}

#[derive(Clone, Debug)]
struct Caller {
    token: MetadataValue<Ascii>,
    value: Bytes,
}

impl Caller {
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.metadata_mut().insert("authorization", self.token.clone());
        request
    }
}

/// One of our clients.
#[derive(Debug)]
struct Ours {
    operation: Operation,
    keys: OwnKeys,
    call: Caller,
    client: KvCasClient<Channel>,
}

impl Client for Ours {
    async fn operate(&mut self, number: u64) -> Result<()> {
        match self.operation {
            Operation::Put => self.put(number).await,
            Operation::Get => self.get(number).await,
            Operation::Cas => self.swap(number).await,
        }
    }
}

impl Ours {
    async fn put(&mut self, number: u64) -> Result<()> {
        let write = Write { key: key(number).into(), op: Some(WriteOp::Put(self.call.value.clone())) };
        let request =
            CommitRequest { namespace: NAMESPACE.to_owned(), writes: vec![write], ..Default::default() };
        let done = self.client.commit(self.call.request(request)).await?.into_inner();
        ensure!(done.success, "FlareDB refused an unconditional put");
        Ok(())
    }

    async fn get(&mut self, number: u64) -> Result<()> {
        let request = GetRequest { key: key(number).into(), namespace: NAMESPACE.to_owned() };
        self.client.get(self.call.request(request)).await?;
        Ok(())
    }

    async fn swap(&mut self, number: u64) -> Result<()> {
        let (key, expected_version) = self.keys.pick(number);
        let request = CasRequest {
            key: key.clone().into(),
            value: self.call.value.clone(),
            expected_version,
            namespace: NAMESPACE.to_owned(),
            ..Default::default()
        };
        let done = self.client.compare_and_swap(self.call.request(request)).await?.into_inner();
        ensure!(done.success, "FlareDB refused a swap that nobody contended");
        self.keys.learned(key, done.new_version);
        Ok(())
    }
}
