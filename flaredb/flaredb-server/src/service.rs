//! The gRPC services: each request is let in, checked, routed to its region and answered.
//!
//! Every RPC starts with [`Api::allow`] or [`Api::allow_cluster`], so none can forget who is asking. Bounds of fields
//! are checked by `flaredb_proto::validate`, the same as in clients and embedded stores; statuses are made by
//! [`crate::status`] alone.

pub(crate) mod cas;
pub(crate) mod cluster;
pub(crate) mod commits;
pub(crate) mod examine;
pub(crate) mod maintenance;
pub(crate) mod namespaces;
pub(crate) mod raw;
pub(crate) mod state_hash;
pub(crate) mod watch;

use std::{ops::Deref, sync::Arc};

use flaredb_engine::ReadError;
use flaredb_proto::validate::InvalidField;
use photon_runtime::{Action, Principal, Resource, authorize, principal};
use tonic::{Request, Status};

use crate::{node::Node, region::Region, status::Refusal};

/// What all services share: the node.
#[derive(Debug, Clone)]
pub(crate) struct Api(pub(crate) Arc<Node>);

impl Deref for Api {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.0
    }
}

impl Api {
    /// Lets the caller do `action` in a namespace, and names the region that holds it.
    fn allow<T>(
        &self,
        request: &Request<T>,
        action: Action,
        namespace: &str,
    ) -> Result<&Arc<Region>, Status> {
        self.allow_principal(principal(request)?, action, namespace)
    }

    /// Lets somebody do `action` in a namespace, and names the region that holds it.
    fn allow_principal(
        &self,
        principal: &Principal,
        action: Action,
        namespace: &str,
    ) -> Result<&Arc<Region>, Status> {
        authorize(principal, action, &Resource::Namespace(namespace))?;
        self.quarantine.check().map_err(Refusal::from)?;
        Ok(self.regions.of_namespace(namespace)?)
    }

    /// Lets the caller do `action` to the cluster itself.
    fn allow_cluster<T>(&self, request: &Request<T>, action: Action) -> Result<&Arc<Region>, Status> {
        authorize(principal(request)?, action, &Resource::Cluster)?;
        Ok(self.regions.first()?)
    }
}

/// Whether this caller may read a namespace.
fn may_read(principal: &Principal, namespace: &str) -> bool {
    authorize(principal, Action::Read, &Resource::Namespace(namespace)).is_ok()
}

impl From<InvalidField> for Refusal {
    fn from(invalid: InvalidField) -> Self {
        Self::invalid(invalid.field, invalid.found, invalid.accepted)
    }
}

/// Runs a read of a namespace that may take long where it holds up nobody else.
pub(crate) async fn off_the_reactor<T: Send + 'static>(
    namespace: &str,
    read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
) -> Result<T, Refusal> {
    let read = tokio::task::spawn_blocking(read).await;
    let read = read.map_err(|stopped| Refusal::Unavailable(stopped.to_string()))?;
    read.map_err(|error| Refusal::unreadable(namespace, error))
}
