//! `photon-e2e run flaredb`: a cluster of a replicated store in a network of its own, under load, broken in every way
//! that this machine can do, and a history of it all that is checked afterwards.
//!
//! A run counts only if every fault was proved to have taken effect; it passes only if the checks accept the history,
//! everything acknowledged is there, and all replicas hold the same.

mod check;
mod cluster;
mod flaredb;
mod history;
mod load;
mod nemesis;
pub(crate) mod network;
mod subject;
mod v3;
mod verdict;

use std::{
    fmt::Write as _,
    ops::Range,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

pub(crate) use self::network::enter;
use self::{
    cluster::{Cluster, Disks},
    flaredb::Flaredb,
    nemesis::{Arena, Fault, name_of},
    subject::{Load as _, Subject},
    v3::{Chainfire, Etcd, V3},
};
use crate::apart::Apart;

/// From so many seconds on, faults last as long as they can, the first of each kind.
const LONG_S: u64 = 150;
/// Requests that are noted between two kills of a leader.
const REQUESTS_BETWEEN_KILLS: Range<usize> = 100..300;
const ALL: &str = "all";
/// No fault at all, to see that the checks accept what is not broken.
const NONE: &str = "none";

/// Which faults, and for how long.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// `all`, `none`, or names of faults, separated by commas.
    #[arg(long, default_value = ALL)]
    faults: String,
    /// How long to go on with faults; each of those chosen happens at least once.
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    secs: u64,
    /// Makes the same choices again; by default a new one, which is printed.
    #[arg(long)]
    seed: Option<u64>,
}

/// Which faults, for how long, and done to what.
#[derive(Clone, Debug, Args)]
pub(crate) struct V3Options {
    /// Break this program instead, which speaks the same API.
    #[arg(long, value_enum)]
    peer: Option<Peer>,
    #[command(flatten)]
    options: Options,
}

/// A program that speaks etcd's v3 API.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Peer {
    /// etcd's own.
    Etcd,
}

impl V3Options {
    /// What is broken, and how.
    pub(crate) fn chosen(self) -> (Store, Options) {
        match self.peer {
            None => (Store::Chainfire, self.options),
            Some(Peer::Etcd) => (Store::Etcd, self.options),
        }
    }
}

impl Options {
    /// A short run with some faults.
    pub(crate) fn short(faults: &str, secs: u64, seed: u64) -> Self {
        Self { faults: faults.to_owned(), secs, seed: Some(seed) }
    }

    fn chosen<S: Subject>(&self) -> Result<Vec<Fault>> {
        if self.faults == ALL {
            return Ok(S::FAULTS.to_vec());
        }
        if self.faults == NONE {
            return Ok(Vec::new());
        }
        self.faults.split(',').map(|name| named::<S>(name.trim())).collect()
    }
}

fn named<S: Subject>(name: &str) -> Result<Fault> {
    let found = S::FAULTS.iter().find(|&&fault| name_of(fault).eq_ignore_ascii_case(name));
    found.copied().with_context(|| {
        let names: Vec<_> = S::FAULTS.iter().map(|&fault| name_of(fault)).collect();
        format!("{name:?} is no fault of {}; they are: all, none, {}", S::NAME, names.join(", "))
    })
}

/// What is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Store {
    /// FlareDB.
    Flaredb,
    /// ChainFire.
    Chainfire,
    /// etcd's own program.
    Etcd,
}

/// What a run came to.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// Its lines, for people.
    pub(crate) lines: Vec<String>,
    /// Whether everything held.
    pub(crate) passed: bool,
    /// How long it took after each kill of a leader until a write went on, where that was measured.
    pub(crate) waits: Vec<Duration>,
}

