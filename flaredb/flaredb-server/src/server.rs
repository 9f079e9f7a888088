//! The server process: opens the node, puts its services behind the runtime's gates, and starts what runs beside.
//!
//! Nothing is served before the node is open, and readiness is not claimed before a linearizable read has worked.

use std::{sync::Arc, time::Duration};

use flaredb_proto::v1::{
    cluster_server::ClusterServer, kv_cas_server::KvCasServer, kv_raw_server::KvRawServer,
    maintenance_server::MaintenanceServer, namespaces_server::NamespacesServer,
};
use flaredb_raft::Connector;
use photon_runtime::{
    Action, ConfigError, Context, GrpcServer, Resource, Service, Shutdown, StartError, Started, authorize,
    principal,
};
use tokio_util::sync::CancellationToken;
use tonic::{
    Request, Status,
    service::interceptor::InterceptedService,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

use crate::{
    audit::{self, Peers, Schedule},
    config::Config,
    contact, leader,
    metrics::{MemoryUse, NamespaceSizes},
    node::{Node, form_cluster_later},
    quarantine,
    region::Region,
    service::Api,
    space::Watcher,
};

/// Streams have no deadline of their own: a watch lasts, a snapshot takes as long as it is large, and peers talk on.
/// A new member may take as long as its snapshot, a hash as long as the data is large; those have bounds of their own.
const STREAMS: &[&str] = &[
    "/photon.flaredb.v1.KvCas/Watch",
    "/photon.flaredb.v1.Maintenance/SaveSnapshot",
    "/photon.flaredb.v1.Maintenance/RestoreSnapshot",
    "/photon.flaredb.v1.Cluster/AddMember",
    "/photon.flaredb.v1.Maintenance/StateHash",
    "/photon.raft.v1.RaftTransport/Append",
    "/photon.raft.v1.RaftTransport/InstallSnapshot",
];

/// RPCs that last until their client has no more, and answer what they took when the process drains.
const FINISHING: &[&str] = &["/photon.flaredb.v1.KvCas/CommitEach"];

/// What nodes keep each other alive by: few and small, and never to be refused because many clients call.
const VITAL: &[&str] = &[
    "/photon.raft.v1.RaftTransport/Heartbeat",
    "/photon.raft.v1.RaftTransport/RequestVote",
    "/photon.raft.v1.RaftTransport/PreVote",
    "/photon.raft.v1.RaftTransport/TransferLeader",
    "/photon.raft.v1.RaftTransport/ReadIndex",
];

/// The FlareDB server.
#[derive(Debug)]
pub struct FlareDb;

impl Service for FlareDb {
    const NAME: &'static str = "flaredb";
    type Config = Config;

    fn validate(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    async fn start(config: Config, context: Context) -> Result<Started, StartError> {
        let storage = context.health.condition("storage");
        storage.not_ready("the data folder is being opened");
        let node = Node::open(&config, Connector::new(dial(&context)), &context).await?;
        let node = Arc::new(node);
        storage.ok();
        register(&node, &context);
        run_beside(&node, &config, &context);
        Ok(services(&node, config.server.message_size_max()).into())
    }
}

/// What is served, and how large a request may be.
fn services(node: &Arc<Node>, request_bytes_max: usize) -> GrpcServer {
    let api = Api(Arc::clone(node));
    GrpcServer::new()
        .descriptors(flaredb_proto::FILE_DESCRIPTOR_SET)
        .descriptors(flaredb_raft::FILE_DESCRIPTOR_SET)
        .streams(STREAMS)
        .finishing(FINISHING)
        .vital(VITAL)
        .service(KvCasServer::new(api.clone()).max_decoding_message_size(request_bytes_max))
        .service(KvRawServer::new(api.clone()).max_decoding_message_size(request_bytes_max))
        .service(NamespacesServer::new(api.clone()).max_decoding_message_size(request_bytes_max))
        .service(ClusterServer::new(api.clone()).max_decoding_message_size(request_bytes_max))
        .service(MaintenanceServer::new(api).max_decoding_message_size(request_bytes_max))
        // It bounds its messages itself: a piece of the log is larger than any request.
        .service(InterceptedService::new(node.raft.service(), peers_only))
}

/// Reaches peers with this node's own certificate.
fn dial(
    context: &Context,
) -> impl Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync + 'static {
    let tls = context.tls.as_ref().map(|tls| {
        ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(tls.ca_pem()))
            .identity(Identity::from_pem(tls.cert_pem(), tls.key_pem()))
    });
    move |endpoint| {
        let endpoint = Endpoint::from_shared(endpoint.to_owned())?;
        match (endpoint.uri().scheme_str(), &tls) {
            (Some("https"), Some(tls)) => endpoint.tls_config(tls.clone()),
            _ => Ok(endpoint),
        }
    }
}

