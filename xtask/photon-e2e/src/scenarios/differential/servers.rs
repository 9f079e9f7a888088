//! Us, NSD and Knot on the same zones.

use std::{fmt::Write as _, fs, path::Path, time::Duration};

use anyhow::{Context as _, Result};

use super::zones::Zone;
use crate::{
    cloud::{Backend, Cloud, Layout},
    dns::{Asker, Query},
    ports,
    process::Process,
    wait::wait_for,
};

const LOADED_AT_MOST: Duration = Duration::from_secs(30);
const SOA: u16 = 6;

/// The three servers; they end with this value.
#[derive(Debug)]
pub(super) struct Servers {
    /// Ports of us, NSD and Knot.
    pub(super) ports: [u16; 3],
    _ours: Cloud,
    _peers: [Process; 2],
}

/// Starts all three and waits until each answers for each zone.
///
/// # Errors
/// When one is not installed, or refuses a zone.
pub(super) async fn start_all(folder: &Path, zones: &[Zone]) -> Result<Servers> {
    let ports = ports::free(2)?;
    let ours = Cloud::start(&folder.join("ours"), Layout { backend: Backend::Embedded, ..Layout::default() })
        .await?;
    for zone in zones {
        ours.import_zone(&zone.name, zone.text.clone()).await.with_context(|| zone.text.clone())?;
        fs::write(folder.join(file_name(zone)), &zone.text)?;
    }
    let peers = [nsd(folder, ports[0], zones)?, knot(folder, ports[1], zones)?];
    let servers = Servers { ports: [ours.dns_port(), ports[0], ports[1]], _ours: ours, _peers: peers };
    for port in servers.ports {
        wait_for("every zone to be loaded", LOADED_AT_MOST, async || serves_all(port, zones)).await?;
    }
    Ok(servers)
}

fn file_name(zone: &Zone) -> String {
    format!("{}zone", zone.name)
}

fn serves_all(port: u16, zones: &[Zone]) -> Option<()> {
    let mut asker = Asker::new(port, Duration::from_millis(200)).ok()?;
    zones
        .iter()
        .all(|zone| asker.ask(&Query::new(&zone.name, SOA)).is_ok_and(|answer| answer[7] == 1))
        .then_some(())
}

fn nsd(folder: &Path, port: u16, zones: &[Zone]) -> Result<Process> {
    let home = folder.display();
    let mut config = format!(
        "server:\n  ip-address: 127.0.0.1@{port}\n  server-count: 1\n  database: \"\"\n  username: \"\"\n  chroot: \"\"\n  \
         zonesdir: \"{home}\"\n  pidfile: \"{home}/nsd.pid\"\n  xfrdfile: \"{home}/xfrd.state\"\n  \
         zonelistfile: \"{home}/zone.list\"\n  rrl-ratelimit: 0\n  logfile: \"{home}/nsd.log\"\n\
         remote-control:\n  control-enable: no\n"
    );
    for zone in zones {
        writeln!(config, "zone:\n  name: {}\n  zonefile: {}", zone.name, file_name(zone))?;
    }
    let file = folder.join("nsd.conf");
    fs::write(&file, config)?;
    Process::start("nsd", &["-d".as_ref(), "-c".as_ref(), file.as_os_str()], &folder.join("nsd.out"))
}

fn knot(folder: &Path, port: u16, zones: &[Zone]) -> Result<Process> {
    let home = folder.display();
    let mut config = format!(
        "server:\n    rundir: {home}\n    listen: 127.0.0.1@{port}\n    udp-workers: 1\n    tcp-workers: 1\n\
         log:\n  - target: stderr\n    any: error\ndatabase:\n    storage: {home}\nzone:\n"
    );
    for zone in zones {
        writeln!(
            config,
            "  - domain: {}\n    file: {home}/{}\n    zonefile-sync: -1\n    journal-content: none\n    \
             semantic-checks: off",
            zone.name,
            file_name(zone)
        )?;
    }
    let file = folder.join("knot.conf");
    fs::write(&file, config)?;
    Process::start("knotd", &["-c".as_ref(), file.as_os_str()], &folder.join("knot.out"))
}
