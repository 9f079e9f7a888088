//! Clusters of processes that serve etcd's v3 API, for whoever speaks it: scenarios, benchmarks, other projects' tools.
//!
//! They are etcd's own, or ChainFire's; whoever is given one need not know which.

mod chainfire;
mod peer;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use chainfire_client::{Client, ClientConfig, Tls};
use chainfire_proto::etcdserverpb::{StatusRequest, maintenance_client::MaintenanceClient};
use metadata_store::{Backend, Credentials, MetadataConfig, MetadataStore, Namespace};
use photon_runtime::client::{ClientTls, CredentialFiles};

use self::chainfire::ClientPort;
use crate::{ports, process::Process, wait::Patience};

const LEADER_AT_MOST: Duration = Duration::from_secs(30);
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a token is good that is not used. Tests of others wait for its end.
const TOKEN_TTL_S: u32 = 2;

/// Files that its nodes identify themselves with.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    /// The CA's certificate.
    pub(crate) ca: PathBuf,
    /// Certificate and key of each node; the last one serves those that are left.
    pub(crate) nodes: Vec<(PathBuf, PathBuf)>,
}

/// A cluster's processes; they end with this value.
#[derive(Debug)]
pub(crate) struct Etcd {
    nodes: Vec<Node>,
    credentials: ClientTls,
}

#[derive(Debug)]
struct Node {
    url: String,
    program: String,
    arguments: Vec<String>,
    log: PathBuf,
    running: Option<Process>,
}

/// Where a node listens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ports {
    /// For clients.
    pub(crate) client: u16,
    /// For the other nodes.
    pub(crate) peer: u16,
    /// For `/readyz`, where the server has that.
    pub(crate) admin: u16,
}

/// Free ports for so many nodes.
///
/// # Errors
/// When there are too few.
pub(crate) fn free_ports(nodes: usize) -> Result<Vec<Ports>> {
    let ports = ports::free(3 * nodes)?;
    let ports = ports.chunks_exact(3);
    Ok(ports.map(|port| Ports { client: port[0], peer: port[1], admin: port[2] }).collect())
}

impl Etcd {
    /// Starts etcd's own nodes below `folder`, in plaintext unless there are certificates, and waits for a leader.
    ///
    /// # Errors
    /// When etcd is not installed, or nobody leads in time.
    pub(crate) async fn start(
        folder: &Path,
        nodes: usize,
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        let cluster = Self::launch(folder, &free_ports(nodes)?, certificates)?;
        cluster.leader().await?;
        Ok(cluster)
    }

    /// The same on these ports, without waiting.
    ///
    /// # Errors
    /// When etcd is not installed.
    pub(crate) fn launch(
        folder: &Path,
        ports: &[Ports],
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        Self::run(peer::nodes(folder, ports, certificates), trusting(certificates)?)
    }

    /// Starts ChainFire's nodes below `folder`, in plaintext for clients, and waits for a leader.
    ///
    /// # Errors
    /// When ChainFire is not built, or nobody leads in time.
    pub(crate) async fn start_chainfire(folder: &Path, ports: &[Ports]) -> Result<Self> {
        let certificates = chainfire::certificates(folder)?;
        let nodes = chainfire::nodes(folder, ports, &certificates, ClientPort::Plain)?;
        let cluster = Self::run(nodes, ClientTls::default())?;
        cluster.leader().await?;
        Ok(cluster)
    }

    /// Starts ChainFire's nodes and etcd's side by side below `folder`, with TLS to clients and mutual TLS among their
    /// nodes, by the same certificates; waits for a leader of each.
    ///
    /// # Errors
    /// When ChainFire is not built, etcd is not installed, or nobody leads in time.
    pub(crate) async fn start_both(folder: &Path, nodes: usize) -> Result<(Self, Self)> {
        let certificates = chainfire::certificates(folder)?;
        let planned = chainfire::nodes(folder, &free_ports(nodes)?, &certificates, ClientPort::Tls)?;
        let ours = Self::run(planned, trusting(Some(&certificates))?)?;
        ours.leader().await?;
        Ok((ours, Self::start(folder, nodes, Some(&certificates)).await?))
    }

