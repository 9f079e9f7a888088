//! Clusters of processes that serve etcd's v3 API, for whoever speaks it: scenarios, benchmarks, other projects' tools.

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

use crate::{ports, process::Process, wait::Patience};

const LEADER_AT_MOST: Duration = Duration::from_secs(30);
const STATUS_TIMEOUT: Duration = Duration::from_secs(1);
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Files that its nodes identify themselves with.
#[derive(Clone, Debug)]
pub(crate) struct Certificates {
    /// The CA's certificate.
    pub(crate) ca: PathBuf,
    /// Certificate and key of each node; the last one serves those that are left.
    pub(crate) nodes: Vec<(PathBuf, PathBuf)>,
}

/// A cluster of etcd's own processes; they end with this value.
#[derive(Debug)]
pub(crate) struct Etcd {
    nodes: Vec<Node>,
    credentials: ClientTls,
}

#[derive(Debug)]
struct Node {
    url: String,
    arguments: Vec<String>,
    log: PathBuf,
    running: Option<Process>,
}

/// What the nodes of a cluster have in common.
struct Plan<'a> {
    folder: &'a Path,
    certificates: Option<&'a Certificates>,
    scheme: &'static str,
    cluster: String,
}

impl Etcd {
    /// Starts so many nodes below `folder`, in plaintext unless there are certificates, and waits for a leader.
    ///
    /// # Errors
    /// When etcd is not installed, or nobody leads in time.
    pub(crate) async fn start(
        folder: &Path,
        nodes: usize,
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        let cluster = Self::launch(folder, nodes, certificates)?;
        cluster.leader().await?;
        Ok(cluster)
    }

    /// The same without waiting.
    ///
    /// # Errors
    /// When etcd is not installed.
    pub(crate) fn launch(folder: &Path, nodes: usize, certificates: Option<&Certificates>) -> Result<Self> {
        let ports = ports::free(2 * nodes)?;
        let ports: Vec<(u16, u16)> = ports.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Self::launch_on(folder, &ports, certificates)
    }

    /// The same on these ports: for clients and for peers, of each node.
    ///
    /// # Errors
    /// When etcd is not installed.
    pub(crate) fn launch_on(
        folder: &Path,
        ports: &[(u16, u16)],
        certificates: Option<&Certificates>,
    ) -> Result<Self> {
        let scheme = if certificates.is_some() { "https" } else { "http" };
        let members = (1..).zip(ports).map(|(number, (_, peer))| format!("n{number}={}", url(scheme, *peer)));
        let plan = Plan { folder, certificates, scheme, cluster: members.collect::<Vec<_>>().join(",") };
        let files = CredentialFiles { ca: certificates.map(|files| files.ca.clone()), ..Default::default() };
        let nodes = ports.iter().enumerate().map(|(number, ports)| plan.node(number, *ports)).collect();
        let mut cluster = Self { nodes, credentials: ClientTls::read(&files)? };
        for node in 0..ports.len() {
            cluster.start_node(node)?;
        }
        Ok(cluster)
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// When etcd is not installed.
    pub(crate) fn start_node(&mut self, node: usize) -> Result<()> {
        let node = self.nodes.get_mut(node).context("there is no such node")?;
        node.running = Some(Process::start("etcd", &node.arguments, &node.log)?);
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

fn url(scheme: &str, port: u16) -> String {
    format!("{scheme}://127.0.0.1:{port}")
}

impl Plan<'_> {
    fn node(&self, number: usize, ports: (u16, u16)) -> Node {
        let (name, client) = (format!("n{}", number + 1), url(self.scheme, ports.0));
        let peer = url(self.scheme, ports.1);
        let data = self.folder.join(format!("etcd-{name}")).display().to_string();
        #[rustfmt::skip]
        let words = [
            "--name", &name, "--data-dir", &data, "--quota-backend-bytes", "4294967296",
            // As large as the batches of the metadata store may be.
            "--max-txn-ops", "4096", "--max-request-bytes", "16777216",
            "--listen-client-urls", &client, "--advertise-client-urls", &client,
            "--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer,
            "--initial-cluster", &self.cluster, "--initial-cluster-state", "new",
            "--logger", "zap", "--log-level", "error",
        ];
        let mut arguments: Vec<String> = words.into_iter().map(str::to_owned).collect();
        arguments.extend(self.certificates.map(|files| files.arguments(number)).unwrap_or_default());
        let log = self.folder.join(format!("etcd-{name}.log"));
        Node { url: client, arguments, log, running: None }
    }
}

impl Certificates {
    fn arguments(&self, node: usize) -> Vec<String> {
        let words = |path: &Path| path.display().to_string();
        let ca = words(&self.ca);
        let files = self.nodes.get(node).or_else(|| self.nodes.last());
        let (cert, key) = files.map(|(cert, key)| (words(cert), words(key))).unwrap_or_default();
        #[rustfmt::skip]
        let arguments = [
            "--cert-file", &cert, "--key-file", &key,
            "--peer-cert-file", &cert, "--peer-key-file", &key, "--peer-trusted-ca-file", &ca,
            "--peer-client-cert-auth",
        ];
        arguments.into_iter().map(str::to_owned).collect()
    }
}
