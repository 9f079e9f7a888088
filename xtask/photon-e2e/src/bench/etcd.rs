//! etcd as the peer: its processes, and the few messages of its v3 API that the load needs.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use prost::Message;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::{
    flaredb::{Operation, OwnKeys, batch, is_write, key},
    load::Client,
};
use crate::{cloud::Cloud, ports, process::Process, wait::wait_for};

const LEADER_AT_MOST: Duration = Duration::from_secs(30);
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);

#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct PutResponse {}

#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "vec", tag = "1")]
    key: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct KeyValue {
    #[prost(int64, tag = "3")]
    mod_revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct RangeResponse {
    #[prost(message, repeated, tag = "2")]
    kvs: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
struct Header {
    #[prost(int64, tag = "3")]
    revision: i64,
}

#[derive(Clone, PartialEq, Message)]
struct Compare {
    /// 0: equal.
    #[prost(int32, tag = "1")]
    result: i32,
    /// 2: the revision of the last modification.
    #[prost(int32, tag = "2")]
    target: i32,
    #[prost(bytes = "vec", tag = "3")]
    key: Vec<u8>,
    /// A oneof member, so it is written also when it is 0.
    #[prost(int64, optional, tag = "6")]
    mod_revision: Option<i64>,
}

#[derive(Clone, PartialEq, Message)]
struct RequestOp {
    #[prost(message, optional, tag = "2")]
    put: Option<PutRequest>,
}

#[derive(Clone, PartialEq, Message)]
struct TxnRequest {
    #[prost(message, repeated, tag = "1")]
    compare: Vec<Compare>,
    #[prost(message, repeated, tag = "2")]
    success: Vec<RequestOp>,
}

#[derive(Clone, PartialEq, Message)]
struct TxnResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(bool, tag = "2")]
    succeeded: bool,
}

#[derive(Clone, PartialEq, Message)]
struct StatusRequest {}

#[derive(Clone, PartialEq, Message)]
struct StatusResponse {
    #[prost(uint64, tag = "4")]
    leader: u64,
    #[prost(message, optional, tag = "1")]
    header: Option<MemberHeader>,
}

#[derive(Clone, PartialEq, Message)]
struct MemberHeader {
    #[prost(uint64, tag = "2")]
    member_id: u64,
}

/// A running etcd cluster; ends with this value.
#[derive(Debug)]
pub(super) struct Etcd {
    /// The processes, for what they use.
    pub(super) processes: Vec<Process>,
    /// Each node's client URL.
    pub(super) urls: Vec<String>,
}

impl Etcd {
    /// Starts as many nodes as `cloud` has, with its certificates.
    ///
    /// # Errors
    /// When etcd is not installed.
    pub(super) fn start(cloud: &Cloud, nodes: usize, folder: &Path) -> Result<Self> {
        let ports = ports::free(2 * nodes)?;
        let ports: Vec<(u16, u16)> = ports.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let members =
            (1..).zip(&ports).map(|(number, (_, peer))| format!("n{number}=https://127.0.0.1:{peer}"));
        let cluster = members.collect::<Vec<_>>().join(",");
        let mut processes = Vec::new();
        for (node, ports) in ports.iter().enumerate() {
            let arguments = arguments(cloud, node, *ports, folder, &cluster);
            let log = folder.join(format!("etcd-n{}.log", node + 1));
            processes.push(Process::start("etcd", &arguments, &log)?);
        }
        let urls = ports.iter().map(|(client, _)| format!("https://127.0.0.1:{client}")).collect();
        Ok(Self { processes, urls })
    }

    /// Waits for a leader, and returns its client URL.
    ///
    /// # Errors
    /// When there is none after 30 s.
    pub(super) async fn leader(&self, cloud: &Cloud) -> Result<String> {
        wait_for("etcd's leader", LEADER_AT_MOST, async || leader_of(cloud, &self.urls).await).await
    }
}

