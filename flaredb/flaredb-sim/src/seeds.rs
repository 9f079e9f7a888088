//! Plays many seeds, each in a process of its own, so that no two runs share anything.

use std::{
    io::Read as _,
    ops::Range,
    process::{Child, Command, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

use crate::{planted::Bug, run::scratch};

/// A run that takes longer hangs.
const RUN_SECS_MAX: u64 = 120;
const POLL: Duration = Duration::from_millis(5);

/// Which seeds to play, and how.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seeds: Range<u64>,
    pub(crate) bug: Option<Bug>,
    pub(crate) jobs: usize,
    /// Whether one failure is enough.
    pub(crate) first: bool,
}

/// What came of one seed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Played {
    pub(crate) seed: u64,
    pub(crate) findings: Vec<String>,
    /// As in the run's verdict.
    pub(crate) counts: [u64; 7],
}

/// Plays them and hands over each that has ended.
pub(crate) fn play(plan: &Plan, ended: impl Fn(&Played) + Sync) -> Result<Vec<Played>> {
    let (next, enough) = (AtomicU64::new(plan.seeds.start), AtomicBool::new(false));
    let played: Mutex<Vec<Played>> = Mutex::default();
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            while !enough.load(Ordering::Relaxed) {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= plan.seeds.end {
                    break;
                }
                let result = play_one(seed, plan.bug)?;
                ended(&result);
                enough.fetch_or(plan.first && !result.findings.is_empty(), Ordering::Relaxed);
                played.lock().unwrap_or_else(PoisonError::into_inner).push(result);
            }
            Ok(())
        };
        let workers: Vec<_> = (0..plan.jobs).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let mut played = played.into_inner().unwrap_or_else(PoisonError::into_inner);
    played.sort_by_key(|played| played.seed);
    Ok(played)
}

fn play_one(seed: u64, bug: Option<Bug>) -> Result<Played> {
    let mut command = Command::new(std::env::current_exe()?);
    // What the run leaves behind, its threads may still write to.
    let dir = tempfile::tempdir_in(scratch())?;
    command.args(["one", "--seed", &seed.to_string(), "--dir"]).arg(dir.path());
    if let Some(bug) = bug {
        command.args(["--plant", &bug.name()]);
    }
    let child = command.env("RUST_BACKTRACE", "0").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (output, ended) = wait(child)?;
    let mut played = Played { seed, ..Played::default() };
    for line in output.lines() {
        match line.strip_prefix("counts ") {
            Some(counts) => {
                for (count, word) in played.counts.iter_mut().zip(counts.split(' ')) {
                    *count = word.parse().context("a run's counts cannot be read")?;
                }
            }
            None => played.findings.extend(line.strip_prefix("found: ").map(str::to_owned)),
        }
    }
    if !ended && played.findings.is_empty() {
        played.findings.push(format!("it does not end in order: {}", output.trim()));
    }
    Ok(played)
}

/// Waits for a run; returns what it printed, and whether it says itself that all is well.
fn wait(mut child: Child) -> Result<(String, bool)> {
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if began.elapsed() > Duration::from_secs(RUN_SECS_MAX) {
            child.kill()?;
            child.wait()?;
            return Ok((format!("it hangs for {RUN_SECS_MAX} s"), false));
        }
        std::thread::sleep(POLL);
    };
    let mut output = String::new();
    if let Some(mut printed) = child.stdout.take() {
        printed.read_to_string(&mut output)?;
    }
    if let Some(mut printed) = child.stderr.take() {
        printed.read_to_string(&mut output)?;
    }
    Ok((output, status.success()))
}
