//! What a process has once: the log and its writer, the connections to the peers, and the regions it hosts.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError, RwLock, atomic::AtomicU64},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use openraft::{Config, SnapshotPolicy, async_runtime::watch::WatchReceiver as _};
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::NodeConfig,
    error::OpenError,
    fatal::{FatalError, FatalHook},
    group::{Group, Replica, forward::Forwards, propose, read, status_of},
    log::{
        self, Engine,
        region::RegionLog,
        store::LogStore,
        writer::{self, WriterHandle},
    },
    machine::{Machine, spool},
    proto::v1::raft_transport_server::RaftTransportServer,
    simulation,
    space::Space,
    state_machine::StateMachine,
    transport::{
        MESSAGE_BYTES_MAX, catch_ups::CatchUps, channels::Channels, client::Network, incoming::Incoming,
        service::Service,
    },
    types::Raft,
};

/// How often log files that nobody needs are looked for.
const COLLECT_INTERVAL: Duration = Duration::from_secs(10);

/// The gRPC service that a node's peers call; add it to the node's server.
pub type TransportServer = RaftTransportServer<Service>;

/// The replicas on this node, by region.
#[derive(Debug, Default)]
pub(crate) struct Regions(RwLock<BTreeMap<u64, Arc<Replica>>>);

impl Regions {
    pub(crate) fn get(&self, region_id: u64) -> Option<Arc<Replica>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&region_id).cloned()
    }

    pub(crate) fn remove(&self, region_id: u64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&region_id);
    }

    fn insert(&self, replica: Arc<Replica>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(replica.region_id, replica);
    }

    fn all(&self) -> Vec<Arc<Replica>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }
}

/// A process's part in a cluster. Clones are the same node.
#[derive(Clone, Debug)]
pub struct Node(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: NodeConfig,
    raft_config: Arc<Config>,
    writer: WriterHandle,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// `None` once shut down, so that the log's files are released.
    engine: Mutex<Option<Arc<Engine>>>,
    regions: Arc<Regions>,
    channels: Arc<Channels>,
    /// Held while a region is opened, so that none is opened twice.
    opening: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

fn raft_config(config: &NodeConfig) -> Result<Arc<Config>, OpenError> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let raft = Config {
        cluster_name: config.cluster_id.clone(),
        heartbeat_interval: millis(config.timing.heartbeat),
        election_timeout_min: millis(config.timing.election_min),
        election_timeout_max: millis(config.timing.election_max),
        install_snapshot_timeout: millis(config.timing.snapshot_install_timeout),
        // Checkpoints are ours: by bytes and time, not by entries.
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.checkpoint.entries_kept,
        purge_batch_size: config.checkpoint.entries_kept.clamp(1, 256),
        max_payload_entries: 1024,
        enable_pre_vote: Some(true),
        // A restored leader could serve reads from a state machine that a power cut has set back.
        enable_leader_restore: Some(false),
        // A leader that reaches its followers but does not hear them falls silent, so that they may elect.
        quorum_loss_probe_interval: Some(2 * millis(config.timing.election_max)),
        ..Config::default()
    };
    raft.validate().map(Arc::new).map_err(|error| OpenError::Config(error.to_string()))
}

fn log_dir(config: &NodeConfig) -> PathBuf {
    config.dir.join("log")
}

fn spool_dir(config: &NodeConfig) -> PathBuf {
    config.dir.join("incoming")
}

fn open_files(config: &NodeConfig) -> Result<Arc<Engine>, OpenError> {
    let open = || match &config.simulated {
        Some(disk) => log::open_simulated(Arc::clone(disk), &log_dir(config), &config.log),
        None => log::open(&log_dir(config), &config.log),
    };
    let engine = spool::clean(&spool_dir(config)).and_then(|()| open());
    engine.map_err(|source| OpenError::Log { dir: config.dir.display().to_string(), source })
}