fn arguments(cloud: &Cloud, node: usize, ports: (u16, u16), folder: &Path, cluster: &str) -> Vec<String> {
    let (name, client) = (format!("n{}", node + 1), format!("https://127.0.0.1:{}", ports.0));
    let peer = format!("https://127.0.0.1:{}", ports.1);
    let ((certificate, key), authority) = (cloud.certificate(node), cloud.ca().display().to_string());
    let (certificate, key) = (certificate.display().to_string(), key.display().to_string());
    let data = folder.join(format!("etcd-{name}")).display().to_string();
    #[rustfmt::skip]
    let words = [
        "--name", &name, "--data-dir", &data, "--quota-backend-bytes", "4294967296",
        "--listen-client-urls", &client, "--advertise-client-urls", &client,
        "--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer,
        "--initial-cluster", cluster, "--initial-cluster-state", "new",
        "--cert-file", &certificate, "--key-file", &key,
        "--peer-cert-file", &certificate, "--peer-key-file", &key, "--peer-trusted-ca-file", &authority,
        "--peer-client-cert-auth", "--logger", "zap", "--log-level", "error",
    ];
    words.into_iter().map(str::to_owned).collect()
}

async fn leader_of(cloud: &Cloud, urls: &[String]) -> Option<String> {
    for url in urls {
        let channel = cloud.endpoint(url, STATUS_TIMEOUT).ok()?.connect().await.ok()?;
        let status: StatusResponse =
            call(&channel, "/etcdserverpb.Maintenance/Status", StatusRequest {}).await.ok()?;
        if status.leader != 0 && status.header.is_some_and(|header| header.member_id == status.leader) {
            return Some(url.clone());
        }
    }
    None
}

async fn call<Q, R>(channel: &Channel, path: &'static str, request: Q) -> Result<R>
where
    Q: Message + 'static,
    R: Message + Default + 'static,
{
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await?;
    let path = http::uri::PathAndQuery::from_static(path);
    let codec = ProstCodec::<Q, R>::default();
    Ok(grpc.unary(tonic::Request::new(request), path, codec).await?.into_inner())
}

/// One client of etcd.
#[derive(Debug)]
pub(super) struct Theirs {
    /// What it does.
    pub(super) operation: Operation,
    /// Where.
    pub(super) channel: Channel,
    /// What it writes.
    pub(super) value: Vec<u8>,
    /// What it swaps.
    pub(super) keys: OwnKeys,
}

impl Client for Theirs {
    async fn operate(&mut self, number: u64) -> Result<()> {
        match self.operation {
            Operation::Put => self.put(number).await,
            Operation::Get => self.get(number).await,
            Operation::Mix if is_write(number) => self.put(number).await,
            Operation::Mix => self.get(number).await,
            Operation::Swap => self.swap(number).await,
            Operation::Batch => self.batch(number).await,
        }
    }
}

impl Theirs {
    /// Writes a key.
    pub(super) async fn put(&self, number: u64) -> Result<()> {
        let request = PutRequest { key: key(number), value: self.value.clone() };
        let _done: PutResponse = call(&self.channel, "/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }

    async fn get(&self, number: u64) -> Result<()> {
        let request = RangeRequest { key: key(number) };
        let found: RangeResponse = call(&self.channel, "/etcdserverpb.KV/Range", request).await?;
        ensure!(found.kvs.len() == 1, "etcd found {} records under a key that is there", found.kvs.len());
        Ok(())
    }

    /// Writes several keys atomically.
    pub(super) async fn batch(&self, number: u64) -> Result<()> {
        let put = |number| PutRequest { key: key(number), value: self.value.clone() };
        let success = batch(number).map(|number| RequestOp { put: Some(put(number)) }).collect();
        let request = TxnRequest { compare: Vec::new(), success };
        let done: TxnResponse = call(&self.channel, "/etcdserverpb.KV/Txn", request).await?;
        ensure!(done.succeeded, "etcd refused an unconditional batch");
        Ok(())
    }

    async fn swap(&mut self, number: u64) -> Result<()> {
        let (key, known) = self.keys.pick(number);
        let version = i64::try_from(known).context("an etcd revision outside its range")?;
        let put = PutRequest { key: key.clone(), value: self.value.clone() };
        let request = TxnRequest {
            compare: vec![Compare { result: 0, target: 2, key: key.clone(), mod_revision: Some(version) }],
            success: vec![RequestOp { put: Some(put) }],
        };
        let done: TxnResponse = call(&self.channel, "/etcdserverpb.KV/Txn", request).await?;
        ensure!(done.succeeded, "etcd refused a swap that nobody contended");
        let revision = done.header.map_or(0, |header| header.revision);
        self.keys.learned(key, u64::try_from(revision).context("a negative etcd revision")?);
        Ok(())
    }
}
