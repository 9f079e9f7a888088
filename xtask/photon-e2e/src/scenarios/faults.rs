//! The short form of `photon-e2e run flaredb`: some faults, all checks. A dead node that is replaced, and leaders that
//! are killed.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{
    Run,
    leaders::{KILLS, resumed_in_time},
    say,
};
use crate::faults::{Options, Store, Work, apart};

const FAULTS: &str =
    "kill-leader,pause-leader,isolate-leader,one-way,disk-full-one,foreign-node,eventual-cut";
const HARD_ON_LEASES: &str = "pause-leader,clock";
const SECONDS: u64 = 25;
const CHAINFIRE_AIM: Duration = Duration::from_millis(1_500);

/// Every fault takes effect, and the checks accept what clients saw meanwhile.
pub(super) async fn flaredb_keeps_its_promises_under_faults(run: Run) -> Result<()> {
    promises_are_kept(Store::Flaredb, FAULTS, run).await
}

/// No lease that is renewed is lost, and none that nobody renews is held for long.
pub(super) async fn leases_survive_a_stopped_leader_and_clocks_an_hour_off(run: Run) -> Result<()> {
    promises_are_kept(Store::Chainfire, HARD_ON_LEASES, run).await
}

async fn promises_are_kept(store: Store, faults: &str, run: Run) -> Result<()> {
    let options = Options::short(faults, SECONDS, run.seed);
    let report = apart(Work::Faults(store, options), run.seed, run.folder).outcome().await?;
    report.lines.iter().for_each(|line| say(line));
    ensure!(report.passed, "a promise was broken");
    Ok(())
}

/// Everything that was acknowledged is there afterwards, and clients never saw anything else.
pub(super) async fn no_write_is_lost_when_chainfires_leader_is_killed_twenty_times(run: Run) -> Result<()> {
    let report = apart(Work::LeaderKills(KILLS), run.seed, run.folder).outcome().await?;
    report.lines.iter().for_each(|line| say(line));
    ensure!(report.passed, "a promise was broken");
    resumed_in_time(report.waits, "8 clients", CHAINFIRE_AIM)
}

/// The short form.
pub(super) async fn dead_node_is_replaced_under_load(run: Run) -> Result<()> {
    replace(run, 8 << 10).await
}

/// With 2 GiB of values.
pub(super) async fn dead_node_with_2_gib_is_replaced_under_load(run: Run) -> Result<()> {
    replace(run, 512 << 10).await
}

/// The new node catches up by snapshot and log while clients read and write, and no node takes more memory than it may.
async fn replace(run: Run, records: u64) -> Result<()> {
    let report = apart(Work::Replacement { records }, run.seed, run.folder).outcome().await?;
    report.lines.iter().for_each(|line| say(line));
    Ok(())
}
