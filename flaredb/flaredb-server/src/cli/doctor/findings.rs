//! What the facts of a cluster mean. Pure: no clock, no I/O; every finding says what to do.

use std::collections::BTreeMap;

use flaredb_node::Mib;
use flaredb_proto::v1::{ExamineResponse, RegionStatus, StatusResponse};
use serde::Serialize;

use crate::cli::output::Row;

/// Stamps of a clock that is this far ahead of another node's are refused there.
const SKEW_BAD_MS: i64 = 500;
const SKEW_WARN_MS: i64 = 200;
/// A sync is part of every write.
const SYNC_WARN_US: u64 = 10_000;
const SYNC_BAD_US: u64 = 100_000;
const LAG_WARN: u64 = 10_000;
const DAY_S: u64 = 86_400;
const EXPIRY_WARN_DAYS: u64 = 14;
const EXPIRY_BAD_DAYS: u64 = 3;

/// How a finding is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    /// As it should be.
    Ok,
    /// It works, and will not for ever.
    Warn,
    /// Something does not work, or is about to fail.
    Bad,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    /// How it is meant.
    pub(super) level: Level,
    check: &'static str,
    /// The node's id or endpoint; "cluster".
    node: String,
    found: String,
    /// What to do; empty when all is well.
    advice: String,
}

impl Row for Finding {
    const COLUMNS: &'static [&'static str] = &["LEVEL", "CHECK", "NODE", "FOUND", "DO"];

    fn cells(&self) -> Vec<String> {
        let level = match self.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            Level::Bad => "BAD",
        };
        let cells = [level, self.check, &self.node, &self.found, &self.advice];
        cells.map(str::to_owned).to_vec()
    }
}

/// The facts of one node.
#[derive(Debug, Default)]
pub(super) struct Node {
    /// Where it was asked.
    pub(super) endpoint: String,
    /// What it says of itself.
    pub(super) status: Option<StatusResponse>,
    /// What it says of its machine.
    pub(super) examined: Option<ExamineResponse>,
    /// How far its clock is ahead of the one here.
    pub(super) clock_ahead_ms: i64,
    /// Why it did not answer one of the two.
    pub(super) error: Option<String>,
}

impl Node {
    fn name(&self) -> String {
        self.status.as_ref().map_or_else(|| self.endpoint.clone(), |status| status.node_id.to_string())
    }

    fn region(&self) -> Option<&RegionStatus> {
        self.status.as_ref()?.regions.first()
    }

    fn finding(&self, level: Level, check: &'static str, found: String, advice: &str) -> Finding {
        finding(level, check, self.name(), found, advice)
    }
}

fn finding(level: Level, check: &'static str, node: String, found: String, advice: &str) -> Finding {
    let advice = if level == Level::Ok { String::new() } else { advice.to_owned() };
    Finding { level, check, node, found, advice }
}

/// The worse of two bounds that a value reaches.
fn level<T: PartialOrd>(value: T, warn: T, bad: T) -> Level {
    match () {
        () if value >= bad => Level::Bad,
        () if value >= warn => Level::Warn,
        () => Level::Ok,
    }
}

/// Everything there is to say about the cluster; `now_s` is the time here, in seconds since 1970.
pub(super) fn judge(nodes: &[Node], now_s: u64) -> Vec<Finding> {
    let mut findings = vec![quorum(nodes)];
    findings.extend(clocks(nodes));
    for node in nodes {
        findings.extend(reach(node));
        findings.extend(conditions(node));
        findings.extend(lag(node, nodes));
        if let Some(examined) = &node.examined {
            findings.extend([sync(node, examined), disk(node, examined)]);
            findings.push(certificate(node, examined, nodes, now_s));
        }
    }
    findings
}

fn quorum(nodes: &[Node]) -> Finding {
    let cluster = |level, found, advice| finding(level, "quorum", "cluster".to_owned(), found, advice);
    let leader = nodes.iter().filter_map(Node::region).find(|region| region.role == "leader");
    let Some(leader) = leader else {
        let advice = "start nodes until a majority of the voters runs, or replace those that are lost";
        return cluster(Level::Bad, "no node leads".to_owned(), advice);
    };
    let voters: Vec<u64> =
        leader.members.iter().filter(|member| member.voter).map(|member| member.node_id).collect();
    let there = nodes.iter().filter_map(|node| node.status.as_ref()).map(|status| status.node_id);
    let alive = there.filter(|id| voters.contains(id)).count();
    let spare = alive.saturating_sub(voters.len() / 2 + 1);
    let found = format!("node {} leads, {alive} of {} voters answer", leader.leader_id, voters.len());
    match (alive == voters.len(), spare) {
        (true, _) => cluster(Level::Ok, found, ""),
        (false, 0) => cluster(
            Level::Bad,
            found,
            "one more node lost stops writes: start or replace the missing ones now",
        ),
        (false, _) => cluster(Level::Warn, found, "start or replace the missing nodes"),
    }
}

