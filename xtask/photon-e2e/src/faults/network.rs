//! A network of the test's own: each node in a network namespace, joined by veth pairs to a bridge in this process's.
//!
//! This process leaves the machine's namespace before it makes the bridge, because where dockerd runs the machine's
//! firewall drops what bridges forward. Faults are nftables rules in the bridge's own table; each rule counts what it
//! drops, which proves that it took effect. The nodes' namespaces carry this process's id in their names, so that they
//! are removed by name, also by a later run when this one was killed.

use std::{fmt::Write as _, net::Ipv4Addr, path::Path, process::Command};

use anyhow::{Context as _, Result, ensure};
use nix::sched::{CloneFlags, unshare};

use crate::process::where_it_is_from;

/// Names of namespaces start so; the process's id and the slot follow.
const PREFIX: &str = "photon-e2e-";
const BRIDGE: &str = "br0";
const TABLE: &str = "faults";
/// The clients' own host number; the nodes' are their slots.
const CLIENTS_HOST: u8 = 254;

/// Moves this thread, and those that it starts from now on, into namespaces of their own for the network and for
/// mounts, so that whatever is made there is gone when they are, however they end.
///
/// # Errors
/// When this is not root.
pub(crate) fn enter() -> Result<()> {
    let flags = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS;
    unshare(flags).context("no network namespace can be made (are you root?)")?;
    output("mount", &["--make-rprivate", "/"])?;
    ip(&["link", "set", "lo", "up"])
}

/// The nodes' namespaces; they go with the value.
#[derive(Debug)]
pub(crate) struct Network {
    namespaces: Vec<String>,
}

/// One end of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The node in this slot.
    Node(usize),
    /// This process.
    Clients,
}

/// What is dropped: packets of one direction, all or a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Drops {
    /// Who sends.
    pub(crate) from: End,
    /// Who does not receive.
    pub(crate) to: End,
    /// How many of a hundred packets.
    pub(crate) percent: u8,
}

/// Rules that are in force until they are healed or dropped.
#[derive(Debug)]
pub(crate) struct Cut(());

impl Network {
    /// Makes a bridge here, and so many namespaces on it. What killed runs have left is removed.
    ///
    /// # Errors
    /// When `ip` is missing or refuses.
    pub(crate) fn new(slots: usize) -> Result<Self> {
        sweep()?;
        ip(&["link", "add", BRIDGE, "type", "bridge"])?;
        ip(&["address", "add", &format!("{}/24", address(End::Clients)), "dev", BRIDGE])?;
        ip(&["link", "set", BRIDGE, "up"])?;
        let mut network = Self { namespaces: Vec::new() };
        for slot in 0..slots {
            let name = format!("{PREFIX}{}-{slot}", std::process::id());
            ip(&["netns", "add", &name])?;
            network.namespaces.push(name);
            network.join(slot)?;
        }
        Ok(network)
    }

    fn join(&self, slot: usize) -> Result<()> {
        let (name, veth) = (self.namespace(slot)?, interface(End::Node(slot)));
        ip(&["link", "add", &veth, "type", "veth", "peer", "name", "eth0", "netns", name])?;
        ip(&["link", "set", &veth, "master", BRIDGE, "up"])?;
        ip(&["-n", name, "address", "add", &format!("{}/24", address(End::Node(slot))), "dev", "eth0"])?;
        ip(&["-n", name, "link", "set", "eth0", "up"])?;
        ip(&["-n", name, "link", "set", "lo", "up"])
    }

    fn namespace(&self, slot: usize) -> Result<&str> {
        self.namespaces.get(slot).map(String::as_str).context("there is no such slot")
    }

    /// The words that start a command in a slot's namespace, as the same process.
    ///
    /// # Errors
    /// When there is no such slot.
    pub(crate) fn wrapper(&self, slot: usize) -> Result<[String; 2]> {
        Ok(["nsenter".to_owned(), format!("--net=/run/netns/{}", self.namespace(slot)?)])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in &self.namespaces {
            if let Err(error) = ip(&["netns", "delete", name]) {
                tracing::warn!("namespace {name} is left behind: {error:#}");
            }
        }
        if let Err(error) = ip(&["link", "delete", BRIDGE]) {
            tracing::warn!("the bridge is left behind: {error:#}");
        }
    }
}

/// The address of an end.
pub(crate) fn address(end: End) -> Ipv4Addr {
    let host = match end {
        End::Node(slot) => u8::try_from(slot + 1).unwrap_or(CLIENTS_HOST),
        End::Clients => CLIENTS_HOST,
    };
    Ipv4Addr::new(10, 213, 0, host)
}

fn interface(end: End) -> String {
    match end {
        End::Node(slot) => format!("node{slot}"),
        End::Clients => BRIDGE.to_owned(),
    }
}

