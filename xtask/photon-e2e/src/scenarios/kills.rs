//! `kill -9` of the leader, and of everybody, under a load of writers.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Run, say, writers::Writers};
use crate::{
    cloud::{Cloud, Layout},
    dns::{Asker, Query},
};

const NODES: usize = 3;
const WRITERS: u64 = 8;
/// How many writes are acknowledged between two rounds.
const WRITES_BETWEEN: Range<u64> = 100..400;
const LEADER_ROUNDS: u32 = 5;
const ALL_ROUNDS: u32 = 3;
const RESUMED_AT_MOST: Duration = Duration::from_secs(2);
const ZONE: &str = "kills.example.";

/// Every acknowledged write is there afterwards, once; writes resume in 2 s; DNS never stops answering.
pub(super) async fn acknowledged_writes_survive_kills_of_the_leader_and_of_all_nodes(run: Run) -> Result<()> {
    let mut cloud = Cloud::start(&run.folder, Layout { nodes: NODES, ..Layout::default() }).await?;
    cloud.photon(&["dns", "zone", "create", ZONE])?;
    cloud.photon(&["dns", "record", "create", ZONE, "www", "A", "192.0.2.7"])?;
    let writers = Writers::start(&cloud, WRITERS, run.seed).await?;
    let asking = Asking::start(cloud.dns_port());
    let mut random = StdRng::seed_from_u64(run.seed);
    let slowest = kill_leaders(&mut cloud, &writers, &mut random).await?;
    say(&format!("writes resumed after the leader died within {} ms", slowest.as_millis()));
    let slowest = kill_everybody(&mut cloud, &writers, &mut random).await?;
    say(&format!("writes resumed after all nodes were started again within {} ms", slowest.as_millis()));
    let answers = asking.stop().await?;
    say(&format!("DNS answered {answers} times, always"));
    writers.every_write_is_there_once(&cloud).await?;
    cloud.photon(&["dns", "record", "update", ZONE, "www", "A", "192.0.2.8"])?;
    Ok(())
}

/// Returns the longest time until writes went on.
async fn kill_leaders(cloud: &mut Cloud, writers: &Writers, random: &mut StdRng) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for round in 0..LEADER_ROUNDS {
        writers.run_on(random.random_range(WRITES_BETWEEN)).await?;
        let leader = cloud.leader().await?;
        cloud.kill_9(leader)?;
        slowest = slowest.max(resumed(writers, round).await?);
        cloud.restart(leader).await?;
    }
    Ok(slowest)
}

/// Returns the longest time until writes went on, from when the last process was started again.
async fn kill_everybody(cloud: &mut Cloud, writers: &Writers, random: &mut StdRng) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for round in 0..ALL_ROUNDS {
        writers.run_on(random.random_range(WRITES_BETWEEN)).await?;
        for node in 0..NODES {
            cloud.kill_9(node)?;
        }
        for node in 0..NODES {
            cloud.start_node(node)?;
        }
        slowest = slowest.max(resumed(writers, round).await?);
        cloud.ready().await?;
    }
    Ok(slowest)
}

/// How long until writes go on.
///
/// # Errors
/// When it took too long.
async fn resumed(writers: &Writers, round: u32) -> Result<Duration> {
    let waited = writers.resumed().await?;
    ensure!(
        waited <= RESUMED_AT_MOST,
        "in round {round}, writes resumed only after {} ms",
        waited.as_millis()
    );
    Ok(waited)
}

/// Asks FlashDNS all the time; one question without an answer fails the scenario.
struct Asking {
    stop: Arc<AtomicBool>,
    task: tokio::task::JoinHandle<Result<u64>>,
}

impl Asking {
    fn start(port: u16) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let task = tokio::task::spawn_blocking(move || {
            let mut asker = Asker::new(port, Duration::from_secs(1))?;
            let question = Query::new(&format!("www.{ZONE}"), 1);
            let mut answers = 0;
            while !seen.load(Ordering::Relaxed) {
                let answer = asker.ask(&question)?;
                ensure!(answer.ends_with(&[192, 0, 2, 7]), "DNS answered something else: {answer:x?}");
                answers += 1;
                // A question each millisecond is plenty, and leaves the cores to the databases.
                std::thread::sleep(Duration::from_millis(1));
            }
            Ok(answers)
        });
        Self { stop, task }
    }

    async fn stop(self) -> Result<u64> {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await?
    }
}
