//! A cluster in one process, whose nodes can be stopped, lose power and come back.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flaredb_raft::{
    CheckpointConfig, FatalHook, Group, LogConfig, Metrics, Node, NodeConfig, OpenError, ProposeError, Role,
    Timing,
};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tonic::transport::server::TcpIncoming;

use crate::journal::Journal;

pub(crate) const REGION: u64 = 1;
const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until a condition holds.
pub(crate) async fn wait_for<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A node that runs.
pub(crate) struct Running {
    pub(crate) node: Node,
    pub(crate) group: Group,
    pub(crate) metrics: Metrics,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

/// What of a node outlives its process.
pub(crate) struct Machine {
    pub(crate) journal: Journal,
    pub(crate) address: SocketAddr,
    dir: PathBuf,
}

/// Some nodes, by id.
pub(crate) struct Cluster {
    id: &'static str,
    dir: TempDir,
    pub(crate) machines: BTreeMap<u64, Machine>,
    pub(crate) running: BTreeMap<u64, Running>,
    entries_kept: u64,
}

impl Cluster {
    /// Nodes without members yet.
    pub(crate) async fn empty(nodes: std::ops::RangeInclusive<u64>) -> Self {
        Self::named("test", nodes, 10_000).await
    }

    pub(crate) async fn named(
        id: &'static str,
        nodes: std::ops::RangeInclusive<u64>,
        entries_kept: u64,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut cluster = Self { id, dir, machines: BTreeMap::new(), running: BTreeMap::new(), entries_kept };
        for node in nodes {
            cluster.add(node).await;
        }
        cluster
    }

    /// Nodes that are one region's members.
    pub(crate) async fn of(nodes: std::ops::RangeInclusive<u64>) -> Self {
        let cluster = Self::empty(nodes).await;
        cluster.initialize().await;
        cluster
    }

    pub(crate) async fn initialize(&self) {
        let first = self.running.values().next().unwrap();
        first.group.initialize(self.members()).await.unwrap();
        // A leader that answers reads has committed its first entry.
        self.group(self.leader().await).read_index().await.unwrap();
    }

    pub(crate) fn members(&self) -> Vec<(u64, String)> {
        self.machines.iter().map(|(id, machine)| (*id, machine.address.to_string())).collect()
    }

    pub(crate) async fn add(&mut self, id: u64) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let dir = self.dir.path().join(id.to_string());
        self.machines.insert(id, Machine { journal: Journal::default(), address, dir });
        self.run(id, listener).await.unwrap();
    }

    fn config(&self, id: u64) -> NodeConfig {
        NodeConfig {
            timing: Timing {
                heartbeat: Duration::from_millis(100),
                election_min: Duration::from_millis(300),
                election_max: Duration::from_millis(500),
                append_stall_timeout: Duration::from_secs(1),
                ..Timing::default()
            },
            log: LogConfig {
                segment_bytes: 1 << 20,
                retained_bytes: 8 << 20,
                prefill_bytes: 0,
                cache_bytes_max: 64 << 10,
            },
            checkpoint: CheckpointConfig { entries_kept: self.entries_kept, ..CheckpointConfig::default() },
            fatal: FatalHook::new(|error| panic!("fatal: {error}")),
            ..NodeConfig::new(self.id, id, self.machines[&id].dir.clone())
        }
    }

    async fn run(&mut self, id: u64, listener: TcpListener) -> Result<(), OpenError> {
        let config = self.config(id);
        let metrics = config.metrics.clone();
        let node = Node::open(config).await?;
        let group = node.region(REGION, Arc::new(self.machines[&id].journal.clone())).await?;
        // Without it an answer may wait 40 ms for the acknowledgement of the one before.
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tonic::transport::Server::builder().add_service(node.service());
        let serving = server.serve_with_incoming_shutdown(incoming, async {
            drop(stopped.await);
        });
        #[expect(clippy::disallowed_methods, reason = "joined when the node is stopped")]
        let server = tokio::spawn(async { serving.await.unwrap() });
        self.running.insert(id, Running { node, group, metrics, stop: Some(stop), server });
        Ok(())
    }

    /// Ends a node as a kill does: nobody is told, connections break, nothing is flushed.
    pub(crate) async fn kill(&mut self, id: u64) {
        let mut running = self.running.remove(&id).unwrap();
        running.server.abort();
        drop(running.stop.take());
        running.node.shutdown().await;
        self.machines[&id].journal.lose_unflushed();
    }

    /// Stops a node for good and returns what it was opened with.
    pub(crate) async fn stop_and_config(&mut self, id: u64) -> NodeConfig {
        self.kill(id).await;
        self.config(id)
    }

    pub(crate) async fn restart(&mut self, id: u64) {
        let address = self.machines[&id].address;
        let listener = wait_for("the address is free", async || TcpListener::bind(address).await.ok()).await;
        self.run(id, listener).await.unwrap();
    }

    /// Starts a stopped node at another address and returns it.
    pub(crate) async fn move_machine(&mut self, id: u64) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        self.machines.get_mut(&id).unwrap().address = address;
        self.run(id, listener).await.unwrap();
        address.to_string()
    }

    pub(crate) fn group(&self, id: u64) -> &Group {
        &self.running[&id].group
    }

    /// The leader that all running nodes agree on.
    pub(crate) async fn leader(&self) -> u64 {
        wait_for("there is a leader", async || {
            let leads = |id: &u64| self.group(*id).status().role == Role::Leader;
            let leader = self.running.keys().copied().find(leads)?;
            let agreed = self.running.keys().filter(|id| self.group(**id).status().leader == Some(leader));
            (agreed.count() == self.running.len()).then_some(leader)
        })
        .await
    }

    /// Proposes until somebody takes it; only what surely did not happen is proposed again.
    pub(crate) async fn propose(&self, command: impl Into<Bytes>) -> Result<Bytes, ProposeError> {
        let command = command.into();
        let started = Instant::now();
        loop {
            let leader = self.leader().await;
            match self.group(leader).propose(command.clone()).await {
                Err(ProposeError::NotLeader { .. } | ProposeError::Unavailable) => {
                    assert!(started.elapsed() < PATIENCE, "nobody takes a proposal");
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                answer => return answer,
            }
        }
    }

    pub(crate) fn commands(&self, id: u64) -> Vec<Bytes> {
        self.machines[&id].journal.commands()
    }

    /// Waits until all running nodes have applied the same, and returns it.
    pub(crate) async fn converged(&self) -> Vec<Bytes> {
        let leader = self.leader().await;
        let index = self.group(leader).read_index().await.unwrap();
        wait_for("all nodes have applied everything", async || {
            let applied = |id: &u64| self.group(*id).status().applied_index >= index;
            self.running.keys().all(applied).then_some(())
        })
        .await;
        let commands = self.commands(leader);
        for id in self.running.keys() {
            assert_eq!(self.commands(*id), commands, "node {id} differs from node {leader}");
        }
        commands
    }

    pub(crate) async fn shutdown(mut self) {
        for (_, mut running) in std::mem::take(&mut self.running) {
            running.server.abort();
            drop(running.stop.take());
            running.node.shutdown().await;
        }
    }
}
