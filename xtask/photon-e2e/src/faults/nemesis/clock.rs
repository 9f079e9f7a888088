//! A wall clock that jumps by an hour while the node runs, forward or back, and back again; the monotonic clock, by
//! which everything is timed that must be right, does not. By libfaketime, which the dynamic linker puts before libc.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use rand::RngExt as _;

use super::{Arena, Proof};
use crate::wait::wait_for;

const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];
const HOUR_MS: u64 = 3_600_000;
/// How far the node's clock may be from where it was put.
const TOLERANCE_MS: u64 = 60_000;
const TRANSFERRED_AT_MOST: Duration = Duration::from_secs(15);
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

impl Arena {
    pub(super) async fn clock(&mut self) -> Result<Proof> {
        let victim = self.any_member()?;
        let file = self.cluster.plan().file("clock");
        set(&file, "+0")?;
        self.cluster.stop(victim)?;
        self.cluster.run(victim, &preloaded(&file)?)?;
        self.cluster.ready().await?;
        let leads = self.random.random_bool(0.7);
        if leads {
            self.make_leader(victim).await?;
        }
        let (sign, offset) =
            if self.random.random_bool(0.5) { ("ahead", "+3600") } else { ("behind", "-3600") };
        let (before, length) = (self.load.recorder().totals(), self.length(2_500, 5_000));
        set(&file, offset)?;
        let off_ms = self.clock_difference_ms(victim).await?;
        ensure!(off_ms.abs_diff(HOUR_MS) < TOLERANCE_MS, "the clock is {off_ms} ms off");
        self.last(length).await;
        set(&file, "+0")?;
        let back_ms = self.clock_difference_ms(victim).await?;
        ensure!(back_ms < TOLERANCE_MS, "the clock is still {back_ms} ms off");
        let after = self.load.recorder().totals();
        self.cluster.stop(victim)?;
        self.cluster.run(victim, &[])?;
        let role = if leads { "the leader's clock" } else { "a node's clock" };
        Ok(Proof {
            what: format!(
                "{role} ({}) told a time {} s {sign}, for {} ms",
                self.name(victim),
                off_ms / 1000,
                length.as_millis()
            ),
            effect: format!(
                "{} writes acknowledged meanwhile, {} requests refused or unanswered",
                after.0 - before.0,
                after.1 - before.1
            ),
        })
    }

    async fn make_leader(&mut self, slot: usize) -> Result<()> {
        let id = self.cluster.id(slot)?;
        let admin = self.cluster.admin()?;
        wait_for("leadership to move", TRANSFERRED_AT_MOST, async || {
            if self.cluster.region(slot).await.is_ok_and(|region| region.role == "leader") {
                return Some(());
            }
            let moved = admin.cluster().transfer_leader(id).await;
            moved.inspect_err(|error| tracing::debug!(%error, "leadership does not move yet")).ok().map(drop)
        })
        .await
    }

    /// By how much the node's clock differs from this process's, by its own word.
    async fn clock_difference_ms(&self, slot: usize) -> Result<u64> {
        let examined = self.cluster.client(&[slot], ASK_TIMEOUT)?.maintenance().examine().await?;
        let here = u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?;
        Ok(examined.clock_ms.abs_diff(here))
    }
}

/// The words that start a command with a clock that the file puts forward or back.
fn preloaded(file: &Path) -> Result<Vec<String>> {
    let library = LIBRARIES.iter().find(|library| Path::new(library).exists());
    let library = library.context("libfaketime is not installed; cargo xtask setup does that")?;
    Ok(vec![
        "env".to_owned(),
        format!("LD_PRELOAD={library}"),
        format!("FAKETIME_TIMESTAMP_FILE={}", file.display()),
        "DONT_FAKE_MONOTONIC=1".to_owned(),
        "FAKETIME_NO_CACHE=1".to_owned(),
    ])
}

/// Replaces the file at once, so that no reader meets half of it.
fn set(file: &PathBuf, offset: &str) -> Result<()> {
    let new = file.with_extension("new");
    fs::write(&new, format!("{offset}\n"))?;
    Ok(fs::rename(new, file)?)
}
