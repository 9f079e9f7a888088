//! ChainFire's own program.

use anyhow::{Context as _, Result};
use chainfire_proto::etcdserverpb::Member as Listed;

use super::{Program, V3};
use crate::faults::{
    cluster::{Cluster, Folders, MEMBERS, Member, Plan, url},
    nemesis::Fault,
    network::{End, address},
};

const CLIENT_PORT: u16 = 2379;
/// Where a node tells its counters, to its own machine alone.
const METRICS: &str = "http://127.0.0.1:7401/metrics";
const INSTALLED: &str = "chainfire_raft_snapshots_installed_total ";
/// Much is cut from the log, so that short absences need snapshots.
const STORAGE: &str =
    "[storage]\nlog_entries_kept = 200\ncheckpoint_interval_ms = 1000\naudit_interval_ms = 5000\n";

/// ChainFire, of which clients need no certificate here: what is tested is the store.
#[derive(Debug)]
pub(in crate::faults) struct Chainfire {
    plan: Plan,
}

impl Program for Chainfire {
    const NAME: &'static str = "chainfire";
    const FAULTS: &'static [Fault] = &[
        Fault::KillLeader,
        Fault::KillAny,
        Fault::KillAll,
        Fault::PauseLeader,
        Fault::IsolateLeader,
        Fault::OneWay,
        Fault::Loss,
        Fault::DiskFullOne,
        Fault::DiskFullAll,
        Fault::SyncError,
        Fault::SlowDisk,
        Fault::TornTail,
        Fault::LostTail,
        Fault::Clock,
        Fault::RollingRestart,
        Fault::SnapshotCatchUp,
        Fault::Membership,
    ];
    const KEPT: Option<&'static str> = Some("node/state/LOG");

    fn new(folders: &Folders) -> Result<Self> {
        Ok(Self { plan: Plan::new(folders, "chainfire", more)? })
    }

    fn prepare(&self, _folders: &Folders, node: Member, members: &[Member]) -> Result<Vec<String>> {
        // A node that is added to a cluster finds the others by itself once the leader knows of it.
        let founds = node.id <= u64::try_from(MEMBERS)?;
        self.plan.prepare(node, if founds { members } else { &[] })
    }

    fn snapshots(cluster: &Cluster<V3<Self>>, slot: usize) -> Result<Option<u64>> {
        let metrics = cluster.output_in(slot, &["curl", "--silent", "--fail", METRICS])?;
        let line = metrics.lines().find_map(|line| line.strip_prefix(INSTALLED));
        Ok(Some(line.context("it does not count its snapshots")?.trim().parse()?))
    }

    fn url(slot: usize) -> String {
        format!("http://{}:{CLIENT_PORT}", address(End::Node(slot)))
    }

    fn peer_url(slot: usize) -> String {
        url(slot)
    }

    fn id_of_new(listed: &Listed, _next: u64) -> u64 {
        listed.id
    }

    fn is_node(listed: &Listed, id: u64) -> bool {
        listed.id == id
    }
}

fn more(node: Member) -> String {
    let host = address(End::Node(node.slot));
    format!("[client]\nlisten = \"{host}:{CLIENT_PORT}\"\ntls = \"off\"\n\n{STORAGE}")
}
