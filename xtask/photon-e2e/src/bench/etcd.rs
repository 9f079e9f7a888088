//! Clients of etcd's v3 API under load, the same for whoever serves it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use chainfire_proto::etcdserverpb::{
    Compare, PutRequest, RangeRequest, RequestOp, TxnRequest,
    compare::{CompareResult, CompareTarget, TargetUnion},
    kv_client::KvClient,
    request_op::Request,
};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use photon_runtime::client::ClientTls;
use tonic::transport::Channel;

use super::{
    Reach,
    load::{Client, KEYS},
    workload::{BATCH, CONNECTIONS, Operation, OwnKeys, Round, VALUE_BYTES, batch, is_write, key, shared},
};
use crate::etcd::Etcd;

const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// Batches at a time with which the keys of the load are written.
pub(super) const FILLERS: usize = 8;

/// Where clients of one cluster come from.
#[derive(Debug)]
pub(super) struct Speakers {
    /// Each node's URL.
    pub(super) urls: Vec<String>,
    /// The leader's.
    pub(super) leader: String,
    /// What they show.
    pub(super) credentials: ClientTls,
    /// Where many of them connect to.
    pub(super) reach: Reach,
}

/// The first keys of the batches that write all keys of the load.
pub(super) fn batches() -> impl Iterator<Item = u64> {
    (0..KEYS).step_by(usize::try_from(BATCH).unwrap_or(1))
}

impl Speakers {
    /// Of a cluster of etcd.
    ///
    /// # Errors
    /// When nobody leads in time.
    pub(super) async fn of(etcd: &Etcd, reach: Reach) -> Result<Self> {
        let credentials = etcd.credentials().clone();
        Ok(Self { urls: etcd.urls(), leader: etcd.leader().await?, credentials, reach })
    }

    /// The clients of a round.
    ///
    /// # Errors
    /// When a node cannot be reached.
    pub(super) async fn clients(&self, round: Round) -> Result<Vec<Speaker>> {
        let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
        let client = |(channel, keys)| Speaker {
            operation: round.operation,
            kv: KvClient::new(channel),
            value: value.clone(),
            keys,
        };
        Ok(shared(&self.channels(round.clients).await?, round).map(client).collect())
    }

    /// Connections for so many clients; a single one has the leader.
    ///
    /// # Errors
    /// When a node cannot be reached.
    pub(super) async fn channels(&self, clients: u32) -> Result<Vec<Channel>> {
        let many = clients > 1 && self.reach == Reach::All;
        let urls = if many { self.urls.clone() } else { vec![self.leader.clone()] };
        let mut open = Vec::new();
        for (_, url) in (0..CONNECTIONS.min(clients)).zip(urls.iter().cycle()) {
            open.push(self.credentials.endpoint(url)?.timeout(CALL_TIMEOUT).connect().await?);
        }
        Ok(open)
    }

    /// Writes every key of the load.
    ///
    /// # Errors
    /// When a write fails.
    pub(super) async fn fill(&self) -> Result<()> {
        let round = Round { operation: Operation::Batch, clients: 1, number: 0 };
        let speaker = self.clients(round).await?.pop().context("one client was asked for")?;
        let writes = stream::iter(batches()).map(|first| speaker.batch(first));
        writes.buffer_unordered(FILLERS).try_collect().await
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Speaker {
    operation: Operation,
    kv: KvClient<Channel>,
    value: Bytes,
    keys: OwnKeys,
}

impl Client for Speaker {
    async fn operate(&mut self, number: u64) -> Result<()> {
        match self.operation {
            Operation::Put => self.put(number).await,
            Operation::Get => self.get(number).await,
            Operation::Mix if is_write(number) => self.put(number).await,
            Operation::Mix => self.get(number).await,
            Operation::Swap => self.swap(number, Vec::new()).await,
            Operation::ReadAndSwap => self.read_and_swap(number).await,
            Operation::Batch => self.batch(number).await,
        }
    }
}

impl Speaker {
    /// One that writes.
    pub(super) fn writer(channel: Channel) -> Self {
        let value = Bytes::from(vec![b'v'; VALUE_BYTES]);
        let (operation, keys) = (Operation::Put, OwnKeys::of(String::new()));
        Self { operation, kv: KvClient::new(channel), value, keys }
    }

    fn write(&self, key: Vec<u8>) -> PutRequest {
        PutRequest { key: key.into(), value: self.value.clone(), ..PutRequest::default() }
    }

    /// Writes a key.
    ///
    /// # Errors
    /// When it was not written.
    pub(super) async fn put(&self, number: u64) -> Result<()> {
        self.kv.clone().put(self.write(key(number))).await?;
        Ok(())
    }

    async fn get(&self, number: u64) -> Result<()> {
        let found = self.kv.clone().range(read(key(number))).await?.into_inner().kvs.len();
        ensure!(found == 1, "{found} records were found under a key that is there");
        Ok(())
    }

    /// Writes several keys atomically.
    async fn batch(&self, number: u64) -> Result<()> {
        let put = |number| operation(Request::RequestPut(self.write(key(number))));
        let request = TxnRequest { success: batch(number).map(put).collect(), ..TxnRequest::default() };
        let done = self.kv.clone().txn(request).await?.into_inner();
        ensure!(done.succeeded, "an unconditional batch was refused");
        Ok(())
    }

    async fn read_and_swap(&mut self, number: u64) -> Result<()> {
        let (key, _) = self.keys.pick(number);
        self.swap(number, vec![operation(Request::RequestRange(read(key)))]).await
    }

    /// Writes an own key if it is as this client left it, after these operations of the same transaction.
    async fn swap(&mut self, number: u64, mut success: Vec<RequestOp>) -> Result<()> {
        let (key, known) = self.keys.pick(number);
        let known = i64::try_from(known).context("a revision outside its range")?;
        success.push(operation(Request::RequestPut(self.write(key.clone()))));
        let compare = Compare {
            result: CompareResult::Equal.into(),
            target: CompareTarget::Mod.into(),
            key: key.clone().into(),
            target_union: Some(TargetUnion::ModRevision(known)),
            ..Compare::default()
        };
        let request = TxnRequest { compare: vec![compare], success, failure: Vec::new() };
        let done = self.kv.txn(request).await?.into_inner();
        ensure!(done.succeeded, "a swap that nobody contended was refused");
        let revision = done.header.map_or(0, |header| header.revision);
        self.keys.learned(key, u64::try_from(revision).context("a negative revision")?);
        Ok(())
    }
}

fn read(key: Vec<u8>) -> RangeRequest {
    RangeRequest { key: key.into(), ..RangeRequest::default() }
}

fn operation(request: Request) -> RequestOp {
    RequestOp { request: Some(request) }
}
