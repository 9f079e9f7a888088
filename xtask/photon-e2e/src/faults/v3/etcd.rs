//! etcd's own program, as Debian has it: the peer that the harness is measured by, and that ChainFire is compared with.

use std::{os::unix::process::ExitStatusExt as _, process::ExitStatus};

use anyhow::Result;
use chainfire_proto::etcdserverpb::Member as Listed;
use nix::sys::signal::Signal;

use super::{Program, V3};
use crate::faults::{
    cluster::{Cluster, Folders, MEMBERS, Member},
    nemesis::Fault,
    network::{End, address},
};

const CLIENT_PORT: u16 = 2379;
const PEER_PORT: u16 = 2380;

/// etcd. It is not put to a clock that jumps, because a Go program reads the clock without the libc that the harness
/// could put itself before; nor to a full disk, on which it ends, as its manual says.
#[derive(Debug)]
pub(in crate::faults) struct Etcd;

impl Program for Etcd {
    const NAME: &'static str = "chainfire --peer etcd";
    const FAULTS: &'static [Fault] = &[
        Fault::KillLeader,
        Fault::KillAny,
        Fault::KillAll,
        Fault::PauseLeader,
        Fault::IsolateLeader,
        Fault::OneWay,
        Fault::Loss,
        Fault::SlowDisk,
        Fault::RollingRestart,
        Fault::Membership,
    ];
    const KEPT: Option<&'static str> = None;

    /// It ends by the signal that asked it to, once it has closed its files.
    fn ended_well(status: ExitStatus) -> bool {
        status.success() || status.signal() == Some(Signal::SIGTERM as i32)
    }

    fn new(_folders: &Folders) -> Result<Self> {
        Ok(Self)
    }

    fn prepare(&self, folders: &Folders, node: Member, members: &[Member]) -> Result<Vec<String>> {
        let cluster: Vec<_> = members
            .iter()
            .map(|member| format!("{}={}", name_of(member.id), Self::peer_url(member.slot)))
            .collect();
        // A cluster is founded by its first members; the others have been added to it before they start.
        let state = if node.id <= u64::try_from(MEMBERS)? { "new" } else { "existing" };
        let (client, peer) = (Self::url(node.slot), Self::peer_url(node.slot));
        let folder = folders.disk(node.slot).join(format!("etcd-{}", node.id)).display().to_string();
        #[rustfmt::skip]
        let words = [
            "etcd", "--name", &name_of(node.id), "--data-dir", &folder,
            "--listen-client-urls", &client, "--advertise-client-urls", &client,
            "--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer,
            "--initial-cluster", &cluster.join(","), "--initial-cluster-state", state,
            // By default every ten minutes, and as much of the log is kept as a run writes.
            "--experimental-watch-progress-notify-interval", "500ms", "--snapshot-count", "200",
            "--logger", "zap", "--log-level", "info",
        ];
        Ok(words.into_iter().map(str::to_owned).collect())
    }

    fn snapshots(_cluster: &Cluster<V3<Self>>, _slot: usize) -> Result<Option<u64>> {
        Ok(None)
    }

    fn url(slot: usize) -> String {
        format!("http://{}:{CLIENT_PORT}", address(End::Node(slot)))
    }

    fn peer_url(slot: usize) -> String {
        format!("http://{}:{PEER_PORT}", address(End::Node(slot)))
    }

    fn id_of_new(_listed: &Listed, next: u64) -> u64 {
        next
    }

    fn is_node(listed: &Listed, id: u64) -> bool {
        listed.name == name_of(id)
    }
}

fn name_of(id: u64) -> String {
    format!("n{id}")
}