/// Runs, and prints as it goes. Logs and notes are kept when something did not hold.
///
/// # Errors
/// When the folder for them cannot be made, or a name is none of a fault.
#[expect(clippy::print_stdout, reason = "the report is this command's result")]
pub(crate) async fn run(store: Store, options: Options) -> Result<ExitCode> {
    let seed = options.seed.unwrap_or_else(rand::random);
    println!(
        "seed {seed} (repeat with: cargo xtask e2e {} --faults {} --secs {} --seed {seed})",
        store.name(),
        options.faults,
        options.secs
    );
    let root = tempfile::Builder::new().prefix("photon-e2e-").tempdir()?;
    let passed = store.play(&options, seed, root.path(), &mut |line| println!("{line}")).await?;
    if !passed {
        println!("logs and notes are kept in {}", root.keep().display());
    }
    println!("{}", if passed { "PASS" } else { "FAIL" });
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs in a folder that is there, and says what happens as it does; returns whether everything held.
///
/// # Errors
/// When the cluster cannot be started, or a name is none of a fault.
async fn play<S: Subject>(
    options: &Options,
    seed: u64,
    folder: &Path,
    say: &mut dyn FnMut(&str),
) -> Result<bool> {
    let faults = options.chosen::<S>()?;
    let mut arena = arena::<S>(folder, seed).await?;
    arena.long = options.secs >= LONG_S;
    let mut tally = Tally::default();
    let outcome = tally.break_things(&mut arena, &faults, Duration::from_secs(options.secs), say).await;
    let broken = judged(&mut arena, outcome, say).await?;
    say(&tally.words(&faults));
    broken.iter().for_each(|violation| say(&format!("  BROKEN {violation}")));
    Ok(broken.is_empty())
}

/// Kills the leader so often, and notes how long it took each time until a write went on.
async fn kill_leaders<S: Subject>(kills: usize, seed: u64, folder: &Path, report: &mut Report) -> Result<()> {
    let mut arena = arena::<S>(folder, seed).await?;
    let (waits, lines) = (&mut report.waits, &mut report.lines);
    let outcome = async {
        for _ in 0..kills {
            let between = arena.random.random_range(REQUESTS_BETWEEN_KILLS);
            arena.load.goes_on(between).await?;
            waits.push(arena.lose_leader().await?);
        }
        Ok(())
    };
    let outcome = outcome.await;
    let broken = judged(&mut arena, outcome, &mut |line| lines.push(line.to_owned())).await?;
    report.passed = broken.is_empty();
    report.lines.extend(broken);
    Ok(())
}

/// A cluster in a folder, and clients at work.
async fn arena<S: Subject>(folder: &Path, seed: u64) -> Result<Arena<S>> {
    let cluster = Cluster::<S>::start(folder, Disks::Small).await?;
    S::furnish(&cluster).await?;
    let load = S::Load::start(&cluster, seed)?;
    Ok(Arena { cluster, load, random: StdRng::seed_from_u64(seed), long: false })
}

/// What does not hold after all that was done to the cluster.
async fn judged<S: Subject>(
    arena: &mut Arena<S>,
    outcome: Result<()>,
    say: &mut dyn FnMut(&str),
) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    if let Err(error) = outcome {
        say(&format!("  BROKEN {error:#}"));
        broken.push(format!("{error:#}"));
        // What clients saw is looked at all the same, which takes all nodes.
        arena.cluster.revive()?;
    }
    match S::judge(arena).await {
        Ok(verdict) => {
            verdict.lines.iter().for_each(|line| say(line));
            broken.extend(verdict.violations);
        }
        Err(error) => broken.push(format!("nothing can be said of the history: {error:#}")),
    }
    if !broken.is_empty() {
        arena.cluster.keep_logs();
    }
    Ok(broken)
}

/// The faults that were proved.
#[derive(Debug, Default)]
struct Tally {
    proved: Vec<Fault>,
}

