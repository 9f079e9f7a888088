//! What processes of a test have used of the machine; the processes themselves are those of `cargo xtask up`.

use std::{fs, os::unix::fs::MetadataExt as _, path::Path};

use anyhow::{Context as _, Result};
use nix::{
    sys::stat::{major, minor},
    unistd::{SysconfVar, sysconf},
};
pub(crate) use xtask::process::{Process, where_it_is_from};

/// The place of the sectors written in a block device's `stat`, and their size whatever the device's own is (the
/// kernel's `Documentation/block/stat.rst`).
const SECTORS_WRITTEN: usize = 6;
const SECTOR_BYTES: u64 = 512;

/// CPU seconds, user and system, that the processes and their children have used so far.
///
/// # Errors
/// When one of them is gone.
pub(crate) fn cpu_s(pids: impl IntoIterator<Item = u32>) -> Result<f64> {
    let ticks_per_s = sysconf(SysconfVar::CLK_TCK)?.context("the kernel does not say how long a tick is")?;
    let mut ticks = 0;
    for pid in pids {
        ticks += ticks_of(pid)?;
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

/// The memory that a process has in RAM now, in bytes.
///
/// # Errors
/// When it is gone.
pub(crate) fn resident_bytes(pid: u32) -> Result<u64> {
    kib(pid, "VmRSS:").map(|kib| kib * 1024)
}

/// The most memory that a process has had in RAM, in bytes, since that was last forgotten.
///
/// # Errors
/// When it is gone.
pub(crate) fn resident_bytes_max(process: &Process) -> Result<u64> {
    kib(process.pid(), "VmHWM:").map(|kib| kib * 1024)
}

/// Makes what a process has in RAM now the most that it has had (proc(5), `clear_refs`).
///
/// # Errors
/// When it is gone, or not ours.
pub(crate) fn forget_resident_bytes_max(process: &Process) -> Result<()> {
    let file = format!("/proc/{}/clear_refs", process.pid());
    fs::write(&file, "5").with_context(|| format!("{file} cannot be written"))
}

/// A number of `/proc/PID/status` (proc(5)).
fn kib(pid: u32, name: &str) -> Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&file).with_context(|| format!("{file} cannot be read"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).and_then(|word| word.parse::<u64>().ok());
    kib.with_context(|| format!("{file} has no number {name}"))
}

/// Bytes that the disk below a folder has been given so far, by whomever.
///
/// What the kernel counts for each process is no use here: one byte written into a large folio counts as all of it.
///
/// # Errors
/// When the folder is on no disk, e.g. on a tmpfs.
pub(crate) fn written_bytes(folder: &Path) -> Result<u64> {
    let device = fs::metadata(folder)?.dev();
    let file = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
    let text =
        fs::read_to_string(&file).with_context(|| format!("{} is on no disk: {file}", folder.display()))?;
    let sectors = text.split_whitespace().nth(SECTORS_WRITTEN).and_then(|word| word.parse::<u64>().ok());
    Ok(sectors.with_context(|| format!("{file} has too few fields"))? * SECTOR_BYTES)
}
