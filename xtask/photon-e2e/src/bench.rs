//! Benchmarks beside peers, in one run, on one machine: honest ratios, never a pass or a fail.
//!
//! Our server and the peer take turns under the same load; each figure is the median over the rounds, and the ratios
//! are ours over theirs.

mod dns;
mod echo;
mod etcd;
mod flaredb;
mod load;
mod udp;

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use nix::sched::{CloneFlags, unshare};
use serde::Serialize;

pub(crate) use self::{
    echo::echo,
    udp::{Blast, blast},
};
use crate::process::where_it_is_from;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Bench {
    /// FlareDB beside etcd: durable puts, linearizable gets, compare-and-swap.
    Flaredb(Options),
    /// FlashDNS beside an echo responder, NSD, Knot and BIND on a zone of 100,000 records.
    Dns(Options),
}

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write the rows as JSON to this file as well.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// How many rounds; figures are medians over them.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    rounds: u32,
    /// Seconds of load in each round.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,
    /// Nodes of each database cluster.
    #[arg(long, default_value_t = 3, value_parser = nodes)]
    nodes: usize,
}

/// One side's figures in one row.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Side {
    /// Operations a second.
    pub(crate) rate: f64,
    /// Median latency.
    pub(crate) p50_us: f64,
    /// 99th percentile of the latency.
    pub(crate) p99_us: f64,
    /// CPU time of the servers for each operation.
    pub(crate) cpu_us: f64,
}

/// One operation, measured on both sides.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    /// What was done.
    pub(crate) op: String,
    /// Who the other side is.
    pub(crate) peer: String,
    /// Clients at once.
    pub(crate) clients: u32,
    pub(crate) ours: Side,
    pub(crate) theirs: Side,
    pub(crate) rate_ratio: f64,
    pub(crate) p99_ratio: f64,
    pub(crate) cpu_ratio: f64,
}

impl Row {
    /// Puts the medians of both sides' rounds beside each other.
    pub(crate) fn of(op: &str, peer: &str, clients: u32, ours: &[Side], theirs: &[Side]) -> Self {
        let (ours, theirs) = (median(ours), median(theirs));
        Self {
            op: op.to_owned(),
            peer: peer.to_owned(),
            clients,
            rate_ratio: ours.rate / theirs.rate,
            p99_ratio: ours.p99_us / theirs.p99_us,
            cpu_ratio: ours.cpu_us / theirs.cpu_us,
            ours,
            theirs,
        }
    }
}

/// Runs one benchmark and prints its table.
///
/// # Errors
/// When a server does not start, any operation fails, or the JSON file cannot be written.
pub(crate) async fn run(bench: Bench) -> Result<()> {
    let (rows, options) = match bench {
        Bench::Flaredb(options) => (flaredb::measure(&options).await?, options),
        Bench::Dns(options) => (dns::measure(&options).await?, options),
    };
    print(&rows);
    let Some(path) = options.json else { return Ok(()) };
    let text = serde_json::to_string_pretty(&serde_json::json!({ "rows": rows }))?;
    std::fs::write(&path, text).with_context(|| format!("{} cannot be written", path.display()))
}

/// Gives the DNS benchmark a network namespace of its own: plain loopback, nobody else's rules.
///
/// # Errors
/// When this is not root.
pub(crate) fn enter_namespace(bench: &Bench) -> Result<()> {
    let Bench::Dns(_) = bench else { return Ok(()) };
    unshare(CloneFlags::CLONE_NEWNET).context("no network namespace can be made (are you root?)")?;
    let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
    let up = up.with_context(|| format!("ip cannot be run{}", where_it_is_from("ip")))?;
    ensure!(up.success(), "the loopback interface of the namespace did not come up");
    Ok(())
}

/// A number of nodes from the command line.
fn nodes(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|nodes| (1..=5).contains(nodes)).ok_or_else(|| "1 to 5 are accepted".to_owned())
}

/// The median of each figure on its own.
fn median(sides: &[Side]) -> Side {
    let middle = |figure: fn(&Side) -> f64| {
        let mut figures: Vec<f64> = sides.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Side {
        rate: middle(|side| side.rate),
        p50_us: middle(|side| side.p50_us),
        p99_us: middle(|side| side.p99_us),
        cpu_us: middle(|side| side.cpu_us),
    }
}

#[expect(clippy::print_stdout, reason = "the table is this command's result")]
fn print(rows: &[Row]) {
    println!(
        "{:24} {:8} {:>7} | {:>9} {:>9} {:>9} {:>8} | {:>9} {:>9} {:>9} {:>8} | {:>6} {:>6} {:>6}",
        "op",
        "peer",
        "clients",
        "rate/s",
        "p50 us",
        "p99 us",
        "cpu us",
        "rate/s",
        "p50 us",
        "p99 us",
        "cpu us",
        "rate",
        "p99",
        "cpu"
    );
    for row in rows {
        println!(
            "{:24} {:8} {:>7} | {:>9.0} {:>9.0} {:>9.0} {:>8.2} | {:>9.0} {:>9.0} {:>9.0} {:>8.2} | {:>5.2}x {:>5.2}x {:>5.2}x",
            row.op,
            row.peer,
            row.clients,
            row.ours.rate,
            row.ours.p50_us,
            row.ours.p99_us,
            row.ours.cpu_us,
            row.theirs.rate,
            row.theirs.p50_us,
            row.theirs.p99_us,
            row.theirs.cpu_us,
            row.rate_ratio,
            row.p99_ratio,
            row.cpu_ratio
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_of_each_figure_on_its_own_and_ratios_are_ours_over_theirs() {
        let side = |rate, p99_us| Side { rate, p50_us: 1.0, p99_us, cpu_us: 2.0 };
        let ours = [side(10.0, 3.0), side(30.0, 9.0), side(20.0, 6.0)];
        let row = Row::of("put", "etcd", 64, &ours, &[side(10.0, 12.0)]);
        assert_eq!((row.ours.rate, row.ours.p99_us), (20.0, 6.0));
        assert_eq!((row.rate_ratio, row.p99_ratio, row.cpu_ratio), (2.0, 0.5, 1.0));
    }
}
