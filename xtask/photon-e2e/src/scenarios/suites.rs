//! Suites that others wrote for their clients of etcd, unchanged, against three nodes.
//!
//! They expect the first node on port 2379, so they run in a network of their own. What they need is fetched and built
//! once, into the cache that `cargo xtask` has.

mod aetcd;
mod etcd_client;

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

use super::{Run, say};
use crate::{
    apart::Apart,
    etcd::{Etcd, Ports},
    process::{Process, where_it_is_from},
    wait::Patience,
};

/// Longest time of one suite.
const SUITE_AT_MOST: Duration = Duration::from_secs(400);
/// Where etcd's clients look by themselves, in a network where nobody else is.
const PORTS: [Ports; 3] = [
    Ports { client: 2379, peer: 2380, admin: 2381 },
    Ports { client: 22_379, peer: 22_380, admin: 22_381 },
    Ports { client: 32_379, peer: 32_380, admin: 32_381 },
];

/// Of each suite, what is known to pass on etcd 3.4 passes, so that a suite that does not run at all is noticed.
pub(super) async fn suites_of_others_pass_on_etcd(run: Run) -> Result<()> {
    pass(run, aetcd::PASS_ON_ETCD, async |folder| Etcd::launch(folder, &PORTS, None)).await
}

/// And on ChainFire.
pub(super) async fn suites_of_others_pass_on_chainfire(run: Run) -> Result<()> {
    pass(run, aetcd::PASS_ON_CHAINFIRE, async |folder| Etcd::start_chainfire(folder, &PORTS).await).await
}

async fn pass(
    run: Run,
    aetcd_known: usize,
    start: impl AsyncFnOnce(&Path) -> Result<Etcd> + Send + 'static,
) -> Result<()> {
    let (aetcd, etcd_client) = (aetcd::Suite::prepare()?, etcd_client::Suite::prepare()?);
    let folder = run.folder;
    let passed = Apart::start(move || async move {
        let cluster = start(&folder).await?;
        cluster.leader().await?;
        Ok([aetcd.run(&folder).await?, etcd_client.run(&folder).await?])
    });
    let [aetcd, etcd_client] = passed.outcome().await?;
    say(&format!("aetcd: {} passed, etcd-client: {} passed", aetcd.len(), etcd_client.len()));
    ensure!(aetcd.len() >= aetcd_known, "of aetcd's tests only {aetcd:?} passed");
    let wanted = etcd_client::PASS;
    ensure!(etcd_client.len() >= wanted, "of etcd-client's tests only {etcd_client:?} passed");
    Ok(())
}

/// Where a suite of this name and version is kept; made by `make` when it is not there yet.
fn kept(name: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache"));
    let cache = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    let folder = cache.join("photoncloud/suites").join(name);
    let ready = folder.join("ready");
    if !ready.exists() {
        tracing::info!(name, "fetching a suite");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        make(&folder).with_context(|| format!("{name} cannot be fetched and built"))?;
        fs::write(ready, "")?;
    }
    Ok(folder)
}

/// Runs a command in a folder to its end; returns what it printed.
fn done(folder: &Path, command: &mut Command) -> Result<String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let ran = command.current_dir(folder).output();
    let ran = ran.with_context(|| format!("{program} cannot be run{}", where_it_is_from(&program)))?;
    ensure!(ran.status.success(), "{command:?} failed: {}", String::from_utf8_lossy(&ran.stderr).trim());
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

/// Runs a suite to its end, however it ends, and returns what it printed.
async fn printed(program: &Path, arguments: &[&str], log: &Path) -> Result<String> {
    let mut process = Process::start(&program.display().to_string(), arguments, log)?;
    let patience = Patience::new("the suite to end", SUITE_AT_MOST);
    while process.ended()?.is_none() {
        patience.look_again().await.with_context(|| process.last_words())?;
    }
    Ok(fs::read_to_string(log)?)
}
