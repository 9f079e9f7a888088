//! What goes on beside the requests of a node, and what ends the node after them.

use std::sync::Arc;

use photon_runtime::{Context, Shutdown};
use tokio_util::sync::CancellationToken;

use crate::{
    audit::{self, Schedule},
    config::ClusterConfig,
    contact, forming,
    host::{Host, Hosted},
    peers::dial,
    quarantine,
    space::Watcher,
};

/// A node and one of its regions, whose keepers are to be started.
#[derive(Debug)]
pub struct Beside<'a> {
    /// The node.
    pub host: &'a Host,
    /// The region.
    pub hosted: &'a Arc<Hosted>,
    /// The process.
    pub context: &'a Context,
    /// Ends what is open when the replica is quarantined.
    pub serving: &'a CancellationToken,
}

impl Beside<'_> {
    /// Starts what every region needs: the watch over the disk, contact with the leader, the late forming of the
    /// cluster, the quarantine, and the end.
    pub fn start(&self, cluster: &ClusterConfig) {
        let (host, hosted, context) = (self.host, self.hosted, self.context);
        let (group, stop) = (&hosted.group, context.tasks.shutdown());
        let space = Watcher {
            disk: Arc::clone(&host.disk),
            room: Arc::clone(&host.room),
            space: host.raft.space().clone(),
            group: group.clone(),
            metrics: host.metrics.clone(),
            ready: context.health.condition("space"),
        };
        context.tasks.spawn_critical("space", until(stop.clone(), space.watch()));
        let contact = contact::keep(group.clone(), Arc::clone(&hosted.hub), context.health.condition("raft"));
        context.tasks.spawn_critical("raft contact", until(stop.clone(), contact));
        let form = forming::form_later(group.clone(), host.identity.node_id, cluster.clone());
        context.tasks.spawn("forming", until(stop.clone(), form));
        let enforce = quarantine::enforce(
            Arc::clone(&host.quarantine),
            group.clone(),
            host.metrics.clone(),
            context.health.condition("replica"),
            self.serving.clone(),
        );
        context.tasks.spawn_critical("quarantine", until(stop, enforce));
        let left =
            leave(Arc::clone(hosted), host.raft.clone(), Arc::clone(&host.room), context.shutdown.clone());
        context.tasks.spawn("raft", left);
    }

    /// Starts the audits.
    pub fn audit(&self, schedule: Schedule) {
        let (hosted, tasks) = (self.hosted, &self.context.tasks);
        let work = Arc::clone(&hosted.auditor).work();
        tasks.spawn_critical("audit", until(tasks.shutdown(), work));
        let lead = audit::lead(Arc::clone(hosted), dial(self.context.tls.as_ref()), schedule);
        tasks.spawn_critical("audit lead", until(tasks.shutdown(), lead));
    }
}

/// Hands leadership over when the process begins to end, so that nobody waits for an election, and stops the Raft host
/// when nothing is in flight any more.
async fn leave(
    hosted: Arc<Hosted>,
    raft: flaredb_raft::Node,
    room: Arc<crate::space::Room>,
    shutdown: Shutdown,
) {
    shutdown.draining().cancelled().await;
    if hosted.group.leads()
        && hosted.group.has_followers()
        && let Err(error) = hosted.group.transfer_leader(None).await
    {
        tracing::info!(region = hosted.id, %error, "leadership was not handed over");
    }
    shutdown.stopping().cancelled().await;
    room.end();
    raft.shutdown().await;
}

/// Polls `work` until it ends or is to stop.
pub async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    stop.run_until_cancelled_owned(work).await;
}