fn register(node: &Node, context: &Context) {
    context.metrics.register(|registry| {
        node.metrics.register(registry);
        node.raft_metrics.register(registry);
        for region in node.regions.iter() {
            registry.register_collector(Box::new(NamespaceSizes(region.state.clone())));
        }
        let regions = node.regions.iter().map(|region| region.state.clone()).collect();
        registry.register_collector(Box::new(MemoryUse { engine: node.engine.clone(), regions }));
    });
}

/// Starts what goes on beside the requests, and what ends the node after them.
fn run_beside(node: &Arc<Node>, config: &Config, context: &Context) {
    for region in node.regions.iter() {
        let stop = context.tasks.shutdown();
        let space = Watcher {
            disk: Arc::clone(&node.disk),
            room: Arc::clone(&node.room),
            space: node.raft.space().clone(),
            region: Arc::clone(region),
            metrics: node.metrics.clone(),
            ready: context.health.condition("space"),
        };
        context.tasks.spawn_critical("space", until(stop.clone(), space.watch()));
        audit(node, region, config, context);
        let contact = contact::keep(Arc::clone(region), context.health.condition("raft"));
        context.tasks.spawn_critical("raft contact", until(stop.clone(), contact));
        let form = form_cluster_later(Arc::clone(region), config.node.id, config.cluster.clone());
        context.tasks.spawn("forming", until(stop.clone(), form));
        let forget = leader::forget(Arc::clone(region), config.storage.clone());
        context.tasks.spawn_critical("history", until(stop, forget));
    }
    context.tasks.spawn("raft", leave(Arc::clone(node), context.shutdown.clone()));
}

/// Compares replicas, and carries out what that may come to.
fn audit(node: &Arc<Node>, region: &Arc<Region>, config: &Config, context: &Context) {
    let stop = context.tasks.shutdown();
    let work = Arc::clone(&region.auditor).work();
    context.tasks.spawn_critical("audit", until(stop.clone(), work));
    let schedule = Schedule {
        every: Duration::from_millis(config.storage.audit_interval_ms),
        bytes_max: config.storage.audit_bytes_max,
    };
    let (auditor, peers) = (Arc::clone(&region.auditor), Peers::new(dial(context)));
    let lead = audit::lead(auditor, Arc::clone(region), peers, schedule, node.metrics.clone());
    context.tasks.spawn_critical("audit lead", until(stop.clone(), lead));
    let enforce = quarantine::enforce(
        Arc::clone(&node.quarantine),
        Arc::clone(region),
        node.metrics.clone(),
        context.health.condition("replica"),
        node.stop.clone(),
    );
    context.tasks.spawn_critical("quarantine", until(stop, enforce));
}

/// Hands leadership over when the process begins to end, so that nobody waits for an election, and stops the Raft host
/// when nothing is in flight any more.
async fn leave(node: Arc<Node>, shutdown: Shutdown) {
    shutdown.draining().cancelled().await;
    for region in node.regions.iter().filter(|region| region.leads() && region.has_followers()) {
        if let Err(error) = region.group.transfer_leader(None).await {
            tracing::info!(region = region.id, %error, "leadership was not handed over");
        }
    }
    shutdown.stopping().cancelled().await;
    node.room.end();
    node.raft.shutdown().await;
}

async fn until(stop: CancellationToken, work: impl Future<Output = ()>) {
    stop.run_until_cancelled_owned(work).await;
}

/// Lets in the nodes of this cluster, and nobody else.
fn peers_only(request: Request<()>) -> Result<Request<()>, Status> {
    authorize(principal(&request)?, Action::Peer, &Resource::Cluster)?;
    Ok(request)
}