fn reach(node: &Node) -> Option<Finding> {
    let error = node.error.as_ref()?;
    let advice = match node.status {
        None => {
            "see that it runs and is reached at this address; if it is lost: flaredb member add, then remove"
        }
        Some(_) => "use an administrator's token, and see the node's log",
    };
    Some(node.finding(Level::Bad, "answer", error.clone(), advice))
}

fn conditions(node: &Node) -> Vec<Finding> {
    let Some(status) = &node.status else { return Vec::new() };
    if !status.quarantined.is_empty() {
        let advice =
            "keep its folder for analysis; add a new node with a new id and an empty folder, then remove it";
        return vec![node.finding(Level::Bad, "replica", status.quarantined.clone(), advice)];
    }
    let advice = |name: &str| match name {
        "space" => "free or enlarge the disk; writes resume by themselves",
        "raft" => "see that a majority of the voters runs and that this node reaches them",
        _ => "see the node's log",
    };
    let missing = status.conditions.iter().filter(|condition| !condition.ok);
    let bad = missing.map(|missing| {
        let found = format!("{}: {}", missing.name, missing.reason);
        node.finding(Level::Bad, "ready", found, advice(&missing.name))
    });
    let bad: Vec<Finding> = bad.collect();
    if bad.is_empty() { vec![node.finding(Level::Ok, "ready", "ready".to_owned(), "")] } else { bad }
}

fn lag(node: &Node, nodes: &[Node]) -> Option<Finding> {
    let region = node.region()?;
    let committed = nodes.iter().filter_map(Node::region).map(|region| region.committed_index).max()?;
    let behind = committed.saturating_sub(region.applied_index);
    let found = format!("{behind} entries behind");
    let advice = "see its disk and its network; if it never catches up, replace it";
    Some(node.finding(level(behind, LAG_WARN, u64::MAX), "lag", found, advice))
}

fn clocks(nodes: &[Node]) -> Option<Finding> {
    let examined = || nodes.iter().filter(|node| node.examined.is_some());
    let first = examined().min_by_key(|node| node.clock_ahead_ms)?;
    let last = examined().max_by_key(|node| node.clock_ahead_ms)?;
    let skew_ms = last.clock_ahead_ms - first.clock_ahead_ms;
    let mut found = format!("{skew_ms} ms apart");
    if skew_ms >= SKEW_WARN_MS {
        found = format!("node {} is {skew_ms} ms ahead of node {}", last.name(), first.name());
    }
    let advice = "set up time synchronization (chrony) on both; writes of Eventual namespaces are refused from 500 ms on";
    Some(finding(level(skew_ms, SKEW_WARN_MS, SKEW_BAD_MS), "clock", "cluster".to_owned(), found, advice))
}

fn sync(node: &Node, examined: &ExamineResponse) -> Finding {
    let found = format!("{} µs, at most {} µs", examined.sync_median_us, examined.sync_max_us);
    let advice = "every write waits for it: give node.data_dir a disk of its own, best an SSD with power-loss protection";
    node.finding(level(examined.sync_median_us, SYNC_WARN_US, SYNC_BAD_US), "fsync", found, advice)
}

fn disk(node: &Node, examined: &ExamineResponse) -> Finding {
    let ExamineResponse { disk_free_bytes: free, disk_bytes: total, disk_low_bytes: low, .. } = *examined;
    let level = match () {
        () if free < low => Level::Bad,
        () if free < low.saturating_mul(4) || free < total / 10 => Level::Warn,
        () => Level::Ok,
    };
    let found = format!("{} of {} free in {}", Mib(free), Mib(total), examined.data_dir);
    let advice = format!("free or enlarge the disk; below {} writes are refused", Mib(low));
    node.finding(level, "disk", found, &advice)
}

fn certificate(node: &Node, examined: &ExamineResponse, nodes: &[Node], now_s: u64) -> Finding {
    const CHECK: &str = "certificate";
    let identity = &examined.certificate_identity;
    if identity.is_empty() {
        return node.finding(Level::Ok, CHECK, "none, plaintext on loopback".to_owned(), "");
    }
    let days = examined.certificate_expires_s.saturating_sub(now_s) / DAY_S;
    let found = format!("{identity}, expires in {days} days");
    let renew = "issue a new one (photon pki issue) and restart the node";
    if days < EXPIRY_WARN_DAYS {
        let level = if days < EXPIRY_BAD_DAYS { Level::Bad } else { Level::Warn };
        return node.finding(level, CHECK, found, renew);
    }
    let named = identity.rsplit_once('/').map(|(_, node)| node);
    if named != Some(examined.node_id.to_string().as_str()) {
        let found = format!("{identity}, but this is node {}", examined.node_id);
        let shared = shares(identity, nodes);
        let advice = format!(
            "{shared}issue one for this node: photon pki issue --service flaredb --node {}",
            examined.node_id
        );
        return node.finding(Level::Warn, CHECK, found, &advice);
    }
    node.finding(Level::Ok, CHECK, found, "")
}

