//! Members, endpoints, snapshots, alarms.

use std::{collections::BTreeSet, fs};

use anyhow::{Context as _, Result, ensure};

use super::{Ctl, printed};

/// All nodes know the same members and leader, and hold the same records.
pub(super) fn members_and_endpoints_are_told(ctl: &Ctl, nodes: usize) -> Result<()> {
    let members = ctl.json(&["member", "list"])?;
    let members = members["members"].as_array().context("no members")?;
    ensure!(members.len() == nodes, "{nodes} nodes, and the members {members:?}");
    let status = ctl.json(&["endpoint", "status"])?;
    let leaders: BTreeSet<_> =
        each(&status, |node| node["Status"]["leader"].to_string())?.into_iter().collect();
    ensure!(leaders.len() == 1 && !leaders.contains("0"), "the nodes say that these lead: {leaders:?}");
    let healthy = ctl.run(&["endpoint", "health"])?;
    ensure!(healthy.matches("is healthy").count() <= nodes, "health: {healthy:?}");
    let revision = ctl.json(&["get", "/"])?["header"]["revision"].to_string();
    let hashes = ctl.json(&["endpoint", "hashkv", "--rev", &revision])?;
    let hashes: BTreeSet<_> = each(&hashes, |node| node["HashKV"]["hash"].to_string())?.into_iter().collect();
    ensure!(hashes.len() == 1, "at revision {revision}, the nodes' hashes are {hashes:?}");
    Ok(())
}

fn each(answer: &serde_json::Value, part: fn(&serde_json::Value) -> String) -> Result<Vec<String>> {
    Ok(answer.as_array().context("no list of nodes")?.iter().map(part).collect())
}

/// Whole, with the sum that etcdctl checks.
pub(super) fn snapshot_is_saved(ctl: &Ctl) -> Result<()> {
    let file = ctl.file("saved.snapshot");
    let words = file.display().to_string();
    let one = Ctl { endpoints: first(ctl), ..ctl.clone() };
    let saved = one.run(&["snapshot", "save", &words])?;
    ensure!(saved.contains("Snapshot saved at"), "it printed {saved:?}");
    ensure!(fs::metadata(&file)?.len() > 0, "the file is empty");
    Ok(())
}

fn first(ctl: &Ctl) -> String {
    ctl.endpoints().split(',').next().unwrap_or_default().to_owned()
}

/// There is no alarm, rooms are given back, and another node leads when it is told to.
pub(super) fn nodes_are_cared_for(ctl: &Ctl) -> Result<()> {
    printed(&ctl.run(&["alarm", "list"])?, "")?;
    let defragmented = ctl.run(&["defrag"])?;
    ensure!(defragmented.contains("Finished defragmenting"), "it printed {defragmented:?}");
    let status = ctl.json(&["endpoint", "status"])?;
    let id = |node: &serde_json::Value| node["Status"]["header"]["member_id"].as_u64().unwrap_or(0);
    let leader = status[0]["Status"]["leader"].as_u64().unwrap_or(0);
    let nodes = status.as_array().context("no nodes")?;
    let other = nodes.iter().map(id).find(|node| *node != leader).context("there is no other node")?;
    let at = nodes.iter().find(|node| id(node) == leader).context("the leader is no node")?;
    let endpoint = at["Endpoint"].as_str().context("a node without an endpoint")?.to_owned();
    let moved = Ctl { endpoints: endpoint, ..ctl.clone() }.run(&["move-leader", &format!("{other:x}")])?;
    ensure!(moved.contains("Leadership transferred"), "it printed {moved:?}");
    Ok(())
}
