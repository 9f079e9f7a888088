//! FlashDNS beside an echo responder, Knot, NSD and BIND: one zone of 100,000 records, one core for the server, all
//! servers up at once and loaded in turn, in a network namespace of its own.

mod changes;
mod peers;
mod zone;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;

use super::{Options, Row, Side, udp::Blasted};
use crate::process::where_it_is_from;

const CHANGES_AT_MOST: Duration = Duration::from_secs(90);
/// Queries in flight: the generator's sockets times their window.
const IN_FLIGHT: u32 = 512;

/// Measures every server on every query set, then ours again while changes are committed.
///
/// # Errors
/// When a server does not start or gives a wrong share of answers.
pub(super) async fn measure(options: &Options) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let records = zone::write(folder.path())?;
    tracing::info!(records, "zone written");
    let servers = peers::start_all(folder.path()).await?;
    let mut rows = Vec::new();
    for set in ["mix", "nx"] {
        let mut sides: Vec<Vec<Side>> = vec![Vec::new(); servers.len()];
        for round in 0..options.rounds {
            for (server, side) in servers.iter().zip(&mut sides) {
                tracing::info!(set, round, server = server.name, "measuring");
                side.push(load(server, folder.path(), set, options.seconds).await?);
            }
        }
        let (ours, theirs) = sides.split_first().context("no server was started")?;
        for (server, side) in servers.iter().skip(1).zip(theirs) {
            rows.push(Row::of(set, server.name, IN_FLIGHT, ours, side));
        }
        rows.push(under_changes(&servers, folder.path(), set, options).await?);
    }
    Ok(rows)
}

/// One round: the generator on its own core against one server.
async fn load(server: &peers::Server, folder: &Path, set: &str, seconds: u64) -> Result<Side> {
    let before = server.cpu_s()?;
    let ran = Command::new("taskset")
        .args(["-c", "1"])
        .arg(std::env::current_exe()?)
        .args(["dns-blast", &format!("127.0.0.1:{}", server.port)])
        .arg(folder.join(format!("{set}.txt")))
        .arg(seconds.to_string())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("taskset cannot be run{}", where_it_is_from("taskset")))?;
    if !ran.status.success() {
        bail!("the load generator failed: {}", String::from_utf8_lossy(&ran.stderr));
    }
    let seen: Blasted = serde_json::from_slice(&ran.stdout)?;
    check(server, set, &seen)?;
    let cpu_s = server.cpu_s()? - before;
    #[expect(clippy::cast_precision_loss, reason = "figures for a table")]
    let cpu_us = cpu_s * 1e6 / seen.answers as f64;
    Ok(Side { rate: seen.rate, p50_us: seen.p50_us, p99_us: seen.p99_us, cpu_us, ..Side::default() })
}

/// A fast server that answers wrongly has no rate: the shares of answer codes must be those of the query set.
fn check(server: &peers::Server, set: &str, seen: &Blasted) -> Result<()> {
    if server.name == "echo" {
        return Ok(());
    }
    let (kind, of_kind) = if set == "nx" { ("NXDOMAIN", seen.nxdomain) } else { ("NOERROR", seen.noerror) };
    ensure!(
        seen.answers > 0 && of_kind >= seen.answers / 10 * 9,
        "{} answered {kind} to only {of_kind} of {} queries of the set {set}",
        server.name,
        seen.answers
    );
    Ok(())
}

/// Ours while changes are committed beside the load, against ours in quiet, in turn.
async fn under_changes(
    servers: &[peers::Server],
    folder: &Path,
    set: &str,
    options: &Options,
) -> Result<Row> {
    let ours = servers.first().context("no server was started")?;
    let (mut busy, mut quiet) = (Vec::new(), Vec::new());
    for round in 0..options.rounds {
        tracing::info!(set, round, "measuring under changes");
        quiet.push(load(ours, folder, set, options.seconds).await?);
        let changes = tokio::time::timeout(CHANGES_AT_MOST, changes::commit(ours, options.seconds));
        let (loaded, committed) = tokio::join!(load(ours, folder, set, options.seconds), changes);
        busy.push(loaded?);
        tracing::info!(rate = committed??, "changes a second");
    }
    Ok(Row::of(&format!("{set}, {} changes/s", changes::PER_S), "quiet", IN_FLIGHT, &busy, &quiet))
}
