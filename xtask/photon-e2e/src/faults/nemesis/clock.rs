//! A wall clock that jumps by an hour while the node runs, forward or back, and back again; the monotonic clock, by
//! which everything is timed that must be right, does not. By `clock.c`, which the dynamic linker puts before libc.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Result, ensure};
use rand::RngExt as _;

use super::{Arena, Proof};
use crate::{
    faults::{
        network::output,
        subject::{Load as _, Role, Subject},
    },
    wait::wait_for,
};

const SOURCE: &str = include_str!("clock.c");
const HOUR_MS: u64 = 3_600_000;
const HOUR_NS: i64 = 3_600_000_000_000;
/// How far the node's clock may be from where it was put.
const TOLERANCE_MS: u64 = 60_000;
const ASKED_AT_MOST: Duration = Duration::from_secs(5);
const TRANSFERRED_AT_MOST: Duration = Duration::from_secs(15);

impl<S: Subject> Arena<S> {
    pub(super) async fn clock(&mut self) -> Result<Proof> {
        let victim = self.any_member()?;
        let clock = Clock::make(&self.cluster.folders().file("clock"))?;
        self.cluster.stop(victim)?;
        self.cluster.run(victim, &clock.wrapper)?;
        self.cluster.ready().await?;
        let leads = self.random.random_bool(0.7);
        if leads {
            self.make_leader(victim).await?;
        }
        let (sign, offset) =
            if self.random.random_bool(0.5) { ("ahead", HOUR_NS) } else { ("behind", -HOUR_NS) };
        let (before, length) = (self.load.recorder().totals(), self.length(2_500, 5_000));
        clock.set(offset)?;
        let off_ms = self.clock_difference_ms(victim, &clock, HOUR_MS).await?;
        ensure!(off_ms.abs_diff(HOUR_MS) < TOLERANCE_MS, "the clock is {off_ms} ms off");
        self.last(length).await;
        clock.set(0)?;
        let back_ms = self.clock_difference_ms(victim, &clock, 0).await?;
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
        wait_for("leadership to move", TRANSFERRED_AT_MOST, async || {
            if self.cluster.standing(slot).await.is_ok_and(|standing| standing.role == Role::Leader) {
                return Some(());
            }
            let moved = S::hand_over(&self.cluster, slot).await;
            moved.inspect_err(|error| tracing::debug!(%error, "leadership does not move yet")).ok()
        })
        .await
    }

    /// By how much the node's clock differs from this process's: by its own word, or, of a node that does not say, by
    /// what it was told when it asked.
    async fn clock_difference_ms(&self, slot: usize, clock: &Clock, expected_ms: u64) -> Result<u64> {
        if let Some(there_ms) = S::clock_ms(&self.cluster, slot).await? {
            return Ok(there_ms.abs_diff(now_ms()?));
        }
        wait_for("the node to ask for the time", ASKED_AT_MOST, async || {
            let off_ms = clock.told_ms().ok()?.abs_diff(now_ms().ok()?);
            (off_ms.abs_diff(expected_ms) < TOLERANCE_MS).then_some(off_ms)
        })
        .await
    }
}

/// What this process's clock tells, in milliseconds since 1970.
fn now_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// A clock that can be put forward and back.
struct Clock {
    /// How many nanoseconds it is off, and what it told last; 8 bytes each.
    file: File,
    /// The words that start a command by this clock.
    wrapper: Vec<String>,
}

impl Clock {
    /// One that is right, with its files beside `path`.
    fn make(path: &Path) -> Result<Self> {
        let (source, library) = (path.with_extension("c"), path.with_extension("so"));
        fs::write(&source, SOURCE)?;
        let (input, made) = (source.display().to_string(), library.display().to_string());
        output("cc", &["-O1", "-fPIC", "-shared", "-o", &made, &input])?;
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path)?;
        file.set_len(16)?;
        let preload = format!("LD_PRELOAD={made}");
        let wrapper = vec!["env".to_owned(), preload, format!("PHOTON_CLOCK={}", path.display())];
        let clock = Self { file, wrapper };
        clock.set(0)?;
        Ok(clock)
    }

    /// Puts it so many nanoseconds off, at once.
    fn set(&self, offset_ns: i64) -> Result<()> {
        Ok(self.file.write_all_at(&offset_ns.to_ne_bytes(), 0)?)
    }

    /// What it told last, in milliseconds since 1970; 0: nothing yet.
    fn told_ms(&self) -> Result<u64> {
        let mut told = [0; 8];
        self.file.read_exact_at(&mut told, 8)?;
        Ok(u64::try_from(i64::from_ne_bytes(told))? / 1_000_000)
    }
}
