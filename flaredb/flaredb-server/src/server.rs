//! The server process: opens the node, puts its services behind the runtime's gates, and starts what runs beside.
//!
//! Nothing is served before the node is open, and readiness is not claimed before a linearizable read has worked.

use std::{sync::Arc, time::Duration};

use flaredb_node::{
    Beside, MemoryUse, PEER_FINISHING, PEER_STREAMS, PEER_VITAL,
    audit::{Answers, Schedule},
    dial, peers_only, until,
};
use flaredb_proto::v1::{
    cluster_server::ClusterServer, kv_cas_server::KvCasServer, kv_raw_server::KvRawServer,
    maintenance_server::MaintenanceServer, namespaces_server::NamespacesServer,
};
use flaredb_raft::Connector;
use photon_registry::About;
use photon_runtime::{ConfigError, Context, GrpcServer, Service, StartError, Started};
use tonic::service::interceptor::InterceptedService;

use crate::{config::Config, leader, metrics::NamespaceSizes, node::Node, service::Api};

/// Streams have no deadline of their own: a watch lasts, a snapshot takes as long as it is large.
/// A new member may take as long as its snapshot, a hash as long as the data is large; those have bounds of their own.
const STREAMS: &[&str] = &[
    "/photon.flaredb.v1.KvCas/Watch",
    "/photon.flaredb.v1.Maintenance/SaveSnapshot",
    "/photon.flaredb.v1.Maintenance/RestoreSnapshot",
    "/photon.flaredb.v1.Cluster/AddMember",
    "/photon.flaredb.v1.Maintenance/StateHash",
];

/// RPCs that last until their client has no more, and answer what they took when the process drains.
const FINISHING: &[&str] = &["/photon.flaredb.v1.KvCas/CommitEach"];

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
        // Boxed: it is large, and what starts servers in tests holds several of them.
        let open = Box::pin(Node::open(&config, Connector::new(dial(context.tls.as_ref())), &context));
        let node = open.await?;
        let node = Arc::new(node);
        storage.ok();
        register(&node, &context);
        run_beside(&node, &config, &context);
        let (number, address) = (config.node.id.to_string(), config.node.endpoint.clone());
        photon_registry::announce(
            &config.registry,
            About { service: Self::NAME, number, address },
            &context,
        )?;
        Ok(services(&node, config.server.message_size_max()).into())
    }
}

/// What is served, and how large a request may be.
fn services(node: &Arc<Node>, request_bytes_max: usize) -> GrpcServer {
    let api = Api(Arc::clone(node));
    let audits = Answers::service(node.regions.iter().map(|region| Arc::clone(region.hosted())));
    GrpcServer::new()
        .descriptors(flaredb_proto::FILE_DESCRIPTOR_SET)
        .descriptors(flaredb_raft::FILE_DESCRIPTOR_SET)
        .descriptors(flaredb_node::FILE_DESCRIPTOR_SET)
        .streams(STREAMS)
        .streams(PEER_STREAMS)
        .finishing(FINISHING)
        .finishing(PEER_FINISHING)
        .vital(PEER_VITAL)
        .service(KvCasServer::new(api.clone()).max_decoding_message_size(request_bytes_max))
        .service(KvRawServer::new(api.clone()).max_decoding_message_size(request_bytes_max))
        .service(NamespacesServer::new(api.clone()).max_decoding_message_size(request_bytes_max))
        .service(ClusterServer::new(api.clone()).max_decoding_message_size(request_bytes_max))
        .service(MaintenanceServer::new(api).max_decoding_message_size(request_bytes_max))
        .service(InterceptedService::new(audits, peers_only(FlareDb::NAME)))
        // It bounds its messages itself: a piece of the log is larger than any request.
        .service(InterceptedService::new(node.raft.service(), peers_only(FlareDb::NAME)))
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
    let schedule = Schedule {
        every: Duration::from_millis(config.storage.audit_interval_ms),
        bytes_max: config.storage.audit_bytes_max,
    };
    for region in node.regions.iter() {
        let beside = Beside { host: &node.host, hosted: region.hosted(), context, serving: &node.stop };
        beside.start(&config.cluster);
        beside.audit(schedule);
        let forget = leader::forget(Arc::clone(region), config.storage.clone());
        context.tasks.spawn_critical("history", until(context.tasks.shutdown(), forget));
    }
}
