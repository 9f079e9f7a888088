//! The CPU time that processes of a test have used; the processes themselves are those of `cargo xtask up`.

use std::fs;

use anyhow::{Context as _, Result};
use nix::unistd::{SysconfVar, sysconf};
pub(crate) use xtask::process::{Process, where_it_is_from};

/// CPU seconds, user and system, that the processes and their children have used so far.
///
/// # Errors
/// When one of them is gone.
pub(crate) fn cpu_s<'a>(processes: impl IntoIterator<Item = &'a Process>) -> Result<f64> {
    let ticks_per_s = sysconf(SysconfVar::CLK_TCK)?.context("the kernel does not say how long a tick is")?;
    let mut ticks = 0;
    for process in processes {
        ticks += ticks_of(process.pid())?;
    }
    #[expect(clippy::cast_precision_loss, reason = "a figure for a table")]
    Ok(ticks as f64 / ticks_per_s as f64)
}

fn ticks_of(pid: u32) -> Result<u64> {
    let stat =
        fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} is gone"))?;
    // The name, in parentheses, may hold anything; utime and stime are the 14th and 15th field of all.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/PID/stat has no name")?;
    let fields: Vec<_> = fields.split(' ').collect();
    let field = |number: usize| fields.get(number).and_then(|text| text.parse::<u64>().ok());
    let own = field(11).zip(field(12)).context("/proc/PID/stat has too few fields")?;
    let mut ticks = own.0 + own.1;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace() {
        ticks += ticks_of(child.parse()?)?;
    }
    Ok(ticks)
}
