//! A cloud of real processes in a folder of its own, on free loopback ports, with mTLS as `cargo xtask up` sets it up.
//!
//! The binaries are those that lie beside this one. Whatever was started ends with the value.

mod callers;

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::ValueEnum;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use xtask::layout;

use crate::{
    etcd::Certificates,
    ports,
    process::Process,
    wait::{Patience, wait_for},
};

/// How long a process may take from its start until it is ready.
const READY_AT_MOST: Duration = Duration::from_secs(30);
/// How long an election may take, with the starts of all nodes before it.
const LEADER_AT_MOST: Duration = Duration::from_secs(20);
const PROBE_TIMEOUT: Duration = Duration::from_secs(1);
/// Name of the cloud in the context file that it has to itself.
const CONTEXT: &str = "e2e";

/// Where FlashDNS keeps its zones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Backend {
    /// In FlareDB.
    Flaredb,
    /// In its own process.
    Embedded,
    /// In ChainFire, or etcd.
    Chainfire,
}

/// What a cloud consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Layout {
    /// With any but [`Backend::Flaredb`], there are no FlareDB nodes at all.
    pub(crate) backend: Backend,
    /// FlareDB nodes.
    pub(crate) nodes: usize,
    /// With [`Backend::Chainfire`], the client ports of the cluster that is started elsewhere.
    pub(crate) key_ports: [u16; 3],
    /// Whether FlashDNS runs.
    pub(crate) dns: bool,
    /// UDP threads of FlashDNS; 0: one for each core.
    pub(crate) dns_workers: usize,
    /// Services that get a certificate besides FlareDB and FlashDNS.
    pub(crate) services: &'static [&'static str],
    /// More of the FlareDB nodes' configuration, as TOML.
    pub(crate) storage: &'static str,
    /// A command that every process is started by, e.g. `taskset -c 0`.
    pub(crate) wrapper: &'static [&'static str],
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            backend: Backend::Flaredb,
            nodes: 1,
            key_ports: [0; 3],
            dns: true,
            dns_workers: 0,
            services: &[],
            storage: "",
            wrapper: &[],
        }
    }
}

/// A running cloud; its processes are killed when it goes away.
#[derive(Debug)]
pub(crate) struct Cloud {
    layout: layout::Layout,
    wrapper: &'static [&'static str],
    /// Each process of the layout, in its order: first FlareDB's nodes.
    processes: Vec<(layout::Process, Option<Process>)>,
}

impl Cloud {
    /// Makes credentials and configuration below `folder`, starts everything and waits until it is ready.
    ///
    /// # Errors
    /// When a binary is not built, or a process does not become ready; with its last words.
    pub(crate) async fn start(folder: &Path, wanted: Layout) -> Result<Self> {
        let mut cloud = Self::prepare(folder, wanted)?;
        for number in 0..cloud.processes.len() {
            cloud.start_node(number)?;
        }
        cloud.ready().await?;
        Ok(cloud)
    }

    /// Makes credentials and configuration below `folder`, and starts nothing.
    ///
    /// # Errors
    /// When a binary is not built, or refuses to make them.
    pub(crate) fn prepare(folder: &Path, wanted: Layout) -> Result<Self> {
        let layout = plan(folder, wanted)?;
        for arguments in layout.credential_commands() {
            photon(&layout, &arguments)?;
        }
        photon(&layout, &layout.context_command(CONTEXT))?;
        layout.write_configs()?;
        for node in &layout.databases {
            let mut config =
                File::options().append(true).open(layout.config(&format!("flaredb-{}", node.id)))?;
            config.write_all(wanted.storage.as_bytes())?;
        }
        let processes = layout.processes().into_iter().map(|process| (process, None)).collect();
        Ok(Self { layout, wrapper: wanted.wrapper, processes })
    }

    /// Starts a process that does not run; the FlareDB nodes come first.
    ///
    /// # Errors
    /// When its binary cannot be run.
    pub(crate) fn start_node(&mut self, number: usize) -> Result<()> {
        let (planned, running) = self.processes.get_mut(number).context("there is no such process")?;
        let binary = binary(planned.binary)?.display().to_string();
        let mut words: Vec<&str> = self.wrapper.to_vec();
        words.push(&binary);
        words.extend(planned.arguments.iter().map(String::as_str));
        let (program, arguments) = words.split_first().context("there is nothing to start")?;
        *running = Some(Process::start(program, arguments, &planned.log)?);
        Ok(())
    }

    /// Starts a FlareDB node again and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready; with its last words.
    pub(crate) async fn restart(&mut self, node: usize) -> Result<()> {
        self.start_node(node)?;
        self.ready().await
    }

    /// Waits until every process that was started is ready.
    ///
    /// # Errors
    /// When one has ended or is not ready in time; with its last words.
    pub(crate) async fn ready(&mut self) -> Result<()> {
        for (planned, running) in &mut self.processes {
            let Some(process) = running else { continue };
            let outcome = until_ready(process, planned.admin_port).await;
            outcome.with_context(|| {
                format!("{}, whose last words are:\n{}", planned.name, process.last_words())
            })?;
        }
        Ok(())
    }

    /// SIGKILL for a FlareDB node.
    ///
    /// # Errors
    /// When it does not run.
    pub(crate) fn kill_9(&mut self, node: usize) -> Result<()> {
        self.take(node)?.kill_9()
    }

    /// SIGTERM for a FlareDB node, and waits for its end.
    ///
    /// # Errors
    /// When it does not run, does not end in time, or does not end well.
    pub(crate) fn stop_node(&mut self, node: usize) -> Result<()> {
        let mut process = self.take(node)?;
        let status = process.terminate()?;
        ensure!(status.success(), "after SIGTERM it ended with {status}: {}", process.last_words());
        Ok(())
    }

