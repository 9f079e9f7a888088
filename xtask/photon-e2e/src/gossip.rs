//! `photon-e2e run gossip`: five ChainFire processes, three servers and two agents, each in a network namespace of its
//! own, beside five agents of Serf's. One after the other is killed; how long the other four take to know it is printed
//! side by side. Meanwhile the registry's verdicts are looked at: every node that was killed gets one and loses it when
//! it is back, and no other ever gets one, not while processes are stopped for a moment nor while packets are lost.

mod ours;
mod serf;
mod swarm;

use std::{
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use clap::Args;

use self::{ours::Ours, swarm::Swarm};
use crate::faults::network::{Drops, End, Network, cut};

/// Nodes of each side.
pub(super) const NODES: usize = 5;
/// How long one is stopped for a moment.
const MOMENT: Duration = Duration::from_secs(1);
/// How long packets are lost.
const LOSS: Duration = Duration::from_secs(30);
/// Of a hundred packets in each direction.
const LOST_PERCENT: u8 = 5;

/// How often, and how soon.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// How often a node is killed, on each side.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=100))]
    rounds: u8,
    /// Fails if a death is not known to all of ours after so many milliseconds.
    #[arg(long, default_value_t = 2_000)]
    within_ms: u64,
}

/// One death on both sides.
#[derive(Debug)]
struct Round {
    victim: usize,
    ours: Duration,
    serf: Duration,
    verdict: Duration,
    lifted: Duration,
}

/// Runs, and prints as it goes. Logs are kept when something did not hold.
///
/// # Errors
/// When the nodes cannot be started.
#[expect(clippy::print_stdout, reason = "the report is this command's result")]
pub(crate) async fn run(options: Options) -> Result<ExitCode> {
    let root = tempfile::Builder::new().prefix("photon-e2e-").tempdir()?;
    match play(&options, root.path()).await {
        Ok(()) => {
            println!("PASS");
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            println!("FAIL {error:#}\nlogs are kept in {}", root.keep().display());
            Ok(ExitCode::FAILURE)
        }
    }
}

#[expect(clippy::print_stdout, reason = "the report is this command's result")]
async fn play(options: &Options, folder: &Path) -> Result<()> {
    let network = Network::new(2 * NODES)?;
    let mut ours = Ours::start(&network, folder).await.context("ChainFire")?;
    let mut serf = serf::start(&network, folder).await.context("Serf")?;
    println!("{:>6}  {:>9}  {:>9}  {:>9}  {:>9}", "victim", "ours", "serf", "verdict", "lifted");
    let mut slowest = Duration::ZERO;
    for round in 0..options.rounds {
        let round = kill(usize::from(round) % NODES, &mut ours, &mut serf).await?;
        println!(
            "{:>6}  {:>6} ms  {:>6} ms  {:>6} ms  {:>6} ms",
            round.victim + 1,
            round.ours.as_millis(),
            round.serf.as_millis(),
            round.verdict.as_millis(),
            round.lifted.as_millis()
        );
        slowest = slowest.max(round.ours);
    }
    let hints = disturb(&mut ours).await?;
    println!(
        "no verdict while each was stopped for {MOMENT:?} and at {LOST_PERCENT} % loss for {LOSS:?}; {hints} hints"
    );
    ensure!(
        slowest <= Duration::from_millis(options.within_ms),
        "a death was known to all only after {} ms",
        slowest.as_millis()
    );
    Ok(())
}

/// Kills the same node on both sides, one side after the other, and brings it back.
async fn kill(victim: usize, ours: &mut Ours, serf: &mut Swarm) -> Result<Round> {
    let killed_at = Instant::now();
    let known_by = ours.swarm.kill(victim).await.context("ours")?;
    ours.until_judged(&[victim]).await?;
    let verdict = killed_at.elapsed();
    let returned_at = Instant::now();
    ours.swarm.bring_back(victim).await.context("ours")?;
    ours.until_judged(&[]).await?;
    let lifted = returned_at.elapsed();
    let serfs = serf.kill(victim).await.context("Serf")?;
    serf.bring_back(victim).await.context("Serf")?;
    Ok(Round { victim, ours: known_by, serf: serfs, verdict, lifted })
}

/// What kills nobody; returns how often gossip was mistaken, which a judge may not be.
async fn disturb(ours: &mut Ours) -> Result<usize> {
    let before = ours.swarm.failures()?;
    let verdicts = ours.committed()?;
    for node in 0..NODES {
        ours.swarm.stop_for(node, MOMENT).await?;
        ours.unjudged_for(MOMENT).await?;
    }
    let drops: Vec<_> = (0..NODES).flat_map(|from| (0..NODES).map(move |to| (from, to))).collect();
    let drops = drops.into_iter().filter(|(from, to)| from != to);
    let drops: Vec<_> = drops
        .map(|(from, to)| Drops { from: End::Node(from), to: End::Node(to), percent: LOST_PERCENT })
        .collect();
    let lossy = cut(&drops)?;
    ours.unjudged_for(LOSS).await?;
    ensure!(lossy.heal()? > 0, "no packet was lost");
    ensure!(ours.committed()? == verdicts, "a verdict was committed on a node that lived");
    Ok(ours.swarm.failures()? - before)
}
