//! The short form of `photon-e2e run flaredb`: some faults, all checks. And a dead node that is replaced.

use anyhow::{Result, ensure};

use super::{Run, say};
use crate::faults::{Apart, Options, Work};

const FAULTS: &str =
    "kill-leader,pause-leader,isolate-leader,one-way,disk-full-one,foreign-node,eventual-cut";
const SECONDS: u64 = 25;

/// Every fault takes effect, and the checks accept what clients saw meanwhile.
pub(super) async fn flaredb_keeps_its_promises_under_faults(run: Run) -> Result<()> {
    let options = Options::short(FAULTS, SECONDS, run.seed);
    let report = Apart::start(Work::Faults(options), run.seed, run.folder).report().await?;
    report.lines.iter().for_each(|line| say(line));
    ensure!(report.passed, "a promise was broken");
    Ok(())
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
    let report = Apart::start(Work::Replacement { records }, run.seed, run.folder).report().await?;
    report.lines.iter().for_each(|line| say(line));
    Ok(())
}
