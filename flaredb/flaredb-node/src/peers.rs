//! How the nodes of a cluster reach each other: with their own certificates, and nobody else is let in.

use std::sync::Arc;

use photon_runtime::{Action, Resource, Tls, authorize, principal};
use tonic::{
    Request, Status,
    transport::{Certificate, ClientTlsConfig, Endpoint, Identity},
};

/// Peers talk on; these have no deadline of their own.
pub const STREAMS: &[&str] = &[
    "/photon.raft.v1.RaftTransport/Append",
    "/photon.raft.v1.RaftTransport/InstallSnapshot",
    // It waits until the replica gets there.
    "/photon.node.v1.Audits/GetFinding",
];

/// What a node that ends answers to the last: what it was forwarded, by nodes that stop when another one leads.
pub const FINISHING: &[&str] = &["/photon.raft.v1.RaftTransport/Forward"];

/// What nodes keep each other alive by: few and small, and never to be refused because many clients call.
pub const VITAL: &[&str] = &[
    "/photon.raft.v1.RaftTransport/Heartbeat",
    "/photon.raft.v1.RaftTransport/RequestVote",
    "/photon.raft.v1.RaftTransport/PreVote",
    "/photon.raft.v1.RaftTransport/TransferLeader",
    "/photon.raft.v1.RaftTransport/ReadIndex",
];

/// Reaches peers with this node's own certificate.
pub fn dial(
    tls: Option<&Arc<Tls>>,
) -> impl Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync + 'static {
    let tls = tls.map(|tls| {
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

/// Lets in the nodes of a service of this cloud, and nobody else.
pub fn peers_only(
    service: &'static str,
) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static {
    move |request| {
        authorize(principal(&request)?, Action::Peer, &Resource::Replicas(service))?;
        Ok(request)
    }
}
