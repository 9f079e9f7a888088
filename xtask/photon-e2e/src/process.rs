//! A process of a test: started with its output in a file, ended by its own pid, never left behind.
//!
//! Each is a process group of its own, so that what it forks ends with it, and dies with this process even if that is
//! killed.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill, killpg},
    },
    unistd::{Pid, SysconfVar, sysconf},
};

/// How long a process may take to end after SIGTERM.
const DRAIN_AT_MOST: Duration = Duration::from_secs(15);

/// A child process that is killed when this value goes away.
#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output appended to `log`.
    ///
    /// # Errors
    /// When it cannot be started, e.g. because it is not installed.
    pub(crate) fn start<A: AsRef<OsStr>>(program: &str, arguments: &[A], log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
        let child = dying_with_us(&mut command)
            .spawn()
            .with_context(|| format!("{program} cannot be started{}", where_it_is_from(program)))?;
        Ok(Self { name: program.to_owned(), child, log: log.to_owned() })
    }

    /// The process's id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no drain, no flush.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(crate) fn kill_9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it has not ended after 15 s.
    pub(crate) fn terminate(&mut self) -> Result<ExitStatus> {
        kill(Pid::from_raw(i32::try_from(self.pid())?), Signal::SIGTERM)?;
        let started = Instant::now();
        while started.elapsed() < DRAIN_AT_MOST {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("{} did not end within {} s of SIGTERM", self.name, DRAIN_AT_MOST.as_secs())
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The last lines of its log, for a failure's message.
    pub(crate) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may have ended between the calls, which is what is wanted.
            if let Ok(group) = i32::try_from(self.pid()) {
                let _gone = killpg(Pid::from_raw(group), Signal::SIGKILL);
            }
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}

/// Lets the kernel kill the process when the thread that started it ends.
fn dying_with_us(command: &mut Command) -> &mut Command {
    let with_us = || prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from);
    // SAFETY: between fork and exec only one system call is made, which neither allocates nor takes a lock.
    unsafe { command.pre_exec(with_us) }
}

/// Where to get a program that is not there.
pub(crate) fn where_it_is_from(program: &str) -> String {
    let package = match program {
        "dig" => "bind9-dnsutils",
        "etcd" => "etcd-server",
        "ip" => "iproute2",
        "knotd" => "knot",
        "named" => "bind9",
        "nsd" => "nsd",
        "strace" => "strace",
        "taskset" => "util-linux",
        _ => return String::new(),
    };
    format!("; it is in Debian's package {package}, which cargo xtask setup installs")
}

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
