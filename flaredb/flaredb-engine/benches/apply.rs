//! What it costs to apply writes, flushes and compactions that follow included, and to read a record: CPU time of the
//! process for each.
//!
//! Puts of 256 bytes over 100,000 keys of 64 bytes, after each of them was written once; 200,000 puts are kept as
//! history and 64 MiB of entries are flushed at once, as a server does. `cargo bench -p flaredb-engine -- PUTS` makes
//! another number of puts than the 500,000 of each line.

#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]

use std::{collections::VecDeque, error::Error, fs, thread::JoinHandle, time::Instant};

use bytes::Bytes;
use flaredb_engine::{Applied, Engine, EngineError, Entry, NamespaceId, Options, Region, RegionId};
use flaredb_proto::v1::{
    CasCommit, CompactHistory, CreateNamespaceRequest, FlareRequest, NamespaceMode, Write,
    flare_request::Command, write::Op,
};
use prost::Message as _;

/// As in the server.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KEYS: u64 = 100_000;
const VALUE_BYTES: usize = 256;
const FLUSHED_BYTES: usize = 64 << 20;
const HISTORY_PUTS: u64 = 200_000;
/// History is forgotten after so many puts.
const FORGET_EVERY_PUTS: u64 = 20_000;
/// The kernel counts CPU time in these.
const TICKS_PER_S: f64 = 100.0;

type Outcome<T> = Result<T, Box<dyn Error>>;

/// How puts come: so many entries are applied at once, each of which puts so many keys.
#[derive(Clone, Copy)]
struct Shape {
    entries: u64,
    puts: u64,
}

struct Load {
    region: Region,
    index: u64,
    random: u64,
    unflushed_bytes: usize,
    flush: Option<JoinHandle<Result<u64, EngineError>>>,
    /// For revisions that are retained: the number, and how many puts had been made.
    revisions: VecDeque<(u64, u64)>,
    revision: u64,
    puts: u64,
}

fn main() -> Outcome<()> {
    let puts = std::env::args().find_map(|word| word.parse().ok()).unwrap_or(500_000);
    println!("{:>7}  {:>5}  {:>10}  {:>10}  {:>10}", "ENTRIES", "PUTS", "CPU US/PUT", "US/PUT", "CPU US/GET");
    for (entries, batch) in [(1, 1), (32, 1), (1, 32), (4, 32), (1024, 1)] {
        let folder = tempfile::tempdir()?;
        let mut load = Load::open(&folder)?;
        let put = load.put(Shape { entries, puts: batch }, puts)?;
        let get = load.get(puts)?;
        println!("{entries:>7}  {batch:>5}  {:>10.2}  {:>10.2}  {:>10.2}", put.cpu_us, put.us, get.cpu_us);
    }
    Ok(())
}

/// What each operation took.
struct Cost {
    cpu_us: f64,
    us: f64,
}

/// What each of the operations took that `work` counts.
fn measure(work: impl FnOnce() -> Outcome<u64>) -> Outcome<Cost> {
    let (before, start) = (cpu_s()?, Instant::now());
    let each = 1e6 / work()? as f64;
    Ok(Cost { cpu_us: (cpu_s()? - before) * each, us: start.elapsed().as_secs_f64() * each })
}

impl Load {
    fn open(folder: &tempfile::TempDir) -> Outcome<Self> {
        let region = Engine::open(folder.path(), Options::default())?.region(RegionId(1))?;
        let create = CreateNamespaceRequest {
            name: "bench".to_owned(),
            mode: NamespaceMode::Strong.into(),
            ..Default::default()
        };
        let mut load = Self {
            region,
            index: 0,
            random: 0x9e37_79b9_7f4a_7c15,
            unflushed_bytes: 0,
            flush: None,
            revisions: VecDeque::new(),
            revision: 0,
            puts: 0,
        };
        load.apply(&[(0, encode(Command::CreateNamespace(create)))])?;
        for first in (0..KEYS).step_by(1_000) {
            let keys: Vec<u64> = (first..first + 1_000).collect();
            load.apply(&[commit(&keys, 0)])?;
        }
        load.region.flush()?;
        Ok(load)
    }