/// Whether several nodes show the same certificate, in words.
fn shares(identity: &str, nodes: &[Node]) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for examined in nodes.iter().filter_map(|node| node.examined.as_ref()) {
        *counts.entry(examined.certificate_identity.as_str()).or_default() += 1;
    }
    match counts.get(identity).copied().unwrap_or_default() {
        0 | 1 => String::new(),
        count => format!("{count} nodes share it, so a stolen one is all of them: "),
    }
}

#[cfg(test)]
mod tests {
    use flaredb_proto::v1::{Condition, Member};

    use super::*;

    const NOW_S: u64 = 1_000_000_000;

    fn node(id: u64, voters: u64) -> Node {
        let member = |node_id| Member { node_id, voter: true, ..Member::default() };
        let region = RegionStatus {
            role: if id == 1 { "leader" } else { "follower" }.to_owned(),
            leader_id: 1,
            committed_index: 100,
            applied_index: 100,
            members: (1..=voters).map(member).collect(),
            ..RegionStatus::default()
        };
        let examined = ExamineResponse {
            node_id: id,
            sync_median_us: 200,
            disk_free_bytes: 50 << 30,
            disk_bytes: 100 << 30,
            disk_low_bytes: 64 << 20,
            certificate_identity: format!("spiffe://photon/flaredb/{id}"),
            certificate_expires_s: NOW_S + 90 * DAY_S,
            ..ExamineResponse::default()
        };
        Node {
            status: Some(StatusResponse { node_id: id, regions: vec![region], ..StatusResponse::default() }),
            examined: Some(examined),
            ..Node::default()
        }
    }

    fn cluster() -> Vec<Node> {
        (1..=3).map(|id| node(id, 3)).collect()
    }

    /// The checks that are not ok, with their levels.
    fn judged(nodes: &[Node]) -> Vec<(&'static str, Level)> {
        let findings = judge(nodes, NOW_S);
        assert!(findings.iter().all(|finding| (finding.level == Level::Ok) == finding.advice.is_empty()));
        let unwell = findings.into_iter().filter(|finding| finding.level != Level::Ok);
        unwell.map(|finding| (finding.check, finding.level)).collect()
    }

    fn with(change: impl FnOnce(&mut Node)) -> Vec<(&'static str, Level)> {
        let mut nodes = cluster();
        change(&mut nodes[2]);
        judged(&nodes)
    }

    #[test]
    fn cluster_in_which_all_is_well_has_nothing_to_do() {
        assert_eq!(judged(&cluster()), []);
    }

    #[test]
    fn each_thing_that_is_wrong_is_found() {
        let examined =
            |change: fn(&mut ExamineResponse)| with(|node| change(node.examined.as_mut().unwrap()));
        assert_eq!(with(|node| node.clock_ahead_ms = 250), [("clock", Level::Warn)]);
        assert_eq!(with(|node| node.clock_ahead_ms = -600), [("clock", Level::Bad)]);
        assert_eq!(examined(|it| it.sync_median_us = 20_000), [("fsync", Level::Warn)]);
        assert_eq!(examined(|it| it.sync_median_us = 200_000), [("fsync", Level::Bad)]);
        assert_eq!(examined(|it| it.disk_free_bytes = 9 << 30), [("disk", Level::Warn)]);
        assert_eq!(examined(|it| it.disk_free_bytes = 63 << 20), [("disk", Level::Bad)]);
        assert_eq!(
            examined(|it| it.certificate_expires_s = NOW_S + 7 * DAY_S),
            [("certificate", Level::Warn)]
        );
        assert_eq!(examined(|it| it.certificate_expires_s = NOW_S - 1), [("certificate", Level::Bad)]);
        let other =
            |it: &mut ExamineResponse| it.certificate_identity = "spiffe://photon/flaredb/1".to_owned();
        assert_eq!(examined(other), [("certificate", Level::Warn)]);
        let behind = |node: &mut Node| node.status.as_mut().unwrap().regions[0].committed_index = 50_000;
        assert_eq!(with(behind), [("lag", Level::Warn); 3]);
    }

    #[test]
    fn missing_nodes_are_worse_when_the_quorum_hangs_on_the_next_one() {
        let gone = |node: &mut Node| *node = Node { error: Some("refused".to_owned()), ..Node::default() };
        assert_eq!(with(gone), [("quorum", Level::Bad), ("answer", Level::Bad)]);
        let mut five: Vec<Node> = (1..=5).map(|id| node(id, 5)).collect();
        gone(&mut five[4]);
        assert_eq!(judged(&five)[0], ("quorum", Level::Warn));
        let mut leaderless = cluster();
        leaderless.remove(0);
        assert_eq!(judged(&leaderless)[0], ("quorum", Level::Bad));
    }

    #[test]
    fn nodes_that_are_not_ready_or_quarantined_say_why() {
        let space = Condition { name: "space".to_owned(), ok: false, reason: "0 MiB are free".to_owned() };
        let full = with(|node| node.status.as_mut().unwrap().conditions.push(space));
        assert_eq!(full, [("ready", Level::Bad)]);
        let other = with(|node| node.status.as_mut().unwrap().quarantined = "differs".to_owned());
        assert_eq!(other, [("replica", Level::Bad)]);
    }
}
