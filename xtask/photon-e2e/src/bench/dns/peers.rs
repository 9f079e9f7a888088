//! The servers of the DNS benchmark, each on one core with one worker, ours first.

use std::{fs, net::UdpSocket, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::zone;
use crate::{
    cloud::{Backend, Cloud, Layout},
    dns::Query,
    ports,
    process::{self, Process},
    wait::wait_for,
};

/// How long a server may take to load the zone.
const LOAD_AT_MOST: Duration = Duration::from_secs(90);
/// The server's own core, at the highest weight; the generator has the other.
const PINNED: [&str; 6] = ["taskset", "-c", "0", "nice", "-n", "-20"];

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) name: &'static str,
    pub(super) port: u16,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Ours(Box<Cloud>),
    Peer(Process),
}

impl Server {
    /// Ours as a cloud, to change its records.
    ///
    /// # Errors
    /// When this is a peer.
    pub(super) fn cloud(&self) -> Result<&Cloud> {
        match &self.kind {
            Kind::Ours(cloud) => Ok(cloud),
            Kind::Peer(_) => anyhow::bail!("{} is not ours", self.name),
        }
    }

    /// CPU seconds that the server has used so far.
    ///
    /// # Errors
    /// When its process is gone.
    pub(super) fn cpu_s(&self) -> Result<f64> {
        match &self.kind {
            Kind::Ours(cloud) => process::cpu_s(cloud.processes().map(Process::pid)),
            Kind::Peer(process) => process::cpu_s([process.pid()]),
        }
    }
}

/// Starts all servers on the zone in `folder` and waits until each answers from it; ours is the first.
///
/// # Errors
/// When one is not installed or does not answer in time.
pub(super) async fn start_all(folder: &Path) -> Result<Vec<Server>> {
    let mut servers = vec![ours(folder).await?];
    for name in ["echo", "knot", "nsd", "bind"] {
        let port = ports::free(1)?[0];
        let home = folder.join(name);
        fs::create_dir(&home)?;
        let command = command(name, port, &home, &folder.join("bench.test.zone"))?;
        let arguments: Vec<&str> =
            PINNED[1..].iter().copied().chain(command.iter().map(String::as_str)).collect();
        let process = Process::start(PINNED[0], &arguments, &home.join("log"))?;
        servers.push(Server { name, port, kind: Kind::Peer(process) });
    }
    for server in &servers {
        wait_for(server.name, LOAD_AT_MOST, async || answers(server.port)).await?;
    }
    Ok(servers)
}

async fn ours(folder: &Path) -> Result<Server> {
    let layout = Layout { backend: Backend::Embedded, dns_workers: 1, wrapper: &PINNED, ..Layout::default() };
    let cloud = Cloud::start(&folder.join("ours"), layout).await?;
    let text = fs::read_to_string(folder.join("bench.test.zone"))?;
    cloud.import_zone(zone::NAME, text).await.context("our server did not import the zone")?;
    Ok(Server { name: "flashdns", port: cloud.dns_port(), kind: Kind::Ours(Box::new(cloud)) })
}

fn answers(port: u16) -> Option<()> {
    let socket = UdpSocket::bind("127.0.0.1:0").ok()?;
    socket.set_read_timeout(Some(Duration::from_millis(200))).ok()?;
    socket.connect(("127.0.0.1", port)).ok()?;
    socket.send(&Query::new(&format!("ns1.{}", zone::NAME), 1).packet(1)).ok()?;
    let mut answer = [0; 512];
    let bytes = socket.recv(&mut answer).ok()?;
    (bytes > 12 && answer[7] > 0).then_some(())
}

fn command(name: &str, port: u16, home: &Path, zone: &Path) -> Result<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect();
    let (file, text) = match name {
        "echo" => {
            let own = std::env::current_exe()?.display().to_string();
            return Ok(words(&[&own, "dns-echo", &port.to_string()]));
        }
        "knot" => ("knot.conf", knot(port, home, zone)),
        "nsd" => ("nsd.conf", nsd(port, home, zone)),
        _ => ("named.conf", bind(port, home, zone)),
    };
    let config = home.join(file);
    fs::write(&config, text)?;
    let config = config.display().to_string();
    Ok(match name {
        "knot" => words(&["knotd", "-c", &config]),
        "nsd" => words(&["nsd", "-d", "-c", &config]),
        _ => words(&["named", "-g", "-n", "1", "-U", "1", "-c", &config]),
    })
}

fn knot(port: u16, home: &Path, zone: &Path) -> String {
    format!(
        "server:\n    rundir: {home}\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n    \
         background-workers: 1\nlog:\n  - target: stderr\n    any: error\ndatabase:\n    storage: {home}\n\
         zone:\n  - domain: bench.test\n    file: {zone}\n    zonefile-sync: -1\n    journal-content: none\n    \
         semantic-checks: off\n",
        home = home.display(),
        zone = zone.display()
    )
}

fn nsd(port: u16, home: &Path, zone: &Path) -> String {
    format!(
        "server:\n    ip-address: 127.0.0.1@{port}\n    server-count: 1\n    database: \"\"\n    username: \"\"\n    \
         chroot: \"\"\n    zonesdir: \"{home}\"\n    pidfile: \"{home}/nsd.pid\"\n    xfrdfile: \"{home}/xfrd.state\"\n    \
         zonelistfile: \"{home}/zone.list\"\n    rrl-ratelimit: 0\n    minimal-responses: yes\n    \
         logfile: \"{home}/nsd.log\"\nremote-control:\n    control-enable: no\nzone:\n    name: bench.test\n    \
         zonefile: {zone}\n",
        home = home.display(),
        zone = zone.display()
    )
}

fn bind(port: u16, home: &Path, zone: &Path) -> String {
    format!(
        "options {{ directory \"{home}\"; listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; \
         recursion no; minimal-responses yes; pid-file \"{home}/pid\"; session-keyfile \"{home}/session\"; \
         dnssec-validation no; notify no; }};\nlogging {{ category default {{ null; }}; }}; controls {{ }};\n\
         zone \"bench.test\" {{ type primary; file \"{zone}\"; check-names ignore; }};\n",
        home = home.display(),
        zone = zone.display()
    )
}