/// Removes namespaces of processes that are gone.
fn sweep() -> Result<()> {
    let listed = output("ip", &["netns", "list"])?;
    for name in listed.lines().filter_map(|line| line.split_whitespace().next()) {
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            ip(&["netns", "delete", name])?;
        }
    }
    Ok(())
}

/// Drops packets from now on. There is one cut at a time.
///
/// # Errors
/// When nft is missing or refuses.
pub(crate) fn cut(drops: &[Drops]) -> Result<Cut> {
    let cut = Cut(());
    output("nft", &[&rules(drops)])?;
    Ok(cut)
}

impl Cut {
    /// How many packets were dropped so far.
    ///
    /// # Errors
    /// When the rules are gone.
    pub(super) fn dropped(&self) -> Result<u64> {
        counted(&output("nft", &["-j", "list", "table", "bridge", TABLE])?)
    }

    /// Lets everything through again; returns how many packets were dropped.
    ///
    /// # Errors
    /// When the rules are gone.
    pub(crate) fn heal(self) -> Result<u64> {
        self.dropped()
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        if let Err(error) = output("nft", &["delete", "table", "bridge", TABLE]) {
            tracing::warn!("the rules could not be removed: {error:#}");
        }
    }
}

/// Each direction of each link passes exactly one of the hooks: between nodes it is forwarded, to and from the
/// bridge's own address it is input and output.
fn rules(drops: &[Drops]) -> String {
    let mut text = format!("table bridge {TABLE} {{\n");
    for hook in ["forward", "input", "output"] {
        let _infallible = writeln!(text, " chain {hook} {{\n  type filter hook {hook} priority 0");
        for rule in drops.iter().filter(|drops| hook_of(drops) == hook) {
            text.push_str(&rule_of(rule));
        }
        text.push_str(" }\n");
    }
    text + "}\n"
}

fn hook_of(drops: &Drops) -> &'static str {
    match (drops.from, drops.to) {
        (End::Clients, _) => "output",
        (_, End::Clients) => "input",
        _ => "forward",
    }
}

fn rule_of(drops: &Drops) -> String {
    let mut rule = "  ".to_owned();
    for (word, end) in [("iifname", drops.from), ("oifname", drops.to)] {
        if let End::Node(_) = end {
            let _infallible = write!(rule, "{word} \"{}\" ", interface(end));
        }
    }
    if drops.percent < 100 {
        let _infallible = write!(rule, "numgen random mod 100 < {} ", drops.percent);
    }
    rule + "counter drop\n"
}

/// The sum of all counters in what `nft -j` lists.
fn counted(listed: &str) -> Result<u64> {
    let listed: serde_json::Value = serde_json::from_str(listed)?;
    let items = listed["nftables"].as_array().context("nft lists no rules")?;
    let terms = items.iter().filter_map(|item| item["rule"]["expr"].as_array()).flatten();
    Ok(terms.filter_map(|term| term["counter"]["packets"].as_u64()).sum())
}

fn ip(arguments: &[&str]) -> Result<()> {
    output("ip", arguments).map(drop)
}

/// What a command printed.
///
/// # Errors
/// When it is not installed or does not end with 0; with what it said.
pub(super) fn output(program: &str, arguments: &[&str]) -> Result<String> {
    let ran = Command::new(program)
        .args(arguments)
        .output()
        .with_context(|| format!("{program} cannot be run{}", where_it_is_from(program)))?;
    let words = String::from_utf8_lossy(&ran.stderr).trim().to_owned();
    ensure!(ran.status.success(), "{program} {} ended with {}: {words}", arguments.join(" "), ran.status);
    Ok(String::from_utf8_lossy(&ran.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_direction_is_dropped_where_it_passes() {
        let drops = |from, to, percent| Drops { from, to, percent };
        let text = rules(&[
            drops(End::Node(0), End::Node(1), 100),
            drops(End::Node(2), End::Clients, 100),
            drops(End::Clients, End::Node(2), 20),
        ]);
        let chain = |hook: &str| {
            let (_, rest) = text.split_once(&format!("hook {hook} priority 0\n")).unwrap();
            rest.split_once('}').unwrap().0.trim().to_owned()
        };
        assert_eq!(chain("forward"), "iifname \"node0\" oifname \"node1\" counter drop");
        assert_eq!(chain("input"), "iifname \"node2\" counter drop");
        assert_eq!(chain("output"), "oifname \"node2\" numgen random mod 100 < 20 counter drop");
    }

    #[test]
    fn packets_of_all_rules_are_counted() {
        let rule = |packets| serde_json::json!({"rule": {"expr": [{"counter": {"packets": packets}}, {"drop": null}]}});
        let listed = serde_json::json!({"nftables": [{"metainfo": {}}, rule(3), rule(4)]});
        assert_eq!(counted(&listed.to_string()).unwrap(), 7);
    }
}
