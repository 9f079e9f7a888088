//! One run: from the seed to the verdict.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use flaredb_engine::RevisionEvents;
use flaredb_proto::v1::{CreateNamespaceRequest, NamespaceMode, flare_request::Command};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    client::Client,
    dice::Dice,
    disk::MADE_TO_FAIL,
    entropy,
    frontend::{Answer, Ask, EVENTUAL, STRONG},
    history::History,
    host::endpoint,
    nemesis::Nemesis,
    oracle::{Held, Oracle},
    trace::Trace,
    world::World,
};

/// How long things go wrong.
const FAULTS_MS: u64 = 9_000;
/// In how long a write must succeed and all replicas agree once nothing is wrong any more.
const RECOVERY_MS: u64 = 15_000;
const CLIENTS: u64 = 4;
const WATCHERS: u64 = 2;

/// What came of a run.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) findings: Vec<String>,
    pub(crate) trace: u64,
    pub(crate) events: u64,
    /// Operations, revisions, faults, simulated milliseconds, leaders, snapshots installed, memberships.
    pub(crate) counts: [u64; 7],
    pub(crate) lines: Vec<String>,
}

/// Plays one seed in an empty folder.
pub(crate) fn play(seed: u64, dir: &Path, verbose: bool) -> Result<Verdict> {
    entropy::seed(seed);
    flaredb_raft::simulation::block_inline();
    // Relative paths are the same in every run.
    std::env::set_current_dir(dir)?;
    let mut dice = Dice::new(seed);
    let trace = Trace::new(verbose);
    let voters = if dice.permille(120) { 5 } else { 3 };
    let hosts = voters + u64::from(dice.permille(700));
    let mut world = World::new(hosts, Path::new("hosts"), &mut dice, trace.clone())?;
    let judge = world.judge.clone();
    // Runtimes catch panics of tasks.
    std::panic::set_hook(Box::new(move |panic| {
        let panic = panic.to_string();
        if !panic.contains(MADE_TO_FAIL) {
            judge.find(format_args!("{panic}"));
        }
    }));
    let mut run = Run { history: History::default(), nemesis: Nemesis::new(dice.fork()), dice, revisions: 0 };
    if let Err(error) = run.play(&mut world, voters) {
        world.judge.find(format_args!("{error:#}"));
    }
    drop(std::panic::take_hook());
    let [leaders, installed, memberships] = world.judge.noted();
    Ok(Verdict {
        findings: world.judge.findings(),
        trace: trace.hash(),
        events: trace.events(),
        counts: [
            run.history.ops().len() as u64,
            run.revisions as u64,
            run.nemesis.faults,
            world.now_ms,
            leaders,
            installed,
            memberships,
        ],
        lines: trace.lines(),
    })
}

/// A folder in memory where there is one.
pub(crate) fn scratch() -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() }
}

struct Run {
    history: History,
    nemesis: Nemesis,
    dice: Dice,
    revisions: usize,
}

impl Run {
    fn play(&mut self, world: &mut World, voters: u64) -> Result<()> {
        begin(world, voters)?;
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        self.start_clients(world, &stop, &tasks);
        let end_ms = world.now_ms + FAULTS_MS;
        while world.now_ms < end_ms && world.judge.is_content() {
            self.nemesis.act(world)?;
            world.step();
        }
        stop.cancel();
        tasks.close();
        self.nemesis.end_all(world)?;
        world.run_until(RECOVERY_MS, |_| tasks.is_empty());
        if !world.judge.is_content() {
            return Ok(());
        }
        // What is acknowledged is on disks, not in memory.
        for host in &mut world.hosts {
            host.crash(true)?;
            host.start()?;
        }
        recover(world)?;
        let held = hold(world)?;
        self.revisions = held.revisions.len();
        let ops = self.history.ops();
        Oracle::new(&world.judge, &ops, &held).check(&self.history.all_watched());
        Ok(())
    }

