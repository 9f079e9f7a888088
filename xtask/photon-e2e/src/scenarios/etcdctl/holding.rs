//! Leases, locks and elections: what is held for as long as its holder lives.

use anyhow::{Context as _, Result, ensure};

use super::{Ctl, printed};

fn granted(ctl: &Ctl, ttl_s: u32) -> Result<String> {
    let answer = ctl.run(&["lease", "grant", &ttl_s.to_string()])?;
    ensure!(answer.ends_with(&format!("granted with TTL({ttl_s}s)\n")), "a grant printed {answer:?}");
    Ok(answer.split_whitespace().nth(1).context("a lease without a number")?.to_owned())
}

/// Revoked, kept, and asked about.
pub(super) fn leases_take_their_keys_with_them(ctl: &Ctl) -> Result<()> {
    let lease = granted(ctl, 600)?;
    ctl.run(&["put", "/leased", "x", "--lease", &lease])?;
    let told = ctl.run(&["lease", "timetolive", &lease, "--keys"])?;
    ensure!(told.contains("granted with TTL(600s)") && told.contains("[/leased]"), "told {told:?}");
    let listed = ctl.run(&["lease", "list"])?;
    ensure!(listed.contains(&lease), "{lease} is not in {listed:?}");
    let kept = ctl.run(&["lease", "keep-alive", "--once", &lease])?;
    ensure!(kept.contains("keepalived with TTL(600)"), "kept alive, it printed {kept:?}");
    printed(&ctl.run(&["lease", "revoke", &lease])?, &format!("lease {lease} revoked\n"))?;
    printed(&ctl.run(&["get", "/leased"])?, "")?;
    let told = ctl.run(&["lease", "timetolive", &lease])?;
    ensure!(told.contains("already expired"), "of a lease that is gone it told {told:?}");
    super::refused(ctl.run(&["put", "/leased", "x", "--lease", &lease]), "requested lease not found")
}

/// The second holder waits for the end of the first.
pub(super) async fn locks_are_held_by_one(ctl: &Ctl) -> Result<()> {
    let first = ctl.start("lock-1.log", &["lock", "/lock"])?;
    first.until("the lock", |seen| seen.starts_with("/lock/") && seen.ends_with('\n')).await?;
    let second = ctl.start("lock-2.log", &["lock", "/lock"])?;
    let held = || ctl.run(&["get", "/lock/", "--prefix", "--keys-only"]);
    let patience = crate::wait::Patience::new("two in the queue", std::time::Duration::from_secs(20));
    while held()?.lines().filter(|line| !line.is_empty()).count() < 2 {
        patience.look_again().await?;
    }
    second.until("nothing yet", str::is_empty).await?;
    first.end()?;
    second.until("the lock after the first", |seen| seen.starts_with("/lock/")).await?;
    second.end()
}

/// And whoever looks sees who leads.
pub(super) async fn leaders_are_elected(ctl: &Ctl) -> Result<()> {
    let first = ctl.start("elect-1.log", &["elect", "/elect", "one"])?;
    first.until("the first leader", |seen| seen.ends_with("one\n")).await?;
    let observer = ctl.start("elect-observer.log", &["elect", "-l", "/elect"])?;
    observer.until("the leader to be seen", |seen| seen.ends_with("one\n")).await?;
    let second = ctl.start("elect-2.log", &["elect", "/elect", "two"])?;
    first.end()?;
    second.until("the second leader", |seen| seen.ends_with("two\n")).await?;
    observer.until("the change to be seen", |seen| seen.ends_with("two\n")).await?;
    second.end()?;
    observer.end()
}
