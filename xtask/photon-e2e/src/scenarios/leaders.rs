//! The leader killed again and again under many writers: how long until writes go on, and whether any is lost.

use std::time::Duration;

use anyhow::{Result, ensure};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

use super::{Run, say, writers::Writers};
use crate::cloud::{Cloud, Layout};

const NODES: usize = 3;
const WRITERS: u64 = 64;
/// How often a leader is killed.
pub(super) const KILLS: usize = 20;
/// Acknowledged writes between two kills.
const WRITES_BETWEEN: std::ops::Range<u64> = 300..900;
/// What a build without optimization on a busy machine may take; the aim is told beside the figure.
const RESUMED_AT_MOST: Duration = Duration::from_secs(3);
const AIM: Duration = Duration::from_secs(1);
/// History reaches back to the first write.
const STORAGE: &str = "\n[storage]\nhistory_revisions_max = 10000000\n";

/// Every acknowledged write is there afterwards, once, and revisions never went back.
pub(super) async fn no_write_is_lost_when_the_leader_is_killed_twenty_times_under_64_writers(
    run: Run,
) -> Result<()> {
    let layout = Layout { nodes: NODES, dns: false, storage: STORAGE, ..Layout::default() };
    let mut cloud = Cloud::start(&run.folder, layout).await?;
    let writers = Writers::start(&cloud, WRITERS, run.seed).await?;
    let mut random = StdRng::seed_from_u64(run.seed);
    let mut waits = Vec::new();
    for _ in 0..KILLS {
        writers.run_on(random.random_range(WRITES_BETWEEN)).await?;
        let leader = cloud.leader().await?;
        cloud.kill_9(leader)?;
        waits.push(writers.resumed().await?);
        cloud.restart(leader).await?;
    }
    writers.every_write_is_there_once(&cloud).await?;
    resumed_in_time(waits, &format!("{WRITERS} writers"), AIM)
}

/// Says how long it took after each kill until a write went on; `aim` is what a release on a machine of its own is to
/// take.
///
/// # Errors
/// When it took too long for any machine.
pub(super) fn resumed_in_time(mut waits: Vec<Duration>, writers: &str, aim: Duration) -> Result<()> {
    waits.sort();
    say(&figures(&waits, writers, aim));
    let slowest = waits.last().copied().unwrap_or_default();
    ensure!(slowest <= RESUMED_AT_MOST, "writes resumed only after {} ms", slowest.as_millis());
    Ok(())
}

/// Of so few kills, the slowest is the 99th percentile.
fn figures(sorted: &[Duration], writers: &str, aim: Duration) -> String {
    let at = |part: usize| sorted.get((sorted.len() * part / 100).min(sorted.len().saturating_sub(1)));
    let ms = |part| at(part).copied().unwrap_or_default().as_millis();
    format!(
        "{} leaders killed under {writers}; first new write acknowledged after: p50 {} ms, p99 {} ms (aim: {} ms)",
        sorted.len(),
        ms(50),
        ms(99),
        aim.as_millis()
    )
}
