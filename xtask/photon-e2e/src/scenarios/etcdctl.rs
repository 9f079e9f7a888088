//! etcd's own command line, unchanged, drives a cluster through everything that it offers.

mod access;
mod care;
mod holding;
mod keys;
mod mirror;

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::Run;
use crate::{
    etcd::{Etcd, free_ports},
    process::{Process, where_it_is_from},
};

/// etcd with three nodes: what the script asks is what etcd does.
pub(super) async fn etcdctl_drives_etcd(run: Run) -> Result<()> {
    script(&run.folder, &Etcd::start(&run.folder, 3, None).await?).await
}

/// And what ChainFire does.
pub(super) async fn etcdctl_drives_chainfire(run: Run) -> Result<()> {
    let ports = free_ports(3)?;
    script(&run.folder, &Etcd::start_chainfire(&run.folder, &ports).await?).await
}

/// The whole script. The cluster is empty, and has users afterwards that nobody needs.
async fn script(folder: &Path, cluster: &Etcd) -> Result<()> {
    let ctl = Ctl::of(folder, cluster);
    keys::records_are_put_read_and_deleted(&ctl).context("put, get, del")?;
    keys::transactions_choose_a_branch(&ctl).context("txn")?;
    keys::history_is_read_until_it_is_compacted(&ctl).context("compaction")?;
    keys::watches_see_what_happens(&ctl).await.context("watch")?;
    holding::leases_take_their_keys_with_them(&ctl).context("lease")?;
    holding::locks_are_held_by_one(&ctl).await.context("lock")?;
    holding::leaders_are_elected(&ctl).await.context("elect")?;
    care::members_and_endpoints_are_told(&ctl, cluster.urls().len()).context("member, endpoint")?;
    care::snapshot_is_saved(&ctl).context("snapshot")?;
    care::nodes_are_cared_for(&ctl).context("alarm, defrag, move-leader")?;
    access::users_do_what_their_roles_allow(&ctl).context("auth")?;
    let other = folder.join("other");
    std::fs::create_dir(&other)?;
    let other = Etcd::start(&other, 1, None).await?;
    mirror::keys_are_mirrored_both_ways(&ctl, &Ctl::of(folder, &other)).await.context("make-mirror")
}

/// `etcdctl` for one cluster.
#[derive(Clone, Debug)]
pub(super) struct Ctl {
    endpoints: String,
    folder: PathBuf,
}

impl Ctl {
    fn of(folder: &Path, cluster: &Etcd) -> Self {
        // This version sends a URL as HTTP/2's `:authority`, which ChainFire's connections do not take.
        Self { endpoints: cluster.urls().join(",").replace("http://", ""), folder: folder.to_owned() }
    }

    /// The cluster's URLs.
    fn endpoints(&self) -> &str {
        &self.endpoints
    }

    /// A file of the test's own.
    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn words(&self, words: &[&str]) -> Vec<String> {
        let global = ["--endpoints", &self.endpoints];
        global.iter().chain(words).map(|&word| word.to_owned()).collect()
    }

    /// What a command prints.
    fn run(&self, words: &[&str]) -> Result<String> {
        self.run_with(words, "")
    }

    /// What a command prints that is told this.
    fn run_with(&self, words: &[&str], told: &str) -> Result<String> {
        let mut child = Command::new("etcdctl")
            .args(self.words(words))
            .env("ETCDCTL_API", "3")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("etcdctl cannot be run{}", where_it_is_from("etcdctl")))?;
        // Dropped, it ends what the command reads.
        child.stdin.take().context("it has no input")?.write_all(told.as_bytes())?;
        let ran = child.wait_with_output()?;
        if !ran.status.success() {
            bail!("etcdctl {} failed: {}", words.join(" "), String::from_utf8_lossy(&ran.stderr).trim());
        }
        Ok(String::from_utf8(ran.stdout)?)
    }

    /// What a command prints as JSON.
    fn json(&self, words: &[&str]) -> Result<serde_json::Value> {
        let words: Vec<_> = words.iter().copied().chain(["-w", "json"]).collect();
        Ok(serde_json::from_str(&self.run(&words)?)?)
    }

    /// A command that goes on, with what it prints in a file of this name.
    fn start(&self, name: &str, words: &[&str]) -> Result<Printing> {
        let log = self.file(name);
        let process = Process::start("etcdctl", &self.words(words), &log)?;
        Ok(Printing { process, log })
    }
}

/// A command that goes on; it ends with this value.
#[derive(Debug)]
struct Printing {
    process: Process,
    log: PathBuf,
}

impl Printing {
    /// Waits until it has printed something that the condition accepts.
    async fn until(&self, what: &str, accepted: impl Fn(&str) -> bool) -> Result<String> {
        let patience = crate::wait::Patience::new(what, std::time::Duration::from_secs(20));
        loop {
            let printed = std::fs::read_to_string(&self.log).unwrap_or_default();
            if accepted(&printed) {
                return Ok(printed);
            }
            patience.look_again().await.with_context(|| format!("it printed {printed:?}"))?;
        }
    }

    /// SIGTERM, and waits for the end.
    fn end(mut self) -> Result<()> {
        self.process.terminate().map(drop)
    }
}

/// Fails unless what was printed is what is wanted.
fn printed(found: &str, wanted: &str) -> Result<()> {
    ensure!(found == wanted, "printed {found:?}, wanted {wanted:?}");
    Ok(())
}

/// Fails unless a command was refused in these words.
fn refused(answer: Result<String>, words: &str) -> Result<()> {
    match answer {
        Ok(answer) => bail!("it was not refused with {words:?}, but answered {answer:?}"),
        Err(error) => ensure!(error.to_string().contains(words), "not in the words {words:?}: {error}"),
    }
    Ok(())
}