impl Tally {
    /// One fault after the other, in rounds of all of them, until the time is over and each has been.
    async fn break_things<S: Subject>(
        &mut self,
        arena: &mut Arena<S>,
        faults: &[Fault],
        time: Duration,
        say: &mut dyn FnMut(&str),
    ) -> Result<()> {
        arena.load.goes_on(100).await.context("the load did not begin")?;
        if faults.is_empty() {
            tokio::time::sleep(time).await;
            return Ok(());
        }
        let long = arena.long;
        let started = Instant::now();
        let mut round = faults.to_vec();
        loop {
            round.shuffle(&mut arena.random);
            for &fault in &round {
                if started.elapsed() >= time && self.has_all(faults) {
                    return Ok(());
                }
                if started.elapsed() >= time && self.proved.contains(&fault) {
                    continue;
                }
                // Once at full length, then again and again.
                arena.long = long && !self.proved.contains(&fault);
                let at_s = started.elapsed().as_secs_f64();
                let proof = arena.suffer(fault).await;
                let name = name_of(fault);
                let proof = proof.with_context(|| format!("{name}, {at_s:.1} s after the start"))?;
                self.proved.push(fault);
                say(&format!("{at_s:7.1} s  {name:17} {}\n{:28}{}", proof.what, "", proof.effect));
            }
        }
    }

    fn has_all(&self, faults: &[Fault]) -> bool {
        faults.iter().all(|fault| self.proved.contains(fault))
    }

    fn words(&self, faults: &[Fault]) -> String {
        let mut words = format!("{} faults proved:", self.proved.len());
        for &fault in faults {
            let times = self.proved.iter().filter(|&&proved| proved == fault).count();
            let _infallible = write!(words, " {} {times}×", name_of(fault));
        }
        words
    }
}

/// What is done to a cluster that has a network of its own.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Faults, and checks of what clients saw.
    Faults(Store, Options),
    /// ChainFire's leader is killed so often.
    LeaderKills(usize),
    /// A dead node is replaced in a cluster that holds so many records of 4 KiB.
    Replacement {
        /// How many.
        records: u64,
    },
}

/// Does it in a thread with namespaces of its own, for callers that live in the machine's.
pub(crate) fn apart(work: Work, seed: u64, folder: PathBuf) -> Apart<Report> {
    Apart::start(move || async move {
        let mut report = Report::default();
        work.done(seed, &folder, &mut report).await?;
        Ok(report)
    })
}

impl Work {
    async fn done(&self, seed: u64, folder: &Path, report: &mut Report) -> Result<()> {
        let Report { lines, passed, .. } = report;
        let mut say = |line: &str| lines.push(line.to_owned());
        match self {
            Self::Faults(store, options) => *passed = store.play(options, seed, folder, &mut say).await?,
            Self::Replacement { records } => {
                flaredb::replace::play(folder, *records, &mut say).await?;
                *passed = true;
            }
            Self::LeaderKills(kills) => {
                kill_leaders::<V3<Chainfire>>(*kills, seed, folder, report).await?;
            }
        }
        Ok(())
    }
}

impl Store {
    async fn play(
        self,
        options: &Options,
        seed: u64,
        folder: &Path,
        say: &mut dyn FnMut(&str),
    ) -> Result<bool> {
        match self {
            Self::Flaredb => play::<Flaredb>(options, seed, folder, say).await,
            Self::Chainfire => play::<V3<Chainfire>>(options, seed, folder, say).await,
            Self::Etcd => play::<V3<Etcd>>(options, seed, folder, say).await,
        }
    }

    /// The words after `cargo xtask e2e` that choose it.
    fn name(self) -> &'static str {
        match self {
            Self::Flaredb => Flaredb::NAME,
            Self::Chainfire => V3::<Chainfire>::NAME,
            Self::Etcd => V3::<Etcd>::NAME,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_chosen_by_name_and_unknown_ones_are_refused() {
        let chosen = |faults: &str| Options::short(faults, 1, 1).chosen::<Flaredb>();
        assert_eq!(chosen("kill-leader, one-way").unwrap(), [Fault::KillLeader, Fault::OneWay]);
        assert_eq!(chosen("all").unwrap().len(), Flaredb::FAULTS.len());
        assert!(chosen("kill-leeder").unwrap_err().to_string().contains("kill-leader"));
    }
}