    fn start_clients(&mut self, world: &World, stop: &CancellationToken, tasks: &TaskTracker) {
        for id in 1..=CLIENTS + WATCHERS {
            let client = Client {
                id,
                net: world.net.clone(),
                dice: self.dice.fork(),
                history: self.history.clone(),
                nodes: world.hosts.len() as u64,
                leader: 1,
                versions: BTreeMap::new(),
                revision: 0,
            };
            let stop = stop.clone();
            match id <= CLIENTS {
                true => drop(tasks.spawn_on(client.run(stop), world.clients.handle())),
                false => drop(tasks.spawn_on(client.watch(stop), world.clients.handle())),
            }
        }
    }
}

/// Starts all nodes, makes some of them a region, and makes its namespaces.
fn begin(world: &mut World, voters: u64) -> Result<()> {
    for host in &mut world.hosts {
        host.start()?;
    }
    let hosts = world.hosts.len();
    if !world.run_until(2000, |world| world.serving().count() == hosts) {
        bail!("not all nodes start");
    }
    let first = world.hosts[0].frontend().context("the first node does not serve")?;
    let members: Vec<(u64, String)> = (1..=voters).map(|id| (id, endpoint(id))).collect();
    let initialized = world.hosts[0].block_on(async move { first.group.initialize(members).await });
    initialized.context("the first node does not run")??;
    for (name, mode, id) in
        [("strong", NamespaceMode::Strong, STRONG), ("eventual", NamespaceMode::Eventual, EVENTUAL)]
    {
        let create = CreateNamespaceRequest {
            name: name.to_owned(),
            mode: mode.into(),
            ..CreateNamespaceRequest::default()
        };
        let made = write(world, &Command::CreateNamespace(create))?;
        if made != u64::from(id.0) {
            bail!("namespace {name} got number {made}");
        }
    }
    Ok(())
}

/// Writes something while nothing is wrong.
fn write(world: &mut World, command: &Command) -> Result<u64> {
    let end_ms = world.now_ms + RECOVERY_MS;
    while world.now_ms < end_ms && world.judge.is_content() {
        let Some((leader, _)) = world.leader() else {
            world.run_for(20);
            continue;
        };
        match world.ask(leader, Ask::Write(command.clone()), 2500) {
            Some(Answer::Done(done)) => return Ok(done),
            _ => world.run_for(20),
        }
    }
    bail!("nothing is wrong, and no write succeeds within {RECOVERY_MS} ms")
}

/// Liveness: a write succeeds, and all members get to one position.
fn recover(world: &mut World) -> Result<()> {
    let put = flaredb_proto::v1::KvPut {
        namespace_id: EVENTUAL.0,
        key: Bytes::from_static(b"after"),
        value: Bytes::from_static(b"all"),
        ts: 1,
        origin: 1,
    };
    write(world, &Command::KvPut(put))?;
    let agreed = world.run_until(RECOVERY_MS, |world| {
        let Some((_, leader)) = world.leader() else { return false };
        let (status, index) = (leader.group.status(), leader.state.applied().index);
        let at = |id: u64| {
            let member = world.hosts.iter().find(|host| host.id == id);
            member.and_then(|host| Some(host.frontend()?.state.applied().index))
        };
        status.last_log_index == index && status.members.iter().all(|member| at(member.id) == Some(index))
    });
    if !agreed && world.judge.is_content() {
        bail!("nothing is wrong, and the members do not agree within {RECOVERY_MS} ms");
    }
    world.compare_states();
    Ok(())
}

/// Reads everything from the leader.
fn hold(world: &mut World) -> Result<Held> {
    let (leader, _) = world.leader().context("nobody leads")?;
    let mut revisions: Vec<RevisionEvents> = Vec::new();
    loop {
        let from = revisions.last().map_or(1, |last| last.revision + 1);
        match world.ask(leader, Ask::Events(from), 2500) {
            Some(Answer::Events(batch)) if batch.revisions.is_empty() => break,
            Some(Answer::Events(batch)) => revisions.extend(batch.revisions),
            other => bail!("the leader does not show its revisions: {other:?}"),
        }
    }
    let mut raw = BTreeMap::new();
    for key in (0..8).map(|number| Bytes::from(format!("k{number}"))) {
        match world.ask(leader, Ask::RawGet(key.clone()), 2500) {
            Some(Answer::Raw(record)) => drop(raw.insert(key, record)),
            other => bail!("the leader does not show an eventual record: {other:?}"),
        }
    }
    Ok(Held { revisions, raw })
}
