//! One machine: its disk, which outlives everything, and the run of its node, with a clock and tasks of its own.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use flaredb_engine::{Engine, Options, RegionId};
use flaredb_raft::{
    CheckpointConfig, Connector, FatalHook, LogConfig, Node, NodeConfig, Timing, TransportServer,
};
use tokio::{runtime::Runtime, sync::mpsc, time::Instant};
use tokio_util::task::TaskTracker;

use crate::{
    dice::Dice,
    disk::{Disk, MADE_TO_FAIL, Mount},
    durable::Durable,
    frontend::Frontend,
    judge::Judge,
    net::{Inbound, Net},
    replica::Replica,
    wire::{self, Wire},
};

const REGION: u64 = 1;
/// What the log says when its engine has panicked, as it does when a sync fails.
const PANICKED: &str = "panicked";

/// Where a node is reached.
pub(crate) fn endpoint(id: u64) -> String {
    format!("node-{id}")
}

fn node_of(endpoint: &str) -> u64 {
    endpoint.strip_prefix("node-").and_then(|id| id.parse().ok()).unwrap_or_default()
}

/// What all hosts share.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) net: Net,
    pub(crate) judge: Judge,
    pub(crate) durable: Durable,
    /// Entries that stay in the log behind a purge.
    pub(crate) entries_kept: u64,
    pub(crate) checkpoint_ms: u64,
}

/// How far a run is.
#[derive(Debug)]
pub(crate) enum Stage {
    Starting,
    Serving(Frontend),
    Failed(String),
    Stopped,
}

/// A node that runs.
struct Run {
    runtime: Runtime,
    stage: Arc<Mutex<Stage>>,
    mount: Arc<Mount>,
    began: Instant,
    clock_us: u64,
    /// A sync has failed: the process has ended, though its memory is still here.
    ended: Arc<AtomicBool>,
}

/// A machine.
pub(crate) struct Host {
    pub(crate) id: u64,
    site: Site,
    disk: Arc<Disk>,
    dir: PathBuf,
    states: u64,
    run: Option<Run>,
    /// Milliseconds that the node has slept through.
    missed_ms: u64,
    pub(crate) paused: bool,
    /// How fast its clock goes, in thousandths.
    rate: u64,
}

impl Host {
    pub(crate) fn new(id: u64, site: Site, dir: &Path, mut dice: Dice) -> Result<Self> {
        let dir = dir.join(id.to_string());
        fs::create_dir_all(&dir)?;
        let rate = dice.within(900, 1100);
        let disk = Disk::new(dice);
        site.durable.add(id, Arc::clone(&disk));
        Ok(Self { rate, id, site, disk, dir, states: 0, run: None, missed_ms: 0, paused: false })
    }

    fn state_dir(&self) -> PathBuf {
        self.dir.join(format!("state-{}", self.states))
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.disk
    }

    pub(crate) fn is_running(&self) -> bool {
        self.run.is_some()
    }

