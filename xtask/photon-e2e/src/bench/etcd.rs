//! etcd as the peer: its processes, and the few messages of its v3 API that the load needs.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use prost::Message;
use tonic::transport::Channel;
use tonic_prost::ProstCodec;

use super::load::Client;
use crate::{process::Process, wait::wait_for};

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
    /// The processes, for their CPU time.
    pub(super) processes: Vec<Process>,
    /// The leader's client URL.
    pub(super) leader: String,
}

impl Etcd {
    /// Starts `nodes` nodes with their data below `folder` and waits for their leader.
    ///
    /// # Errors
    /// When etcd is not installed or has no leader after 30 s.
    pub(super) async fn start(nodes: u64, folder: &Path) -> Result<Self> {
        let ports: Vec<(u16, u16)> = crate::ports::free_pairs(nodes)?;
        let name = |number: usize| format!("n{}", number + 1);
        let members: Vec<_> = (0..ports.len())
            .zip(&ports)
            .map(|(number, (_, peer))| format!("{}=http://127.0.0.1:{peer}", name(number)))
            .collect();
        let mut processes = Vec::new();
        for (number, (client, peer)) in ports.iter().enumerate() {
            let (client, peer) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peer}"));
            let data = folder.join(name(number)).display().to_string();
            let cluster = members.join(",");
            let own = name(number);
            #[rustfmt::skip]
            let arguments = [
                "--name", own.as_str(), "--data-dir", data.as_str(),
                "--listen-client-urls", client.as_str(), "--advertise-client-urls", client.as_str(),
                "--listen-peer-urls", peer.as_str(), "--initial-advertise-peer-urls", peer.as_str(),
                "--initial-cluster", cluster.as_str(), "--initial-cluster-state", "new",
                "--quota-backend-bytes", "4294967296", "--logger", "zap", "--log-level", "error",
            ];
            processes.push(Process::start("etcd", &arguments, &folder.join(format!("{own}.log")))?);
        }
        let urls: Vec<String> = ports.iter().map(|(client, _)| format!("http://127.0.0.1:{client}")).collect();
        let leader = wait_for("etcd's leader", Duration::from_secs(30), || leader_of(&urls)).await?;
        Ok(Self { processes, leader })
    }
}

async fn leader_of(urls: &[String]) -> Option<String> {
    for url in urls {
        let channel = Channel::from_shared(url.clone()).ok()?.connect().await.ok()?;
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

/// Puts a value, whatever was there.
#[derive(Debug)]
pub(super) struct Put(pub(super) Channel, pub(super) Vec<u8>);

impl Client for Put {
    async fn operate(&mut self, key: u64) -> Result<()> {
        let request = PutRequest { key: super::flaredb::key(key), value: self.1.clone() };
        let _: PutResponse = call(&self.0, "/etcdserverpb.KV/Put", request).await?;
        Ok(())
    }
}

/// Reads a key, linearizably.
#[derive(Debug)]
pub(super) struct Get(pub(super) Channel);

impl Client for Get {
    async fn operate(&mut self, key: u64) -> Result<()> {
        let request = RangeRequest { key: super::flaredb::key(key) };
        let found: RangeResponse = call(&self.0, "/etcdserverpb.KV/Range", request).await?;
        ensure!(found.kvs.len() <= 1, "etcd found {} records under one key", found.kvs.len());
        Ok(())
    }
}

/// Compares and swaps keys of its own, so that every swap must succeed.
#[derive(Debug)]
pub(super) struct Cas {
    pub(super) channel: Channel,
    pub(super) value: Vec<u8>,
    pub(super) keys: super::flaredb::OwnKeys,
}

impl Client for Cas {
    async fn operate(&mut self, key: u64) -> Result<()> {
        let (key, known) = self.keys.pick(key);
        let version = i64::try_from(known).context("an etcd revision outside its range")?;
        let put = PutRequest { key: key.clone(), value: self.value.clone() };
        let request = TxnRequest {
            compare: vec![Compare { result: 0, target: 2, key: key.clone(), mod_revision: Some(version) }],
            success: vec![RequestOp { put: Some(put) }],
        };
        let done: TxnResponse = call(&self.channel, "/etcdserverpb.KV/Txn", request).await?;
        if !done.succeeded {
            bail!("etcd refused a swap that nobody contended");
        }
        let revision = done.header.map_or(0, |header| header.revision);
        self.keys.learned(key, u64::try_from(revision).context("a negative etcd revision")?);
        Ok(())
    }
}
