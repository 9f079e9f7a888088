//! Finds the service of a call, and what is known of its RPC, by the request's path alone.
//!
//! The table is made once from the descriptors: a path that is not in it is no RPC of this process, and the names of
//! metrics are bounded by it.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use http::{Request, Response};
use tonic::body::Body;
use tonic_health::pb::health_server::HealthServer;
use tonic_reflection::server::v1::{ServerReflection, ServerReflectionServer};

use super::{
    GrpcServer, RpcRules,
    descriptors::{DescriptorError, RpcPath, rpc_paths},
    metrics::{GrpcMetrics, RpcMetrics},
    service::Handler,
};
use crate::health;

/// RPCs of the runtime's own services that last.
const STREAMS: [&str; 2] =
    ["/grpc.health.v1.Health/Watch", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"];

/// Every RPC of the process by its path.
pub(crate) struct Router {
    rpcs: HashMap<String, Rpc>,
    /// Counts calls to paths that are no RPC.
    unknown: RpcMetrics,
}

/// One RPC.
pub(super) struct Rpc {
    handler: Arc<dyn Handler>,
    /// It lasts: no deadline of ours, not counted.
    pub(super) lasts: bool,
    /// It ends by itself when the process drains.
    pub(super) finishes: bool,
    /// It is let in however many calls are in flight, and not counted among them.
    pub(super) vital: bool,
    /// Its response is many messages, so that a deadline must hold while they are sent.
    pub(super) server_streaming: bool,
    pub(super) metrics: RpcMetrics,
}

/// The services and their descriptors do not fit together: a mistake of the program, found at its start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouterError {
    #[error(transparent)]
    Descriptors(#[from] DescriptorError),
    #[error("gRPC reflection cannot be set up")]
    Reflection(#[from] tonic_reflection::server::Error),
    #[error("service {0} is served, but not in the descriptors")]
    Undescribed(String),
    #[error("service {0} is added twice")]
    Twice(String),
    #[error("{0} is named as a stream or as vital, but no RPC that is served")]
    NoSuchRpc(String),
}

impl Router {
    /// Routes to the services of `server` and to health and reflection.
    pub(crate) fn new(
        server: GrpcServer,
        health: health::Server,
        metrics: &GrpcMetrics,
    ) -> Result<Self, RouterError> {
        let reflection = reflection(&server.descriptors)?;
        let server = server
            .service(HealthServer::new(health))
            .service(reflection)
            .descriptors(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .descriptors(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .streams(&STREAMS);
        let described = described(&server.descriptors)?;
        let mut rpcs = HashMap::new();
        for (name, handler) in server.services {
            let handler = Arc::from(handler);
            let own = described.iter().filter(|rpc| rpc.service == name);
            let before = rpcs.len();
            for rpc in own {
                let (path, rpc) = Rpc::new(rpc, &handler, &server.rules, metrics);
                if rpcs.insert(path, rpc).is_some() {
                    return Err(RouterError::Twice(name.to_owned()));
                }
            }
            if rpcs.len() == before {
                return Err(RouterError::Undescribed(name.to_owned()));
            }
        }
        match server.rules.all().find(|path| !rpcs.contains_key(**path)) {
            Some(path) => Err(RouterError::NoSuchRpc((*path).to_owned())),
            None => Ok(Self { rpcs, unknown: metrics.of_rpc("unknown") }),
        }
    }

    pub(super) fn metrics<'a>(&'a self, rpc: Option<&'a Rpc>) -> &'a RpcMetrics {
        rpc.map_or(&self.unknown, |rpc| &rpc.metrics)
    }

    pub(super) fn find(&self, path: &str) -> Option<&Rpc> {
        self.rpcs.get(path)
    }
}

impl Rpc {
    fn new(
        rpc: &RpcPath,
        handler: &Arc<dyn Handler>,
        rules: &RpcRules,
        metrics: &GrpcMetrics,
    ) -> (String, Self) {
        let path = rpc.path();
        let finishes = rules.finishing.contains(path.as_str());
        let lasts = finishes || rules.streams.contains(path.as_str());
        let vital = rules.vital.contains(path.as_str());
        let metrics = metrics.of_rpc(&path);
        let handler = Arc::clone(handler);
        (path, Self { handler, lasts, finishes, vital, server_streaming: rpc.server_streaming, metrics })
    }

    pub(super) fn call(&self, request: Request<Body>) -> impl Future<Output = Response<Body>> + Send + use<> {
        self.handler.call(request)
    }
}

fn described(descriptors: &[&[u8]]) -> Result<BTreeSet<RpcPath>, DescriptorError> {
    let mut all = BTreeSet::new();
    for encoded in descriptors {
        all.extend(rpc_paths(encoded)?);
    }
    Ok(all)
}

fn reflection(
    descriptors: &[&'static [u8]],
) -> Result<ServerReflectionServer<impl ServerReflection>, RouterError> {
    let builder = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET);
    let builder =
        descriptors.iter().fold(builder, |builder, set| builder.register_encoded_file_descriptor_set(set));
    Ok(builder.build_v1()?)
}