fn start_writer(
    engine: &Arc<Engine>,
    config: &NodeConfig,
    tasks: &TaskTracker,
) -> io::Result<(WriterHandle, Option<JoinHandle<()>>)> {
    let (engine, fatal, metrics) = (Arc::clone(engine), config.fatal.clone(), config.metrics.clone());
    let Some(disk) = &config.simulated else {
        return writer::spawn(engine, fatal, metrics).map(|(writer, thread)| (writer, Some(thread)));
    };
    let (writer, task) = writer::simulated(engine, fatal, metrics, Arc::clone(disk));
    tasks.spawn(task);
    Ok((writer, None))
}

impl Node {
    /// Opens the log and starts its writer. Regions are opened one by one after that.
    ///
    /// # Errors
    /// [`OpenError`] if the log cannot be opened or the configuration makes no sense.
    pub async fn open(config: NodeConfig) -> Result<Self, OpenError> {
        let raft_config = raft_config(&config)?;
        let opened = config.clone();
        let engine = simulation::blocking(move || open_files(&opened)).await;
        let failed = |source| OpenError::Log { dir: config.dir.display().to_string(), source };
        let engine = engine.map_err(|panic| failed(io::Error::other(panic)))??;
        let tasks = TaskTracker::new();
        let (writer, thread) = start_writer(&engine, &config, &tasks).map_err(failed)?;
        let node = Self(Arc::new(Inner {
            raft_config,
            writer,
            thread: Mutex::new(thread),
            engine: Mutex::new(Some(Arc::clone(&engine))),
            regions: Arc::default(),
            channels: Arc::new(Channels::new(config.connector.clone())),
            opening: tokio::sync::Mutex::new(()),
            tasks,
            stop: CancellationToken::new(),
            config,
        }));
        let (regions, stop) = (Arc::clone(&node.0.regions), node.0.stop.clone());
        let fatal = node.0.config.fatal.clone();
        node.0.tasks.spawn(collect_files(engine, regions, stop, fatal));
        Ok(node)
    }

    /// This node's id.
    pub fn id(&self) -> u64 {
        self.0.config.id
    }

    /// Whether there is room on the disk; the host tells it what it sees.
    pub fn space(&self) -> &Space {
        self.0.writer.space()
    }

    /// The service that peers call. It answers for regions as they are opened.
    ///
    /// The server must set `TCP_NODELAY` on what it accepts, or answers wait 40 ms now and then, and must not put
    /// its own deadline on `Append`, which is a stream without end, nor on `InstallSnapshot`, whose last answer
    /// waits until the snapshot is installed.
    pub fn service(&self) -> TransportServer {
        let service = Service {
            cluster_id: self.0.config.cluster_id.clone(),
            node_id: self.0.config.id,
            regions: Arc::clone(&self.0.regions),
        };
        RaftTransportServer::new(service)
            .max_decoding_message_size(MESSAGE_BYTES_MAX)
            .max_encoding_message_size(MESSAGE_BYTES_MAX)
    }

    /// Starts this node's replica of a region over its state machine. Returns after everything that was known to
    /// be committed when the node last stopped has been applied again.
    ///
    /// # Errors
    /// [`OpenError`] if the log or the state machine cannot be read, or the region is open already.
    pub async fn region<S: StateMachine>(&self, id: u64, state_machine: Arc<S>) -> Result<Group, OpenError> {
        let _opening = self.0.opening.lock().await;
        if self.0.regions.get(id).is_some() {
            return Err(OpenError::AlreadyOpen { region_id: id });
        }
        let failed = |reason: String| OpenError::Region { region_id: id, reason };
        let parts = self.open_region(id, state_machine).await.map_err(|error| failed(error.to_string()))?;
        let group = self.start(id, parts).await.map_err(failed)?;
        self.0.regions.insert(Arc::clone(&group.0));
        group.0.raft.run();
        Ok(group)
    }

    async fn open_region(&self, id: u64, state_machine: Arc<dyn StateMachine>) -> io::Result<Parts> {
        let engine = self.0.engine.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let engine = engine.ok_or_else(|| io::Error::other("the node has been shut down"))?;
        let config = self.0.config.clone();
        let open = move || {
            let log = RegionLog::open(engine, id, config.log.cache_bytes_max)?;
            let bytes = config.checkpoint.log_bytes;
            let machine = Machine::open(id, state_machine, bytes, config.fatal, config.metrics)?;
            check_continuity(&log, &machine)?;
            Ok(Parts { log: Arc::new(log), machine })
        };
        simulation::blocking(open).await.map_err(io::Error::other)?
    }