    fn run(nodes: Vec<Node>, credentials: ClientTls) -> Result<Self> {
        let mut cluster = Self { nodes, credentials };
        for node in 0..cluster.nodes.len() {
            cluster.start_node(node)?;
        }
        Ok(cluster)
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// When its program is not there.
    pub(crate) fn start_node(&mut self, node: usize) -> Result<()> {
        let node = self.nodes.get_mut(node).context("there is no such node")?;
        node.running = Some(Process::start(&node.program, &node.arguments, &node.log)?);
        Ok(())
    }

    /// SIGKILL for all nodes; then they are started again, and one of them leads.
    ///
    /// # Errors
    /// When nobody leads in time.
    pub(crate) async fn crash(&mut self) -> Result<()> {
        for node in &mut self.nodes {
            node.running.take().context("a node does not run")?.kill_9()?;
        }
        for node in 0..self.nodes.len() {
            self.start_node(node)?;
        }
        self.leader().await.map(drop)
    }

    /// Each node's client URL.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.url.clone()).collect()
    }

    /// The processes, for what they use.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.nodes.iter().filter_map(|node| node.running.as_ref())
    }

    /// Waits until every node knows who leads, and returns the leader's client URL.
    ///
    /// # Errors
    /// When nobody leads in time; with a node's last words.
    pub(crate) async fn leader(&self) -> Result<String> {
        leader_of(&self.credentials, &self.urls()).await.with_context(|| {
            let words = self.processes().next().map(Process::last_words).unwrap_or_default();
            format!("the first node's last words are:\n{words}")
        })
    }

    /// What its clients show.
    pub(crate) fn credentials(&self) -> &ClientTls {
        &self.credentials
    }

    /// A client of all nodes.
    ///
    /// # Errors
    /// When none can be reached.
    pub(crate) async fn client(&self) -> Result<Client> {
        let tls = self.credentials.ca_pem().map(|ca| Tls { ca: ca.to_vec(), identity: None });
        let config = ClientConfig {
            endpoints: self.urls(),
            tls,
            request_timeout: CALL_TIMEOUT,
            ..ClientConfig::default()
        };
        Ok(Client::connect(config).await?)
    }

    /// A service's metadata store in this cluster.
    ///
    /// # Errors
    /// When no node can be reached.
    pub(crate) async fn store(&self, namespace: Namespace) -> Result<Arc<dyn MetadataStore>> {
        let config = MetadataConfig {
            backend: Backend::Chainfire,
            endpoints: self.urls(),
            ..MetadataConfig::default()
        };
        let ca_pem = self.credentials.ca_pem().map(<[u8]>::to_vec);
        let credentials = Credentials { ca_pem, ..Credentials::default() };
        Ok(metadata_store::open(&config, namespace, credentials).await?)
    }
}

/// What clients of nodes with these certificates trust.
fn trusting(certificates: Option<&Certificates>) -> Result<ClientTls> {
    let ca = certificates.map(|files| files.ca.clone());
    Ok(ClientTls::read(&CredentialFiles { ca, ..Default::default() })?)
}

/// Waits until every node of a cluster knows who leads, and returns the leader's client URL.
///
/// # Errors
/// When nobody leads in time.
pub(crate) async fn leader_of(credentials: &ClientTls, urls: &[String]) -> Result<String> {
    let patience = Patience::new("a leader", LEADER_AT_MOST);
    loop {
        if let Some(leader) = leader_now(credentials, urls).await {
            return Ok(leader);
        }
        patience.look_again().await?;
    }
}

async fn leader_now(credentials: &ClientTls, urls: &[String]) -> Option<String> {
    let mut leader = None;
    for url in urls {
        let channel = credentials.endpoint(url).ok()?.timeout(STATUS_TIMEOUT).connect().await.ok()?;
        let status = MaintenanceClient::new(channel).status(StatusRequest {}).await.ok()?.into_inner();
        if status.leader == 0 {
            return None;
        }
        if status.header.is_some_and(|header| header.member_id == status.leader) {
            leader = Some(url.clone());
        }
    }
    leader
}
