//! The power is cut after any byte that the log has written, and the log is opened again.
//!
//! A node works for a while on a disk that records. Then, for each of many points of that recording, a disk is made as a
//! power cut there leaves it, and a node is started on it: it must start, and every entry that was acknowledged before
//! must be there.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use flaredb_raft::{
    Applied, CheckpointConfig, CommandEntry, EntrySummary, FatalHook, Group, LogConfig, LogSummary, Node,
    NodeConfig, Role, SnapshotChunk, SnapshotReader, SnapshotWriter, StateMachine,
    simulation::{self, SimulatedDisk},
};
use tokio::runtime::Runtime;

use crate::{
    dice::Dice,
    disk::{Content, Disk},
    entropy,
    recording::{Recording, Step, Steps},
    run::scratch,
};

/// Commands that the recorded node takes.
const COMMANDS: u64 = 3_000;
const WRITERS: u64 = 8;

/// What came of it.
#[derive(Debug)]
pub(crate) struct Cuts {
    pub(crate) points: usize,
    pub(crate) steps: usize,
    pub(crate) syncs: usize,
    pub(crate) acknowledged: usize,
    pub(crate) findings: Vec<String>,
}

/// Records once and cuts the power at so many points.
pub(crate) fn run(points: u64, seed: u64, jobs: usize) -> Result<Cuts> {
    let steps = std::thread::spawn(move || record(seed))
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let mut dice = Dice::new(seed);
    let mut at: Vec<usize> = (0..points).map(|_| dice.index(steps.len())).collect();
    at.sort_unstable();
    let findings: Mutex<Vec<String>> = Mutex::default();
    let part = at.len().div_ceil(jobs.max(1)).max(1);
    std::thread::scope(|scope| {
        let workers: Vec<_> = at
            .chunks(part)
            .map(|points| {
                let (steps, findings, dice) = (&steps, &findings, dice.fork());
                scope.spawn(move || cut_at(steps, points, dice, findings))
            })
            .collect();
        workers
            .into_iter()
            .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    let count = |is: fn(&Step) -> bool| steps.iter().filter(|step| is(step)).count();
    Ok(Cuts {
        points: at.len(),
        steps: steps.len(),
        syncs: count(|step| matches!(step, Step::Sync { .. })),
        acknowledged: count(|step| matches!(step, Step::Acknowledged(_))),
        findings: findings.into_inner().unwrap_or_else(PoisonError::into_inner),
    })
}

/// A state machine that holds no more than its position: what is tested is the log.
struct Position {
    applied: Mutex<Applied>,
    flushed: Mutex<Applied>,
    steps: Steps,
}

impl Position {
    fn new(at: Applied, steps: Steps) -> Self {
        Self { applied: Mutex::new(at.clone()), flushed: Mutex::new(at), steps }
    }

    fn get(of: &Mutex<Applied>) -> Applied {
        of.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl StateMachine for Position {
    fn applied(&self) -> io::Result<Applied> {
        Ok(Self::get(&self.applied))
    }

    fn apply(&self, entries: Vec<CommandEntry>, applied: Applied) -> io::Result<Vec<Bytes>> {
        *self.applied.lock().unwrap_or_else(PoisonError::into_inner) = applied;
        Ok(entries.iter().map(|entry| Bytes::copy_from_slice(&entry.index.to_be_bytes())).collect())
    }

    fn flush(&self) -> io::Result<u64> {
        let applied = Self::get(&self.applied);
        *self.flushed.lock().unwrap_or_else(PoisonError::into_inner) = applied.clone();
        self.steps.push(Step::Flushed(applied.clone()));
        Ok(applied.index)
    }

    fn flushed_index(&self) -> u64 {
        Self::get(&self.flushed).index
    }

    fn snapshot(&self) -> io::Result<Box<dyn SnapshotReader>> {
        Ok(Box::new(View(Self::get(&self.applied))))
    }

    fn install(&self) -> io::Result<Box<dyn SnapshotWriter>> {
        Err(io::Error::other("a single node gets no snapshot"))
    }
}

struct View(Applied);

impl SnapshotReader for View {
    fn applied(&self) -> Applied {
        self.0.clone()
    }

    fn read(&self, _cursor: &[u8], _bytes_max: usize) -> io::Result<SnapshotChunk> {
        Ok(SnapshotChunk::default())
    }
}

fn config(dir: &Path, disk: Arc<dyn SimulatedDisk>) -> NodeConfig {
    NodeConfig {
        log: LogConfig {
            segment_bytes: 32 << 10,
            retained_bytes: 128 << 10,
            prefill_bytes: 0,
            cache_bytes_max: 16 << 10,
        },
        checkpoint: CheckpointConfig {
            log_bytes: 64 << 10,
            interval: Duration::from_secs(1),
            entries_kept: 20,
        },
        // What follows a fatal error is a failed start or a failed write, which is seen.
        fatal: FatalHook::new(|_error| {}),
        simulated: Some(disk),
        ..NodeConfig::new("power", 1, dir)
    }
}

fn runtime() -> Result<Runtime> {
    simulation::block_inline();
    Ok(tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()?)
}

/// A node works; returns what was done to its disk.
fn record(seed: u64) -> Result<Vec<Step>> {
    entropy::seed(seed);
    let runtime = runtime()?;
    let dir = tempfile::tempdir_in(scratch())?;
    let (steps, mut dice) = (Steps::default(), Dice::new(seed));
    let disk = Arc::new(Recording::new(Disk::new(dice.fork()).mount(), steps.clone()));
    runtime.block_on(async {
        let node = Node::open(config(dir.path(), disk)).await?;
        let position = Position::new(Applied::default(), steps.clone());
        let group = node.region(1, Arc::new(position)).await?;
        group.initialize([(1, "node-1".to_owned())]).await?;
        let mut leadership = group.watch_leadership();
        leadership.wait_for(|now| now.role == Role::Leader).await?;
        let writers = (0..WRITERS).map(|_| write(&group, &steps, dice.fork()));
        futures::future::try_join_all(writers).await?;
        anyhow::Ok(())
    })?;
    Ok(steps.take())
}

async fn write(group: &Group, steps: &Steps, mut dice: Dice) -> Result<()> {
    for _command in 0..COMMANDS / WRITERS {
        let length = if dice.permille(50) { dice.index(12_000) } else { dice.index(600) };
        let index = group.propose(Bytes::from(vec![7; length])).await?;
        let index = index.first_chunk().map(|index| u64::from_be_bytes(*index)).context("no index")?;
        let log = group.log_summary(index).await?;
        if let Some(entry) = log.entries.first().filter(|entry| entry.index == index) {
            steps.push(Step::Acknowledged(*entry));
        }
        let pause_ms = dice.below(40);
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
    }
    Ok(())
}

/// What is known at a point of the recording.
#[derive(Default)]
struct Known {
    names: BTreeMap<PathBuf, usize>,
    files: BTreeMap<usize, Content>,
    acknowledged: BTreeMap<u64, EntrySummary>,
    flushed: Applied,
}

impl Known {
    fn take(&mut self, step: &Step) {
        match step {
            Step::Create(file, path) => {
                self.names.insert(path.clone(), *file);
                self.files.insert(*file, Content::default());
            }
            Step::Delete(path) => {
                self.names.remove(path).and_then(|file| self.files.remove(&file));
            }
            Step::Rename(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Step::Write { file, offset, bytes } => {
                self.change(*file, |content| content.write(*offset, bytes))
            }
            Step::Truncate { file, length } => self.change(*file, |content| content.truncate(*length)),
            Step::Sync { file } => self.change(*file, Content::sync),
            Step::Acknowledged(entry) => drop(self.acknowledged.insert(entry.index, *entry)),
            Step::Flushed(applied) => self.flushed = applied.clone(),
        }
    }

    fn change(&mut self, file: usize, change: impl FnOnce(&mut Content)) {
        if let Some(content) = self.files.get_mut(&file) {
            change(content);
        }
    }

    /// The files in `dir` as a power cut within the next step leaves them.
    fn cut(&self, next: &Step, dir: &Path, dice: &mut Dice) -> Vec<(PathBuf, Content)> {
        let fate = dice.below(4);
        let survives = |(path, file): (&PathBuf, &usize)| {
            let mut content = self.files.get(file)?.clone();
            if let Step::Write { file: written, offset, bytes } = next
                && written == file
            {
                content.write(*offset, &bytes[..dice.index(bytes.len() + 1)]);
            }
            let content = match fate {
                0 => content.synced(),
                1 => content.after_power_cut(dice),
                _ => content.whole(),
            };
            Some((dir.join(path.file_name()?), content))
        };
        self.names.iter().filter_map(survives).collect()
    }
}

fn cut_at(steps: &[Step], points: &[usize], mut dice: Dice, findings: &Mutex<Vec<String>>) -> Result<()> {
    let (mut known, mut taken) = (Known::default(), 0);
    for &point in points {
        for step in &steps[taken..point] {
            known.take(step);
        }
        taken = point;
        if let Err(error) = check(&known, &steps[point], &mut dice) {
            let mut findings = findings.lock().unwrap_or_else(PoisonError::into_inner);
            findings.push(format!("cut in step {point}: {error:#}"));
        }
    }
    Ok(())
}

fn check(known: &Known, next: &Step, dice: &mut Dice) -> Result<()> {
    let dir = tempfile::tempdir_in(scratch())?;
    let log_dir = dir.path().join("log");
    std::fs::create_dir(&log_dir)?;
    let disk = Disk::with(known.cut(next, &log_dir, dice), dice.fork())?.mount();
    let log = runtime()?.block_on(reopen(dir.path(), disk, known.flushed.clone()))?;
    compare(known, &log)
}

async fn reopen(dir: &Path, disk: Arc<dyn SimulatedDisk>, flushed: Applied) -> Result<LogSummary> {
    let node = Node::open(config(dir, disk)).await?;
    let group = node.region(1, Arc::new(Position::new(flushed, Steps::default()))).await?;
    let log = group.log_summary(1).await?;
    node.shutdown().await;
    Ok(log)
}

fn compare(known: &Known, log: &LogSummary) -> Result<()> {
    if log.purged_index > known.flushed.index {
        bail!(
            "the log is gone up to {}, the state is flushed up to {}",
            log.purged_index,
            known.flushed.index
        );
    }
    let there: BTreeMap<u64, &EntrySummary> = log.entries.iter().map(|entry| (entry.index, entry)).collect();
    for (index, entry) in known.acknowledged.range(log.purged_index + 1..) {
        if there.get(index) != Some(&entry) {
            bail!("entry {index} was acknowledged, and is {:?}", there.get(index));
        }
    }
    Ok(())
}
