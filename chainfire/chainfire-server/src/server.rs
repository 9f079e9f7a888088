//! The server process: binds etcd's port, opens the node, and puts its services behind the two ports.
//!
//! The process's own port is for the nodes of the cluster alone: consensus, and etcd's services as a node that follows
//! needs them of the one that leads. Etcd's port is for etcd's clients.

use std::{net::SocketAddr, sync::Arc};

use chainfire_proto::{
    etcdserverpb::{
        auth_server::AuthServer, cluster_server::ClusterServer, kv_server::KvServer,
        lease_server::LeaseServer, maintenance_server::MaintenanceServer, watch_server::WatchServer,
    },
    v3electionpb::election_server::ElectionServer,
    v3lockpb::lock_server::LockServer,
};
use flaredb_node::{
    Beside, MemoryUse, PEER_FINISHING, PEER_STREAMS, PEER_VITAL, audit::Answers, peers_only, until,
};
use photon_runtime::{ConfigError, Context, GrpcServer, OpenPort, Service, StartError, Started};
use tonic::service::interceptor::InterceptedService;

use crate::{
    agent,
    api::{Api, From},
    config::Config,
    court::{self, Court},
    gossip::Gossip,
    keeper,
    node::Node,
    tokens,
};

/// They last: a watch until its client has no more, a snapshot as long as it is large.
const STREAMS: &[&str] = &[
    "/etcdserverpb.Watch/Watch",
    "/etcdserverpb.Maintenance/Snapshot",
    KEEP_ALIVE,
    // A turn comes when it comes.
    "/v3lockpb.Lock/Lock",
    "/v3electionpb.Election/Campaign",
    "/v3electionpb.Election/Observe",
];
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";

/// The ChainFire server.
#[derive(Debug)]
pub struct ChainFire;

impl Service for ChainFire {
    const NAME: &'static str = "chainfire";
    type Config = Config;

    fn validate(config: &Config) -> Result<(), ConfigError> {
        config.check()
    }

    async fn start(config: Config, context: Context) -> Result<Started, StartError> {
        let client = &config.client;
        let port = OpenPort::bind("client.listen", client.listen, client.tls, context.tls.as_ref()).await?;
        let urls = client.urls_at(port.address());
        tracing::info!(?urls, "etcd's clients are served here");
        let storage = context.health.condition("storage");
        storage.not_ready("the data folder is being opened");
        // Boxed: it is large, and what starts servers in tests holds several of them.
        let open = Box::pin(Node::open(&config, name_of(&config)?, urls, &context));
        let node = Arc::new(open.await?);
        storage.ok();
        register(&node, &context);
        run_beside(&node, &config, &context);
        let (mut peers, mut clients) = (peers(&node), clients(&node));
        if let Some(listen) = config.gossip.listen {
            let gossip = gossip(&node, &config, listen, &context).await?;
            peers = agent::serve(peers, Arc::clone(&gossip));
            clients = agent::serve(clients, gossip);
        }
        Ok(Started::new(peers).open(port, clients))
    }
}

/// What gossip calls the node, so that it has one name in all lists; without gossip, its number.
fn name_of(config: &Config) -> Result<String, StartError> {
    match config.gossip.listen {
        Some(_) => Ok(config.gossip.name()?),
        None => Ok(config.node.id.to_string()),
    }
}

/// Begins to gossip, and to judge whenever this node leads.
async fn gossip(
    node: &Arc<Node>,
    config: &Config,
    listen: SocketAddr,
    context: &Context,
) -> Result<Arc<Gossip>, StartError> {
    let (gossip, events) = Gossip::start(&config.gossip, listen, ChainFire::NAME, context).await?;
    let metrics = court::Metrics::default();
    context.metrics.register(|registry| metrics.register(registry));
    let court = Court::new(Arc::clone(node), Arc::clone(&gossip), metrics);
    context.tasks.spawn("court", until(context.tasks.shutdown(), court.sit(events)));
    Ok(gossip)
}

/// What etcd's clients find.
fn clients(node: &Arc<Node>) -> GrpcServer {
    let api = Api { node: Arc::clone(node), from: From::Clients };
    let message_bytes_max = node.requests.message_bytes_max();
    GrpcServer::new()
        .descriptors(chainfire_proto::FILE_DESCRIPTOR_SET)
        .streams(STREAMS)
        .service(KvServer::new(api.clone()).max_decoding_message_size(message_bytes_max))
        .service(WatchServer::new(api.clone()).max_decoding_message_size(message_bytes_max))
        .service(LeaseServer::new(api.clone()).max_decoding_message_size(message_bytes_max))
        .service(AuthServer::new(api.clone()).max_decoding_message_size(message_bytes_max))
        .service(LockServer::new(api.clone()).max_decoding_message_size(message_bytes_max))
        .service(ElectionServer::new(api.clone()).max_decoding_message_size(message_bytes_max))
        .service(ClusterServer::new(api.clone()).max_decoding_message_size(message_bytes_max))
        .service(MaintenanceServer::new(api).max_decoding_message_size(message_bytes_max))
}

/// What the other nodes find.
fn peers(node: &Arc<Node>) -> GrpcServer {
    let api = Api { node: Arc::clone(node), from: From::Peers };
    let audits = Answers::service([Arc::clone(&node.hosted)]);
    GrpcServer::new()
        .descriptors(chainfire_proto::FILE_DESCRIPTOR_SET)
        .descriptors(flaredb_raft::FILE_DESCRIPTOR_SET)
        .descriptors(flaredb_node::FILE_DESCRIPTOR_SET)
        .streams(PEER_STREAMS)
        .finishing(PEER_FINISHING)
        .streams(&[KEEP_ALIVE])
        .vital(PEER_VITAL)
        .service(InterceptedService::new(ClusterServer::new(api.clone()), peers_only(ChainFire::NAME)))
        .service(InterceptedService::new(LeaseServer::new(api), peers_only(ChainFire::NAME)))
        .service(InterceptedService::new(audits, peers_only(ChainFire::NAME)))
        // It bounds its messages itself: a piece of the log is larger than any request.
        .service(InterceptedService::new(node.raft.service(), peers_only(ChainFire::NAME)))
}

fn register(node: &Arc<Node>, context: &Context) {
    context.metrics.register(|registry| {
        node.metrics.register(registry);
        node.raft_metrics.register(registry);
        let regions = vec![node.hosted.state.clone()];
        registry.register_collector(Box::new(MemoryUse { engine: node.engine.clone(), regions }));
    });
}

/// Starts what goes on beside the requests, and what ends the node after them.
fn run_beside(node: &Arc<Node>, config: &Config, context: &Context) {
    let beside = Beside { host: &node.host, hosted: &node.hosted, context, serving: &node.stop };
    beside.start(&config.cluster);
    beside.audit(config.storage.audits());
    let introduce = until(context.tasks.shutdown(), Arc::clone(node).introduce());
    context.tasks.spawn("introduction", introduce);
    let free = until(context.tasks.shutdown(), crate::service::kv::free(Arc::clone(node)));
    context.tasks.spawn_critical("compaction", free);
    let api = Api { node: Arc::clone(node), from: From::Peers };
    let keep = until(context.tasks.shutdown(), keeper::keep(api.clone()));
    context.tasks.spawn_critical("leases", keep);
    let replace = until(context.tasks.shutdown(), tokens::replace_keys(api));
    context.tasks.spawn_critical("keys of tokens", replace);
}