    /// Runs the node.
    pub(crate) fn start(&mut self) -> Result<()> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?;
        self.disk.set_fails(false);
        let mount = self.disk.mount();
        let stage = Arc::new(Mutex::new(Stage::Starting));
        let ended = Arc::new(AtomicBool::new(false));
        let setup = Setup {
            id: self.id,
            site: self.site.clone(),
            mount: Arc::clone(&mount),
            state_dir: self.state_dir(),
            raft_dir: self.dir.join("raft"),
            inbox: self.site.net.up(self.id),
            stage: Arc::clone(&stage),
            ended: Arc::clone(&ended),
        };
        runtime.spawn(setup.run());
        let began = runtime.block_on(async { Instant::now() });
        (self.paused, self.missed_ms) = (false, 0);
        self.run = Some(Run { runtime, stage, mount, began, clock_us: 0, ended });
        Ok(())
    }

    /// Lets the node's time go on.
    pub(crate) fn step(&mut self, ms: u64) {
        let Some(run) = &mut self.run else { return };
        if self.paused {
            self.missed_ms += ms;
            return;
        }
        let missed_ms = std::mem::take(&mut self.missed_ms);
        run.clock_us += (missed_ms + ms) * self.rate;
        let until = run.began + Duration::from_micros(run.clock_us);
        run.runtime.block_on(async {
            if missed_ms > 0 {
                tokio::time::advance(Duration::from_micros(missed_ms * self.rate)).await;
            }
            tokio::time::sleep_until(until).await;
        });
    }

    /// Ends the node at once. With `power`, what was not synced is lost.
    pub(crate) fn crash(&mut self, power: bool) -> Result<()> {
        let Some(run) = self.run.take() else { return Ok(()) };
        run.mount.unmount();
        self.site.net.down(self.id, power);
        match power {
            true => self.disk.cut_power(),
            false => self.disk.end_process(),
        }
        let left = self.state_dir();
        self.states += 1;
        copy_state(&left, &self.state_dir()).context("the state of a crashed node cannot be copied")?;
        drop(run);
        // What is left of the node's memory still holds it, as no process does after its end.
        remove_if_there(&self.dir.join("raft/log/LOCK"))?;
        Ok(())
    }

    /// Whether the process has ended by itself, because a sync failed.
    pub(crate) fn has_ended(&self) -> bool {
        self.run.as_ref().is_some_and(|run| run.ended.load(Ordering::Relaxed))
    }

    /// Takes note of a node that has stopped in order; false while it has not.
    pub(crate) fn has_stopped(&mut self) -> bool {
        let stopped = self.stage(|stage| matches!(stage, Stage::Stopped)).unwrap_or(true);
        if let Some(run) = self.run.take_if(|_| stopped) {
            self.site.net.down(self.id, false);
            run.mount.unmount();
            self.disk.end_process();
        }
        stopped
    }

    pub(crate) fn stage<T>(&self, look: impl FnOnce(&Stage) -> T) -> Option<T> {
        let run = self.run.as_ref()?;
        Some(look(&run.stage.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The node's replica, if it serves.
    pub(crate) fn frontend(&self) -> Option<Frontend> {
        self.stage(|stage| match stage {
            Stage::Serving(frontend) => Some(frontend.clone()),
            _ => None,
        })
        .flatten()
    }

    /// Runs something on the node's own time.
    pub(crate) fn block_on<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        Some(self.run.as_ref()?.runtime.block_on(what))
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// What RocksDB has written, as a crash leaves it: its memory tables are not in it.
fn copy_state(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    if !from.exists() {
        return Ok(());
    }
    // The manifest first: every table that it names is there by then, and stays.
    for name in names(from)?.iter().filter(|name| name.starts_with("MANIFEST")) {
        fs::copy(from.join(name), to.join(name))?;
    }
    let left = |name: &&String| *name != "LOCK" && !name.starts_with("LOG") && !name.starts_with("MANIFEST");
    for name in names(from)?.iter().filter(left) {
        match name.ends_with(".sst") {
            true => fs::hard_link(from.join(name), to.join(name))?,
            false => drop(fs::copy(from.join(name), to.join(name))?),
        }
    }
    Ok(())
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(dir)?.map(|file| Ok(file?.file_name().to_string_lossy().into_owned())).collect()
}

/// What a node is started with.
struct Setup {
    id: u64,
    site: Site,
    mount: Arc<Mount>,
    state_dir: PathBuf,
    raft_dir: PathBuf,
    inbox: mpsc::Receiver<Inbound>,
    stage: Arc<Mutex<Stage>>,
    ended: Arc<AtomicBool>,
}

impl Setup {
    /// What a process does that must not go on: nothing leaves it any more.
    fn fatal(&self) -> FatalHook {
        let (site, id) = (self.site.clone(), self.id);
        let (ended, mount) = (Arc::clone(&self.ended), Arc::clone(&self.mount));
        FatalHook::new(move |error| {
            let source = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
            let made = source.contains(MADE_TO_FAIL) || source.contains(PANICKED);
            if !made && !ended.load(Ordering::Relaxed) {
                site.judge.find(format_args!("node {id} ended: {error:?}"));
            }
            ended.store(true, Ordering::Relaxed);
            mount.unmount();
            site.net.down(id, false);
        })
    }

    fn set(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = stage;
    }

    async fn run(mut self) {
        let tasks = TaskTracker::new();
        match self.open(&tasks).await {
            Ok((node, frontend)) => {
                self.set(Stage::Serving(frontend.clone()));
                self.serve(&node, &frontend, &tasks).await;
                self.set(Stage::Starting);
                drop(frontend);
                node.shutdown().await;
                drop(node);
                self.set(Stage::Stopped);
            }
            Err(error) => self.set(Stage::Failed(format!("{error:#}"))),
        }
    }

    async fn open(&self, tasks: &TaskTracker) -> Result<(Node, Frontend)> {
        let engine = Engine::open(&self.state_dir, Options { memory_bytes: 4 << 20, ..Options::default() })?;
        engine.keep_files()?;
        let state = engine.region(RegionId(REGION))?;
        let node = Node::open(self.config(tasks)).await?;
        let Site { judge, durable, .. } = &self.site;
        let (judge, durable) = (judge.clone(), durable.clone());
        let replica =
            Replica { node: self.id, state: state.clone(), judge: judge.clone(), durable: durable.clone() };
        let group = node.region(REGION, Arc::new(replica)).await?;
        Ok((node, Frontend { group, state, judge, durable }))
    }

    fn config(&self, tasks: &TaskTracker) -> NodeConfig {
        let (net, from, tasks) = (self.site.net.clone(), self.id, tasks.clone());
        NodeConfig {
            connector: Connector::links(move |endpoint| {
                Arc::new(Wire { net: net.clone(), from, to: node_of(endpoint), tasks: tasks.clone() })
            }),
            timing: Timing {
                propose_timeout: Duration::from_secs(2),
                read_timeout: Duration::from_secs(2),
                append_stall_timeout: Duration::from_secs(1),
                snapshot_chunk_timeout: Duration::from_secs(1),
                snapshot_install_timeout: Duration::from_secs(2),
                ..Timing::default()
            },
            log: LogConfig {
                segment_bytes: 16 << 10,
                retained_bytes: 64 << 10,
                prefill_bytes: 0,
                cache_bytes_max: 4 << 10,
            },
            checkpoint: CheckpointConfig {
                log_bytes: 64 << 10,
                interval: Duration::from_millis(self.site.checkpoint_ms),
                entries_kept: self.site.entries_kept,
            },
            fatal: self.fatal(),
            simulated: Some(Arc::clone(&self.mount) as _),
            ..NodeConfig::new("simulated", self.id, &self.raft_dir)
        }
    }

    /// Serves what arrives until it is told to stop.
    async fn serve(&mut self, node: &Node, frontend: &Frontend, tasks: &TaskTracker) {
        let service: TransportServer = node.service();
        let (net, id) = (self.site.net.clone(), self.id);
        while let Some(inbound) = self.inbox.recv().await {
            let (net, service) = (net.clone(), service.clone());
            match inbound {
                Inbound::Call { from, head, body, reply } => {
                    drop(tasks.spawn(wire::serve(net, (id, from), service, (head, body), reply)));
                }
                Inbound::Stream { head, id: stream, frames } => {
                    drop(tasks.spawn(wire::serve_stream(net, stream, service, head, frames)));
                }
                Inbound::Ask { ask, reply } => {
                    let frontend = frontend.clone();
                    drop(tasks.spawn(async move {
                        let answer = frontend.answer(ask).await;
                        net.answer(id, reply, answer);
                    }));
                }
                Inbound::Stop => return,
            }
        }
    }
}