    async fn start(&self, id: u64, parts: Parts) -> Result<Group, String> {
        let Inner { config, raft_config, writer, channels, regions, stop, .. } = &*self.0;
        let network = Network {
            cluster_id: config.cluster_id.clone(),
            region_id: id,
            node_id: config.id,
            channels: Arc::clone(channels),
            addresses: Arc::default(),
            catch_ups: CatchUps::default(),
            timing: config.timing.clone(),
            metrics: config.metrics.clone(),
        };
        let log = LogStore::new(Arc::clone(&parts.log), writer.clone());
        let machine = Arc::clone(&parts.machine.0);
        let raft =
            Raft::build(config.id, Arc::clone(raft_config), network.clone(), log.clone(), parts.machine);
        let raft = raft.await.map_err(|fatal| fatal.to_string())?;
        let (reads, waiting_reads) = read::queue();
        let (proposals, waiting_proposals) = propose::queue();
        let (changes, leadership) = watch::channel(status_of(&raft.metrics().borrow_watched()));
        let replica = Arc::new(Replica {
            region_id: id,
            node_id: config.id,
            raft,
            machine,
            network,
            incoming: Incoming::new(spool_dir(config), id),
            log,
            region_log: parts.log,
            entries_kept: config.checkpoint.entries_kept,
            reads,
            proposals,
            forwards: Forwards::default(),
            leadership,
            metrics: config.metrics.clone(),
            fatal: config.fatal.clone(),
            tasks: TaskTracker::new(),
            stop: stop.child_token(),
            regions: Arc::clone(regions),
            started: Instant::now(),
            leader_heard_ms: AtomicU64::new(0),
        });
        replica.spawn_tasks(waiting_reads, waiting_proposals, changes, config.checkpoint.interval);
        Ok(Group(replica))
    }

    /// Stops all regions, finishes the log's last write and releases its files.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        // A core that waits for a full disk cannot end.
        self.0.writer.space().end();
        for replica in self.0.regions.all() {
            replica.shutdown().await;
        }
        self.0.writer.stop().await;
        self.0.tasks.close();
        self.0.tasks.wait().await;
        let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(self.0.engine.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(thread) = thread else { return };
        let joined = tokio::task::spawn_blocking(|| thread.join()).await;
        if !matches!(joined, Ok(Ok(()))) {
            tracing::error!("the log writer panicked");
        }
    }
}

/// A state machine that lacks entries which the log no longer has can never catch up by itself: it was lost, or
/// restored from an old copy, and would serve an old state as the present one.
fn check_continuity(log: &RegionLog, machine: &Machine) -> io::Result<()> {
    let (purged, applied) = (log.purged_position(), *machine.0.watch_applied().borrow());
    match applied < purged {
        true => Err(io::Error::other(format!(
            "the state machine has applied {applied} entries, but the log before entry {purged} is gone; remove \
             this node from the region and add it again with an empty folder"
        ))),
        false => Ok(()),
    }
}

/// What a region is made of.
struct Parts {
    log: Arc<RegionLog>,
    machine: Machine,
}

/// Removes log files that nobody needs and asks the regions that hold the oldest ones to make way.
async fn collect_files(
    engine: Arc<Engine>,
    regions: Arc<Regions>,
    stop: CancellationToken,
    fatal: FatalHook,
) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(COLLECT_INTERVAL) => {}
            () = stop.cancelled() => return,
        }
        let engine = Arc::clone(&engine);
        let collected = simulation::blocking(move || engine.collect()).await;
        match collected {
            Ok(Ok(holding)) => {
                for replica in holding.into_iter().filter_map(|id| regions.get(id)) {
                    replica.machine.checkpoint_due.notify_one();
                }
            }
            Ok(Err(error)) => tracing::error!(%error, "old log files could not be removed"),
            // raft-engine panics when a sync fails, here as well.
            Err(panicked) if panicked.is_panic() => fatal.trip(&FatalError::Log(io::Error::other(panicked))),
            Err(_ending) => return,
        }
    }
}
