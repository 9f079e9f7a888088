//! A process that is started with its output in a file, ended by its own pid, and never left behind.
//!
//! Each is a process group of its own, so that what it forks ends with it and a terminal's Ctrl-C does not reach it,
//! and the kernel ends it should this process be killed.

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
        signal::{SigSet, Signal, kill, killpg},
    },
    unistd::Pid,
};

/// How long a process may take to end after SIGTERM.
const DRAIN_AT_MOST: Duration = Duration::from_secs(15);

/// Lines of a log that a failure's message shows.
const LAST_WORDS_LINES: usize = 8;

/// A child process that is killed when this value goes away.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `program` with its output appended to `log`.
    ///
    /// # Errors
    /// When it cannot be started, e.g. because it is not installed.
    pub fn start<A: AsRef<OsStr>>(program: &str, arguments: &[A], log: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
        let child = on_its_own(&mut command)
            .spawn()
            .with_context(|| format!("{program} cannot be started{}", where_it_is_from(program)))?;
        Ok(Self { name: program.to_owned(), child, log: log.to_owned() })
    }

    /// The process's id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: no drain, no flush.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn kill_9(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// SIGTERM, without waiting for the end.
    ///
    /// # Errors
    /// When there is no such process any more.
    pub fn ask_to_end(&self) -> Result<()> {
        Ok(kill(Pid::from_raw(i32::try_from(self.pid())?), Signal::SIGTERM)?)
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    /// When it has not ended after 15 s.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        if let Some(status) = self.ended()? {
            return Ok(status);
        }
        self.ask_to_end()?;
        let started = Instant::now();
        while started.elapsed() < DRAIN_AT_MOST {
            if let Some(status) = self.ended()? {
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
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// The last lines of its log, for a failure's message.
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_WORDS_LINES)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // It may have ended between the calls, which is what is wanted.
            if let Ok(group) = i32::try_from(self.pid()) {
                killpg(Pid::from_raw(group), Signal::SIGKILL).ok();
            }
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}

/// The child hears every signal, also those that this process keeps from itself, and the kernel ends it when the thread
/// that started it ends.
fn on_its_own(command: &mut Command) -> &mut Command {
    let prepare = || {
        SigSet::empty().thread_set_mask()?;
        prctl::set_pdeathsig(Signal::SIGKILL).map_err(io::Error::from)
    };
    // SAFETY: between fork and exec only two system calls are made, which neither allocate nor take a lock.
    unsafe { command.pre_exec(prepare) }
}

/// Where to get a program that is not there.
pub fn where_it_is_from(program: &str) -> String {
    let package = match program {
        "curl" => "curl",
        "dig" => "bind9-dnsutils",
        "etcd" => "etcd-server",
        "etcdctl" => "etcd-client",
        "ip" => "iproute2",
        "knotd" => "knot",
        "named" => "bind9",
        "nft" => "nftables",
        "nsd" => "nsd",
        "python3" => "python3-venv",
        "serf" => "serf",
        "nsenter" => "util-linux",
        "strace" => "strace",
        "taskset" => "util-linux",
        _ => return String::new(),
    };
    format!("; it is in Debian's package {package}, which cargo xtask setup installs")
}
