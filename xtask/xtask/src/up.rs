//! `cargo xtask up`: the whole cloud on this machine, from nothing to a table of endpoints.
//!
//! The processes are children of this one and end with it. What stays is the data folder, and the next `up` goes on
//! with it.

mod readiness;
mod screen;

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
    sync::mpsc::{Receiver, RecvTimeoutError, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use nix::sys::signal::{SigSet, Signal};
use xtask::{
    layout::{Database, Dns, Layout, Member},
    process::Process,
};

use crate::{binaries, progress, setup, workspace};

/// How often the processes are looked at once all are ready.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long all processes together may take to be ready.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// How to start the cloud.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Nodes of FlareDB and of ChainFire. Chosen when the data folder is made; later starts keep the number.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=7))]
    nodes: Option<u16>,
    /// Build with optimizations.
    #[arg(long)]
    release: bool,
    /// Where the cloud keeps its data.
    #[arg(long, value_name = "FOLDER", default_value = ".photon")]
    data: PathBuf,
}

/// Sets up, builds, starts, shows, and waits for Ctrl-C.
///
/// # Errors
/// When anything of that fails; the message says what and holds the last words of the process that did not start.
pub(crate) fn run(options: &Options) -> Result<()> {
    let signals = listen_for_signals()?;
    setup::run(setup::Scope::Build)?;
    let programs = binaries::build(options.release)?;
    let started = Instant::now();
    let folder = workspace::root().join(&options.data);
    fs::create_dir_all(&folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    let _lock = lock(&folder)?;
    let layout = plan(&folder, options.nodes)?;
    let photon = link(&folder, &programs)?;
    prepare(&layout, &photon)?;
    let mut cloud = start(&layout, &programs)?;
    let outcome = wait_until_ready(&layout, &mut cloud, &signals).and_then(|ready| {
        if !ready {
            return Ok(());
        }
        screen::show(&layout, &photon, started.elapsed());
        watch(&mut cloud, &signals)
    });
    let ended = end(&mut cloud);
    // Why it stopped matters more than how.
    outcome?;
    ended
}

/// One cloud at a time in one folder.
fn lock(folder: &Path) -> Result<File> {
    let lock = File::create(folder.join("lock"))?;
    ensure!(
        lock.try_lock().is_ok(),
        "another `cargo xtask up` runs in {}; end it with Ctrl-C, or choose another folder with --data",
        folder.display()
    );
    Ok(lock)
}

/// The cloud that this folder holds or shall hold.
fn plan(folder: &Path, wanted: Option<u16>) -> Result<Layout> {
    let file = folder.join("nodes");
    let kept = match fs::read_to_string(&file) {
        Ok(text) => {
            Some(text.trim().parse::<u16>().with_context(|| format!("{} is damaged", file.display()))?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", file.display())),
    };
    if let (Some(kept), Some(wanted)) = (kept, wanted) {
        ensure!(
            kept == wanted,
            "{} holds a cloud of {kept} nodes, --nodes asks for {wanted}; leave it out to go on with the cloud that is \
             there, or choose another folder with --data",
            folder.display()
        );
    }
    let nodes = kept.or(wanted).unwrap_or(1);
    fs::write(&file, format!("{nodes}\n"))?;
    Ok(layout(folder, nodes))
}

fn layout(folder: &Path, nodes: u16) -> Layout {
    let databases = (1..=nodes)
        .map(|number| Database { id: u64::from(number), port: 7000 + number, admin_port: 7100 + number })
        .collect();
    let members = (1..=nodes)
        .map(|number| Member {
            id: u64::from(number),
            port: 7400 + number,
            admin_port: 7500 + number,
            // The first one is where etcd's clients look by themselves.
            client_port: 2279 + 100 * number,
        })
        .collect();
    let dns = Dns { port: 7201, admin_port: 7301, dns_port: 5300, workers: 0 };
    let (key_ports, services) = (Vec::new(), Vec::new());
    Layout { folder: folder.to_owned(), members, databases, key_ports, dns: Some(dns), services }
}

/// Puts `photon` where people find it, and says where.
fn link(folder: &Path, programs: &Path) -> Result<PathBuf> {
    let photon = folder.join("bin/photon");
    fs::create_dir_all(folder.join("bin"))?;
    match fs::remove_file(&photon) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
        _ => std::os::unix::fs::symlink(programs.join("photon"), &photon)?,
    }
    Ok(photon)
}

/// Makes certificates, the operator's token, the configuration files and the context of `photon`.
fn prepare(layout: &Layout, photon: &Path) -> Result<()> {
    for arguments in layout.credential_commands() {
        quietly(Command::new(photon).args(arguments))?;
    }
    layout.write_configs().with_context(|| format!("{} cannot be written", layout.folder.display()))?;
    quietly(Command::new(photon).args(layout.context_command("local")))
}

fn quietly(command: &mut Command) -> Result<()> {
    let output = command.output().context("photon cannot be started")?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// A process under its name.
struct Running {
    name: String,
    admin_port: u16,
    process: Process,
}

fn start(layout: &Layout, programs: &Path) -> Result<Vec<Running>> {
    let start = |process: xtask::layout::Process| {
        let program = programs.join(process.binary).display().to_string();
        let running = Process::start(&program, &process.arguments, &process.log)?;
        Ok(Running { name: process.name, admin_port: process.admin_port, process: running })
    };
    layout.processes().into_iter().map(start).collect()
}

/// Whether all are ready; false when the person stopped it before.
fn wait_until_ready(layout: &Layout, cloud: &mut [Running], signals: &Receiver<Signal>) -> Result<bool> {
    let bar = progress::bar("starting", cloud.len());
    let started = Instant::now();
    let mut waiting: Vec<usize> = (0..cloud.len()).collect();
    while !waiting.is_empty() {
        fail_on_an_ended_process(cloud)?;
        waiting.retain(|&index| !readiness::is_ready(cloud[index].admin_port));
        bar.set_position(u64::try_from(cloud.len() - waiting.len())?);
        let Some(&slowest) = waiting.first() else { break };
        if started.elapsed() > READY_WITHIN {
            let running = &cloud[slowest];
            let reason = readiness::reason(running.admin_port);
            let logs = layout.folder.join("logs");
            bail!(
                "{} is not ready after {READY_WITHIN:?}: {reason}; its log is in {}",
                running.name,
                logs.display()
            );
        }
        if signals.recv_timeout(Duration::from_millis(20)).is_ok() {
            return Ok(false);
        }
    }
    bar.finish_and_clear();
    // A process of another cloud on the same port would have answered in its place.
    fail_on_an_ended_process(cloud)?;
    Ok(true)
}

fn fail_on_an_ended_process(cloud: &mut [Running]) -> Result<()> {
    for running in cloud {
        if let Some(status) = running.process.ended()? {
            bail!("{} ended ({status}). Its last words:\n{}", running.name, running.process.last_words());
        }
    }
    Ok(())
}

/// Returns when the person has had enough; a process that ends by itself is told, the others go on.
fn watch(cloud: &mut Vec<Running>, signals: &Receiver<Signal>) -> Result<()> {
    loop {
        match signals.recv_timeout(LOOK_EVERY) {
            Ok(_) => return Ok(()),
            Err(RecvTimeoutError::Disconnected) => bail!("the signal thread has ended"),
            Err(RecvTimeoutError::Timeout) => tell_of_ended_processes(cloud)?,
        }
        ensure!(!cloud.is_empty(), "every process has ended");
    }
}

fn tell_of_ended_processes(cloud: &mut Vec<Running>) -> Result<()> {
    let mut left = Vec::new();
    for mut running in cloud.drain(..) {
        match running.process.ended()? {
            None => left.push(running),
            Some(status) => progress::say(&format!("{} ended ({status}); the others go on", running.name)),
        }
    }
    *cloud = left;
    Ok(())
}

/// All are asked first, so that they drain at the same time.
fn end(cloud: &mut [Running]) -> Result<()> {
    for running in cloud.iter_mut() {
        if running.process.ended()?.is_none() {
            running.process.ask_to_end()?;
        }
    }
    for running in cloud {
        running.process.terminate().with_context(|| format!("{} did not end; it is killed", running.name))?;
    }
    Ok(())
}

/// Takes SIGINT and SIGTERM away from every thread, and hands them over one by one.
fn listen_for_signals() -> Result<Receiver<Signal>> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block()?;
    let (sender, receiver) = sync_channel(4);
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        while let Ok(signal) = set.wait() {
            if sender.send(signal).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
