//! The write path as the kernel sees it: `strace` counts the syncs, and the clocks say what came first.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use tokio::task::JoinSet;

use super::{Run, say};
use crate::{
    cloud::{Cloud, Layout},
    process::Process,
    wait::wait_for,
};

const NAMESPACE: &str = "syscalls";
const QUORUM: usize = 2;
const SEQUENTIAL_WRITES: u32 = 50;
const CLIENTS: u32 = 64;
const WRITES_EACH: u32 = 40;
/// Even on a machine that is so busy that few requests arrive during one sync.
const WRITES_PER_SYNC_MIN: usize = 2;
const ATTACH_AT_MOST: Duration = Duration::from_secs(10);

/// Traces of the syncs of each node, by `strace` attached to it.
struct Traces {
    straces: Vec<Process>,
    files: Vec<PathBuf>,
}

/// One finished sync: when the kernel had it done, in seconds since the epoch.
type SyncedAt = f64;

impl Traces {
    async fn attach(cloud: &Cloud, folder: &Path) -> Result<Self> {
        let mut traces = Self { straces: Vec::new(), files: Vec::new() };
        for (number, pid) in cloud.database_pids().into_iter().enumerate() {
            let file = folder.join(format!("strace-{number}"));
            let log = folder.join(format!("strace-{number}.log"));
            let (pid, output) = (pid.to_string(), file.display().to_string());
            #[rustfmt::skip]
            let arguments = ["-f", "-ttt", "-T", "-e", "trace=fdatasync,fsync,sync_file_range", "-p", &pid, "-o", &output];
            traces.straces.push(Process::start("strace", &arguments, &log)?);
            let attached = async || fs::read_to_string(&log).ok()?.contains("attached").then_some(());
            wait_for("strace to attach", ATTACH_AT_MOST, attached).await?;
            traces.files.push(file);
        }
        Ok(traces)
    }

    /// Detaches and returns each node's syncs, in order.
    fn detach(mut self) -> Result<Vec<Vec<SyncedAt>>> {
        for strace in &mut self.straces {
            strace.terminate()?;
        }
        self.files.iter().map(|file| syncs(&fs::read_to_string(file)?)).collect()
    }
}

/// The moments at which syncs were done, out of strace's lines.
///
/// A line is `PID START fdatasync(N) = 0 <TOOK>`, or, where threads interleave, an `unfinished` line followed by a
/// `resumed` one whose own time is not the start; the start is then that of the unfinished line.
fn syncs(trace: &str) -> Result<Vec<SyncedAt>> {
    let mut done = Vec::new();
    let mut unfinished = std::collections::BTreeMap::new();
    for line in trace.lines().filter(|line| line.contains("sync")) {
        let mut words = line.split_whitespace();
        let (thread, at) = (words.next().context("no thread id")?, words.next().context("no time")?);
        let at: f64 = at.parse().with_context(|| format!("no time in {line:?}"))?;
        if line.ends_with("<unfinished ...>") {
            unfinished.insert(thread.to_owned(), at);
            continue;
        }
        let Some(took) = line.rsplit_once('<').and_then(|(_, rest)| rest.strip_suffix('>')) else { continue };
        let start = if line.contains("resumed>") { unfinished.remove(thread).unwrap_or(at) } else { at };
        if line.contains("= 0") {
            done.push(start + took.parse::<f64>()?);
        }
    }
    done.sort_by(f64::total_cmp);
    Ok(done)
}

fn now_s() -> Result<f64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64())
}

/// Between the start and the acknowledgement of each write, at least two of three nodes finished a sync.
pub(super) async fn no_write_is_acknowledged_before_a_quorum_has_synced_it(run: Run) -> Result<()> {
    let cloud = Cloud::start(&run.folder, Layout { nodes: 3, dns: false, ..Layout::default() }).await?;
    cloud.create_namespace(NAMESPACE).await?;
    let client = cloud.rdb().await?;
    let traces = Traces::attach(&cloud, &run.folder).await?;
    let mut spans = Vec::new();
    for number in 0..SEQUENTIAL_WRITES {
        let started = now_s()?;
        client.create(NAMESPACE, &format!("key{number}"), "value").await?;
        spans.push((started, now_s()?));
    }
    let nodes = traces.detach()?;
    for (number, (started, acknowledged)) in spans.iter().enumerate() {
        let synced = |node: &&Vec<SyncedAt>| node.iter().any(|at| started <= at && at <= acknowledged);
        let count = nodes.iter().filter(synced).count();
        ensure!(count >= QUORUM, "write {number} was acknowledged with a sync on {count} of 3 nodes");
    }
    Ok(())
}

/// With 64 clients, each node syncs far fewer times than there are writes.
pub(super) async fn one_sync_serves_many_writers(run: Run) -> Result<()> {
    let cloud = Cloud::start(&run.folder, Layout { nodes: 3, dns: false, ..Layout::default() }).await?;
    cloud.create_namespace(NAMESPACE).await?;
    let traces = Traces::attach(&cloud, &run.folder).await?;
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = cloud.rdb().await?;
        clients.spawn(async move {
            for write in 0..WRITES_EACH {
                client.create(NAMESPACE, &format!("{number}/{write}"), "value").await?;
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended??;
    }
    let writes = usize::try_from(CLIENTS * WRITES_EACH)?;
    for (node, syncs) in traces.detach()?.iter().enumerate() {
        say(&format!("node {node}: {} syncs for {writes} writes of {CLIENTS} clients", syncs.len()));
        ensure!(!syncs.is_empty(), "node {node} acknowledged writes without any sync");
        ensure!(
            syncs.len() * WRITES_PER_SYNC_MIN <= writes,
            "node {node} synced {} times for {writes} writes",
            syncs.len()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_sync_is_its_start_and_what_it_took_also_when_it_was_interrupted() {
        let trace = "7 100.5 fdatasync(3) = 0 <0.25>\n\
                     7 101.0 fdatasync(3 <unfinished ...>\n\
                     8 101.1 fdatasync(4) = 0 <0.1>\n\
                     7 101.5 <... fdatasync resumed>) = 0 <0.75>\n\
                     8 102.0 fdatasync(4) = -1 EIO (Input/output error) <0.1>\n";
        assert_eq!(syncs(trace).unwrap(), [100.75, 101.199_999_999_999_99, 101.75]);
    }
}
