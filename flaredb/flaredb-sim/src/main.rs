//! Plays FlareDB's replicas under faults, everything from one seed, and checks that nothing was lost.
//!
//! What is **real**: the state machine (flaredb-engine over RocksDB), the Raft host (flaredb-raft: openraft, the log
//! store over raft-engine, the state-machine host, checkpoints, snapshots, membership, read index, and the transport's
//! client and service with their protobuf messages).
//!
//! What is **replaced**:
//! - *time*: each node has a current-thread runtime whose paused clock the simulation moves; all nodes run on one thread;
//! - *randomness*: `getrandom` goes on from the seed (hash maps, election timeouts, wake orders);
//! - *threads*: the log writer is a task, blocking calls run on the spot; RocksDB's own threads flush and compact, which
//!   is waited for or has no effect that is seen;
//! - *the log's disk*: in memory, where what was not synced is lost with the power, in whole or in part;
//! - *RocksDB's disk*: a folder in memory, of which a crash keeps what RocksDB had written to files, not its tables in
//!   memory;
//! - *the network*: gRPC's calls and streams, without HTTP/2 and TCP between client and service;
//! - *the server's API and the client library*: the plainest form of them, see `frontend` and `client`.
//!
//! What goes wrong: power cuts, killed processes, restarts in order, partitions in one direction or both, lost, late and
//! repeated messages, paused nodes, clocks that go too fast or too slow, slow disks, syncs that
//! fail (the process ends), transfers of leadership, checkpoints that purge the log behind a
//! follower's back, changes of members. In the end all faults stop, the power of all nodes is cut once more, and within
//! bounded time a write must succeed and all members must agree.
//!
//! What must hold at every step is in `judge` (log matching, leader completeness, state machine order, purged ≤ flushed
//! ≤ applied ≤ committed); what is acknowledged must be on a quorum of disks at that moment, which `durable` looks at;
//! what clients were told is compared with the revisions in `oracle`.

mod client;
mod dice;
mod disk;
mod durable;
mod entropy;
mod frontend;
mod history;
mod host;
mod judge;
mod nemesis;
mod net;
mod oracle;
mod planted;
mod power_cut;
mod recording;
mod replica;
mod run;
mod seeds;
mod trace;
mod wire;
mod world;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum as _};

use crate::{
    planted::Bug,
    seeds::{Plan, Played},
};

/// Plays FlareDB's replicas under faults, everything from one seed.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  flaredb-sim --seeds 300\n  flaredb-sim --seeds 200 --plant all\n  flaredb-sim one --seed 17 --verbose"
)]
struct Cli {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    many: Many,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Plays one seed and says what happened.
    One(One),
    /// Cuts the power of a log after any byte that it has written, and opens it again.
    PowerCut(PowerCut),
}

#[derive(Debug, Args)]
struct One {
    /// The seed.
    #[arg(long)]
    seed: u64,
    /// Switches a bug on.
    #[arg(long)]
    plant: Option<Bug>,
    /// An empty folder for the nodes; a new one if it is not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Prints everything that happened.
    #[arg(long)]
    verbose: bool,
}

#[derive(Debug, Args)]
struct PowerCut {
    /// How many points of the recording to cut at.
    #[arg(long, default_value_t = 10_000)]
    points: u64,
    /// What the recording follows from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Switches a bug on.
    #[arg(long)]
    plant: Option<Bug>,
}

#[derive(Debug, Args)]
struct Many {
    /// How many seeds to play.
    #[arg(long, default_value_t = 300)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    from: u64,
    /// Switches a bug on, which must be found; `all`: each in turn.
    #[arg(long)]
    plant: Option<String>,
    /// How many runs at once; all processors if it is not given.
    #[arg(long)]
    jobs: Option<usize>,
}

