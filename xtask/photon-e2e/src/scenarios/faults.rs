//! The short form of `photon-e2e run flaredb`: some faults, all checks.

use anyhow::{Result, ensure};

use super::{Run, say};
use crate::faults::{Apart, Options};

const FAULTS: &str =
    "kill-leader,pause-leader,isolate-leader,one-way,disk-full-one,foreign-node,eventual-cut";
const SECONDS: u64 = 25;

/// Every fault takes effect, and the checks accept what clients saw meanwhile.
pub(super) async fn flaredb_keeps_its_promises_under_faults(run: Run) -> Result<()> {
    let options = Options::short(FAULTS, SECONDS, run.seed);
    let report = Apart::start(options, run.seed, run.folder).report().await?;
    report.lines.iter().for_each(|line| say(line));
    ensure!(report.passed, "a promise was broken");
    Ok(())
}
