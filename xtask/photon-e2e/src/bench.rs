//! Benchmarks beside peers, in one run, on one machine: honest ratios, never a pass or a fail.
//!
//! Our server and the peer take turns under the same load; each figure is the median over the rounds, and the ratios
//! are ours over theirs.

mod chainfire;
mod dns;
mod echo;
mod etcd;
mod figures;
mod flaredb;
mod load;
mod start;
mod udp;
mod watchers;
mod workload;

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use nix::sched::{CloneFlags, unshare};

use self::figures::{Row, Side, Usage, print};
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
    /// ChainFire beside etcd: puts, linearizable gets, transactions, and puts that many watch.
    Chainfire(Options),
    /// FlashDNS beside an echo responder, NSD, Knot and BIND on a zone of 100,000 records.
    Dns(Options),
}

/// Where the clients of etcd connect to. Ours know every node in either case, and write and read at the leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Reach {
    /// To every node in turn, as etcd's own client does. A single client has the leader.
    All,
    /// To the leader.
    Leader,
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
    /// Of the database's operations, measure only those whose name contains this.
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Numbers of clients of the database, at most 4,096 each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256], value_parser = clap::value_parser!(u32).range(1..=4096))]
    clients: Vec<u32>,
    /// Where clients of etcd's cluster connect to when there are many.
    #[arg(long, value_enum, default_value_t = Reach::All)]
    endpoints: Reach,
}

/// Runs one benchmark and prints its table.
///
/// # Errors
/// When a server does not start, any operation fails, or the JSON file cannot be written.
pub(crate) async fn run(bench: Bench) -> Result<()> {
    let (rows, options) = match bench {
        Bench::Flaredb(options) => (flaredb::measure(&options).await?, options),
        Bench::Chainfire(options) => (chainfire::measure(&options).await?, options),
        Bench::Dns(options) => (dns::measure(&options).await?, options),
    };
    ensure!(!rows.is_empty(), "no operation's name contains {:?}", options.filter);
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
