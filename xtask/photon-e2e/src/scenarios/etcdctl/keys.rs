//! Records, transactions, history and watches.

use anyhow::{Result, ensure};

use super::{Ctl, printed, refused};

/// By key, prefix, range, limit, order and revision.
pub(super) fn records_are_put_read_and_deleted(ctl: &Ctl) -> Result<()> {
    for number in 1..=3 {
        printed(&ctl.run(&["put", &format!("/a/{number}"), &format!("v{number}")])?, "OK\n")?;
    }
    printed(&ctl.run(&["put", "/b", "other"])?, "OK\n")?;
    printed(&ctl.run(&["get", "/a/1"])?, "/a/1\nv1\n")?;
    printed(&ctl.run(&["get", "/a/", "--prefix", "--keys-only", "--limit", "2"])?, "/a/1\n\n/a/2\n\n")?;
    printed(
        &ctl.run(&["get", "/a/", "--prefix", "--order", "DESCEND", "--print-value-only"])?,
        "v3\nv2\nv1\n",
    )?;
    printed(&ctl.run(&["get", "/a/2", "/b", "--print-value-only"])?, "v2\nv3\n")?;
    printed(&ctl.run(&["get", "/a/3", "--from-key", "--print-value-only"])?, "v3\nother\n")?;
    printed(&ctl.run(&["put", "/a/1", "w1", "--prev-kv"])?, "OK\n/a/1\nv1\n")?;
    let before = ctl.json(&["get", "/a/1"])?["header"]["revision"].as_i64().unwrap_or(0) - 1;
    printed(&ctl.run(&["get", "/a/1", "--rev", &before.to_string(), "--print-value-only"])?, "v1\n")?;
    printed(&ctl.run(&["del", "/a/1", "--prev-kv"])?, "1\n/a/1\nw1\n")?;
    printed(&ctl.run(&["del", "/", "--prefix"])?, "3\n")?;
    printed(&ctl.run(&["get", "", "--prefix"])?, "")
}

/// By value, version and revision.
pub(super) fn transactions_choose_a_branch(ctl: &Ctl) -> Result<()> {
    ctl.run(&["put", "/txn", "old"])?;
    let swap =
        "value(\"/txn\") = \"old\"\nversion(\"/txn\") = \"1\"\n\nput /txn new\nget /txn\n\nget /txn\n\n";
    printed(&ctl.run_with(&["txn"], swap)?, "SUCCESS\n\nOK\n\n/txn\nnew\n")?;
    printed(&ctl.run_with(&["txn"], swap)?, "FAILURE\n\n/txn\nnew\n")?;
    let absent = "mod(\"/none\") = \"0\"\n\nput /none there\ndel /txn\n\n\n";
    printed(&ctl.run_with(&["txn"], absent)?, "SUCCESS\n\nOK\n\n1\n")?;
    let twice = "\nput /none a\nput /none b\n\n\n";
    refused(ctl.run_with(&["txn"], twice), "duplicate key given in txn request")?;
    printed(&ctl.run(&["del", "/none"])?, "1\n")
}

/// And what is forgotten, or has not happened, is told so.
pub(super) fn history_is_read_until_it_is_compacted(ctl: &Ctl) -> Result<()> {
    ctl.run(&["put", "/old", "1"])?;
    ctl.run(&["put", "/old", "2"])?;
    let now = ctl.json(&["get", "/old"])?["header"]["revision"].as_i64().unwrap_or(0);
    let (now, before, next) = (now.to_string(), (now - 1).to_string(), (now + 1).to_string());
    printed(&ctl.run(&["get", "/old", "--rev", &before, "--print-value-only"])?, "1\n")?;
    printed(&ctl.run(&["compaction", &now])?, &format!("compacted revision {now}\n"))?;
    printed(&ctl.run(&["get", "/old", "--rev", &now, "--print-value-only"])?, "2\n")?;
    refused(ctl.run(&["get", "/old", "--rev", &before]), "required revision has been compacted")?;
    refused(ctl.run(&["compaction", &before]), "required revision has been compacted")?;
    refused(ctl.run(&["compaction", &next]), "required revision is a future revision")?;
    refused(ctl.run(&["get", "/old", "--rev", &next]), "required revision is a future revision")
}

/// From now on, and from an earlier revision; each event once and in order.
pub(super) async fn watches_see_what_happens(ctl: &Ctl) -> Result<()> {
    let first = ctl.json(&["put", "/watch/1", "a"])?["header"]["revision"].as_i64().unwrap_or(0);
    let from = first.to_string();
    let watch = ctl.start("watch.log", &["watch", "/watch/", "--prefix", "--rev", &from, "--prev-kv"])?;
    watch.until("the event from before", |seen| seen == "PUT\n/watch/1\na\n").await?;
    ctl.run(&["put", "/watch/1", "b"])?;
    ctl.run(&["put", "/elsewhere", "x"])?;
    ctl.run(&["del", "/watch/1"])?;
    let wanted = "PUT\n/watch/1\na\nPUT\n/watch/1\na\n/watch/1\nb\nDELETE\n/watch/1\nb\n/watch/1\n\n";
    let seen = watch.until("three events", |seen| seen.len() >= wanted.len()).await?;
    watch.end()?;
    printed(&seen, wanted)?;
    ensure!(first > 1, "a put made revision {first}");
    ctl.run(&["del", "/elsewhere"]).map(drop)
}
