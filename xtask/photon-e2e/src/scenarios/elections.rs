//! A machine that is kept busy: leaders that live are not doubted. By name only, because a machine that stands still
//! for longer than an election takes gives cause for one, and nobody can promise that of a machine that is shared.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{JoinHandle, available_parallelism, spawn},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};

use super::{Run, say, writers::Writers};
use crate::cloud::{Cloud, Layout};

const NODES: usize = 3;
const WRITERS: u64 = 16;
/// Loops for each core.
const LOOPS: usize = 2;
const LONG: Duration = Duration::from_secs(600);
const SHORT: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// History reaches back to the first write.
const STORAGE: &str = "\n[storage]\nhistory_revisions_max = 100000000\n";

/// Ten minutes under load and beside busy loops: one leader, one term.
pub(super) async fn nobody_is_elected_without_a_cause_in_ten_minutes(run: Run) -> Result<()> {
    nobody_is_elected(run, LONG).await
}

/// The same for half a minute.
pub(super) async fn nobody_is_elected_without_a_cause_in_half_a_minute(run: Run) -> Result<()> {
    nobody_is_elected(run, SHORT).await
}

async fn nobody_is_elected(run: Run, length: Duration) -> Result<()> {
    let layout = Layout { nodes: NODES, dns: false, storage: STORAGE, ..Layout::default() };
    let cloud = Cloud::start(&run.folder, layout).await?;
    let leader = cloud.leader().await?;
    let writers = Writers::start(&cloud, WRITERS, run.seed).await?;
    writers.run_on(1).await?;
    let busy = Busy::start()?;
    let (started, term) = (Instant::now(), cloud.term().await?);
    let mut looks = 0_u64;
    while started.elapsed() < length {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = cloud.term().await?;
        let at_s = started.elapsed().as_secs_f64();
        ensure!(now == term, "after {at_s:.1} s, term {now} followed term {term} without a cause");
        looks += 1;
    }
    say(&format!(
        "node {leader} led in term {term} for {} s beside {} busy loops on {} cores ({looks} looks)",
        started.elapsed().as_secs(),
        busy.loops.len(),
        busy.loops.len() / LOOPS
    ));
    drop(busy);
    writers.every_write_is_there_once(&cloud).await
}

/// Threads that compute all the time, until the value goes.
struct Busy {
    stop: Arc<AtomicBool>,
    loops: Vec<JoinHandle<()>>,
}

impl Busy {
    fn start() -> Result<Self> {
        let cores = available_parallelism().context("the number of cores is not told")?.get();
        let stop = Arc::new(AtomicBool::new(false));
        let turn = |stop: Arc<AtomicBool>| {
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            }
        };
        let loops = (0..cores * LOOPS).map(|_| spawn(turn(Arc::clone(&stop)))).collect();
        Ok(Self { stop, loops })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for ended in self.loops.drain(..) {
            if ended.join().is_err() {
                tracing::warn!("a busy loop panicked");
            }
        }
    }
}