fn say(line: impl std::fmt::Display) {
    // Who closes the pipe wants no more of it.
    let _closed = writeln!(std::io::stdout(), "{line}");
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match (&cli.verb, cli.many.plant.as_deref()) {
        (Some(Verb::One(one)), _) => play_one(one),
        (Some(Verb::PowerCut(cut)), _) => cut_power(cut),
        (None, None) => play_many(&cli.many),
        (None, Some(name)) => find_planted(&cli.many, name),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("flaredb-sim: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn play_one(one: &One) -> Result<bool> {
    if let Some(bug) = one.plant {
        planted::plant(bug)?;
    }
    let own = tempfile::tempdir_in(run::scratch())?;
    let dir = one.dir.as_deref().unwrap_or_else(|| own.path());
    let verdict = run::play(one.seed, dir, one.verbose)?;
    if one.verbose {
        verdict.lines.iter().for_each(say);
    }
    let (seed, trace, events) = (one.seed, verdict.trace, verdict.events);
    say(format_args!("seed {seed}: trace {trace:016x} of {events} events"));
    say(format_args!("counts {}", verdict.counts.map(|count| count.to_string()).join(" ")));
    for finding in &verdict.findings {
        say(format_args!("found: {finding}"));
    }
    Ok(verdict.findings.is_empty())
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn cut_power(cut: &PowerCut) -> Result<bool> {
    if let Some(bug) = cut.plant {
        planted::plant(bug)?;
    }
    let cuts = power_cut::run(cut.points, cut.seed, processors())?;
    let power_cut::Cuts { points, steps, syncs, acknowledged, findings } = &cuts;
    findings.iter().take(20).for_each(say);
    say(format_args!(
        "{points} cuts in {steps} steps with {syncs} syncs and {acknowledged} acknowledged entries: {} failed",
        findings.len()
    ));
    Ok(findings.is_empty())
}

impl Many {
    fn plan(&self, bug: Option<Bug>) -> Plan {
        Plan {
            seeds: self.from..self.from.saturating_add(self.seeds),
            bug,
            jobs: self.jobs.unwrap_or_else(processors),
            first: bug.is_some(),
        }
    }
}

fn play_many(many: &Many) -> Result<bool> {
    let began = std::time::Instant::now();
    let played = seeds::play(&many.plan(None), |played| {
        if let Some(finding) = played.findings.first() {
            say(format_args!("seed {} failed: {finding}", played.seed));
        }
    })?;
    let total = |at: usize| played.iter().map(|played| played.counts[at]).sum::<u64>();
    let (secs, took) = (total(3) / 1000, began.elapsed().as_secs());
    say(format_args!(
        "{} operations, {} revisions, {} faults, {} leaders, {} snapshots installed, {} memberships in {secs} \
         simulated s, {took} s",
        total(0),
        total(1),
        total(2),
        total(4),
        total(5),
        total(6),
    ));
    let failed = played.iter().filter(|played| !played.findings.is_empty()).count();
    say(format_args!("{} passed, {failed} failed", played.len() - failed));
    Ok(failed == 0)
}

/// Switches bugs on one by one; each must be found.
fn find_planted(many: &Many, name: &str) -> Result<bool> {
    planted::check_built()?;
    let bugs = match name {
        "all" => Bug::value_variants().to_vec(),
        name => vec![Bug::from_str(name, false).map_err(anyhow::Error::msg)?],
    };
    let mut missed = 0;
    for bug in bugs {
        let played = seeds::play(&many.plan(Some(bug)), |_| {})?;
        let found = played.iter().find(|played| !played.findings.is_empty());
        missed += usize::from(found.is_none());
        match found {
            Some(Played { seed, findings, .. }) => {
                let first = findings.first().map_or("", String::as_str);
                say(format_args!("{:<24} found at seed {seed}: {first}", bug.name()));
            }
            None => say(format_args!("{:<24} NOT FOUND in {} seeds", bug.name(), many.seeds)),
        }
    }
    say(format_args!("{missed} planted bugs were not found"));
    Ok(missed == 0)
}