    /// Applies commands, each with the number of its puts.
    fn apply(&mut self, commands: &[(u64, Bytes)]) -> Outcome<()> {
        let entries: Vec<_> = (self.index + 1..)
            .zip(commands)
            .map(|(index, (_, command))| Entry { index, command: Some(command) })
            .collect();
        self.index += entries.len() as u64;
        self.region.apply(&entries, Applied { index: self.index, host: Bytes::new() })?;
        for (puts, command) in commands {
            self.puts += puts;
            self.revision += u64::from(*puts > 0);
            self.unflushed_bytes += command.len();
        }
        if self.unflushed_bytes >= FLUSHED_BYTES {
            self.unflushed_bytes = 0;
            self.flushed()?;
            let region = self.region.clone();
            self.flush = Some(std::thread::spawn(move || region.flush()));
        }
        Ok(())
    }

    /// Waits for the flush that is under way.
    fn flushed(&mut self) -> Outcome<()> {
        if let Some(flush) = self.flush.take() {
            flush.join().map_err(|_panicked| "a flush panicked")??;
        }
        Ok(())
    }

    fn put(&mut self, shape: Shape, puts: u64) -> Outcome<Cost> {
        measure(|| {
            let first = self.puts;
            while self.puts < first + puts {
                let commands: Vec<_> = (0..shape.entries).map(|_| self.command(shape.puts)).collect();
                self.apply(&commands)?;
                self.forget()?;
            }
            self.flushed()?;
            self.region.flush()?;
            Ok(self.puts - first)
        })
    }

    fn get(&mut self, gets: u64) -> Outcome<Cost> {
        measure(|| {
            for _ in 0..gets {
                let key = name(self.key());
                self.region.get(NamespaceId(1), &key)?.0.ok_or("a record is lost")?;
            }
            Ok(gets)
        })
    }

    /// Puts random keys.
    fn command(&mut self, puts: u64) -> (u64, Bytes) {
        let keys: Vec<_> = (0..puts).map(|_| self.key()).collect();
        commit(&keys, self.random)
    }

    fn key(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % KEYS
    }

    fn forget(&mut self) -> Outcome<()> {
        if self.revisions.back().is_none_or(|(_, puts)| puts + FORGET_EVERY_PUTS <= self.puts) {
            self.revisions.push_back((self.revision, self.puts));
        }
        let old = |(_, puts): &(u64, u64)| puts + HISTORY_PUTS < self.puts;
        let Some((revision, _)) = self.revisions.pop_front_if(|noted| old(noted)) else { return Ok(()) };
        loop {
            self.apply(&[(
                0,
                encode(Command::CompactHistory(CompactHistory { namespace_id: 1, revision })),
            )])?;
            if self.region.namespace("bench").is_some_and(|info| info.oldest_revision > revision) {
                return Ok(());
            }
        }
    }
}

fn commit(keys: &[u64], seed: u64) -> (u64, Bytes) {
    let mut sorted: Vec<_> = keys.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let writes: Vec<_> =
        sorted.iter().map(|key| Write { key: name(*key), op: Some(Op::Put(value(*key ^ seed))) }).collect();
    let puts = writes.len() as u64;
    (puts, encode(Command::CasCommit(CasCommit { namespace_id: 1, writes, ..Default::default() })))
}

fn name(key: u64) -> Bytes {
    // Spread, as keys of people are not written in their order.
    format!("/bench/{:016x}/{key:040}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into()
}

/// Half of it repeats, as text does.
fn value(mut seed: u64) -> Bytes {
    let mut value = vec![b'v'; VALUE_BYTES];
    for word in value[..VALUE_BYTES / 2].chunks_exact_mut(8) {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        word.copy_from_slice(&seed.to_le_bytes());
    }
    value.into()
}

fn encode(command: Command) -> Bytes {
    FlareRequest { command: Some(command) }.encode_to_vec().into()
}

/// CPU time of this process, in and outside of the kernel.
fn cpu_s() -> Outcome<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| {
        fields
            .get(at)
            .ok_or("a line of /proc/self/stat that is short")?
            .parse::<f64>()
            .map_err(Box::<dyn Error>::from)
    };
    Ok((ticks(11)? + ticks(12)?) / TICKS_PER_S)
}