    /// How a process ended, if it has.
    ///
    /// # Errors
    /// When it was never started, or the kernel does not say.
    pub(crate) fn node_ended(&mut self, node: usize) -> Result<Option<ExitStatus>> {
        let (_, running) = self.processes.get_mut(node).context("there is no such process")?;
        running.as_mut().context("it was never started")?.ended()
    }

    fn take(&mut self, node: usize) -> Result<Process> {
        let (planned, running) = self.processes.get_mut(node).context("there is no such process")?;
        running.take().with_context(|| format!("{} does not run", planned.name))
    }

    /// The node that leads, by its own word.
    ///
    /// # Errors
    /// When there is none in time.
    pub(crate) async fn leader(&self) -> Result<usize> {
        wait_for("a leader", LEADER_AT_MOST, async || self.leader_now().await).await
    }

    /// Runs `photon` as the operator; returns what it printed.
    ///
    /// # Errors
    /// When it ends with another code than 0; with what it said.
    pub(crate) fn photon(&self, arguments: &[&str]) -> Result<String> {
        photon(&self.layout, arguments)
    }

    /// The port that answers DNS.
    pub(crate) fn dns_port(&self) -> u16 {
        self.layout.dns.map_or(0, |dns| dns.dns_port)
    }

    /// A FlareDB node's gRPC port.
    pub(crate) fn database_port(&self, node: usize) -> u16 {
        self.layout.databases.get(node).map_or(0, |node| node.port)
    }

    /// A FlareDB node's configuration file.
    pub(crate) fn config_file(&self, node: usize) -> PathBuf {
        self.layout.config(&format!("flaredb-{}", node + 1))
    }

    /// A FlareDB node's certificate and key.
    pub(crate) fn certificate(&self, node: usize) -> (PathBuf, PathBuf) {
        self.layout.certificate("flaredb", &(node + 1).to_string())
    }

    /// What so many other servers can identify themselves with, which clients of this cloud believe.
    pub(crate) fn certificates(&self, nodes: usize) -> Certificates {
        Certificates { ca: self.ca(), nodes: (0..nodes).map(|node| self.certificate(node)).collect() }
    }

    /// The certificate and key of one of the layout's other services, for as many servers as like.
    pub(crate) fn certificates_of(&self, service: &str) -> Certificates {
        Certificates { ca: self.ca(), nodes: vec![self.layout.certificate(service, "1")] }
    }

    /// The CA's certificate.
    pub(crate) fn ca(&self) -> PathBuf {
        self.layout.ca()
    }

    /// A FlareDB node's log.
    pub(crate) fn log_file(&self, node: usize) -> PathBuf {
        self.processes.get(node).map(|(planned, _)| planned.log.clone()).unwrap_or_default()
    }

    /// Every process that runs.
    pub(crate) fn processes(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter_map(|(_, running)| running.as_ref())
    }

    /// The ids of the FlareDB nodes that run.
    pub(crate) fn database_pids(&self) -> Vec<u32> {
        self.processes().take(self.layout.databases.len()).map(Process::pid).collect()
    }
}

/// Finds free ports for what is wanted.
fn plan(folder: &Path, wanted: Layout) -> Result<layout::Layout> {
    let nodes = if wanted.backend == Backend::Flaredb { wanted.nodes } else { 0 };
    let mut ports = ports::free(2 * nodes + 3)?.into_iter();
    let mut port = || ports.next().context("too few ports were found");
    let mut databases = Vec::new();
    for id in (1..).take(nodes) {
        databases.push(layout::Database { id, port: port()?, admin_port: port()? });
    }
    let dns =
        layout::Dns { port: port()?, admin_port: port()?, dns_port: port()?, workers: wanted.dns_workers };
    Ok(layout::Layout {
        folder: folder.to_owned(),
        members: Vec::new(),
        databases,
        key_ports: if wanted.backend == Backend::Chainfire { wanted.key_ports.to_vec() } else { Vec::new() },
        dns: wanted.dns.then_some(dns),
        services: wanted.services.iter().map(|&service| service.to_owned()).collect(),
    })
}

/// One of our binaries; all are built together, into one folder.
pub(crate) fn binary(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(path.exists(), "{} is not built; cargo xtask e2e and cargo xtask bench build it", path.display());
    Ok(path)
}

fn photon<A: AsRef<std::ffi::OsStr>>(layout: &layout::Layout, arguments: &[A]) -> Result<String> {
    let ran = Command::new(binary("photon")?)
        .args(arguments)
        .env("PHOTON_CONFIG", layout.folder.join("contexts.toml"))
        .output()
        .context("photon cannot be run")?;
    let words = arguments.iter().map(|word| word.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
    if !ran.status.success() {
        bail!("photon {words} ended with {}: {}", ran.status, String::from_utf8_lossy(&ran.stderr));
    }
    Ok(String::from_utf8(ran.stdout)?)
}

async fn until_ready(process: &mut Process, admin_port: u16) -> Result<()> {
    let patience = Patience::new("it to be ready", READY_AT_MOST);
    while !is_ready(admin_port).await {
        if let Some(status) = process.ended()? {
            bail!("it ended with {status}");
        }
        patience.look_again().await?;
    }
    Ok(())
}

/// Whether `/readyz` answers 200.
async fn is_ready(port: u16) -> bool {
    let asked = timeout(PROBE_TIMEOUT, probe(port)).await;
    matches!(asked, Ok(Ok(answer)) if answer.starts_with("HTTP/1.1 200"))
}

async fn probe(port: u16) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut head = vec![0; 64];
    let bytes = stream.read(&mut head).await?;
    Ok(String::from_utf8_lossy(&head[..bytes]).into_owned())
}
