//! System calls of a node that fail or take long: `strace` attached to it, which also tells what it did.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    faults::{cluster::Cluster, subject::Subject},
    process::Process,
    wait::wait_for,
};

const ATTACHED_AT_MOST: Duration = Duration::from_secs(15);

/// The calls by which data goes to the disk.
pub(super) const SYNCS: &str = "fdatasync,fsync";

/// A tracer; the node goes on undisturbed when it is gone.
#[derive(Debug)]
pub(super) struct Tracer {
    strace: Process,
    calls: PathBuf,
}

impl Tracer {
    /// Attaches to all threads of a slot's node. What `inject` says (strace(1)) happens to its syncs from then on;
    /// `calls` are told besides those.
    ///
    /// # Errors
    /// When strace is missing, or cannot attach.
    pub(super) async fn attach<S: Subject>(
        cluster: &Cluster<S>,
        slot: usize,
        inject: &str,
        calls: &str,
    ) -> Result<Self> {
        let pid = cluster.pid(slot)?.to_string();
        let logs = cluster.folders().logs();
        let (told, words) = (logs.join(format!("calls-{pid}")), logs.join(format!("strace-{pid}.log")));
        forget(&told)?;
        forget(&words)?;
        let trace = format!("trace={SYNCS}{calls}");
        let inject = format!("inject={SYNCS}:{inject}");
        let output = told.display().to_string();
        // With paths instead of bare descriptors, and nothing of what is written.
        let arguments = ["-f", "-y", "-s", "0", "-e", &trace, "-e", &inject, "-p", &pid, "-o", &output];
        let strace = Process::start("strace", &arguments, &words)?;
        let attached = async || fs::read_to_string(&words).ok()?.contains("attached").then_some(());
        let done = wait_for("strace to attach", ATTACHED_AT_MOST, attached).await;
        done.with_context(|| format!("it says:\n{}", strace.last_words()))?;
        Ok(Self { strace, calls: told })
    }

    /// What the node has called so far, one call in each line.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn calls(&self) -> Result<String> {
        fs::read_to_string(&self.calls).context("what strace told cannot be read")
    }

    /// Lets the node go; returns what it called.
    ///
    /// # Errors
    /// When strace does not end.
    pub(super) fn detach(mut self) -> Result<String> {
        self.strace.terminate()?;
        self.calls()
    }

    /// Ends at once, also while it makes a call wait; returns what the node called.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub(super) fn kill(mut self) -> Result<String> {
        self.strace.kill_9()?;
        self.calls()
    }
}

fn forget(file: &Path) -> Result<()> {
    if file.exists() {
        fs::remove_file(file)?;
    }
    Ok(())
}
