//! Who calls. Put into every request's extensions by the server before any service sees it.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use tonic::Status;

/// Who calls: one of our services by its certificate, or a person by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// A service, by the identity in its certificate.
    Service {
        /// Its name, such as `flashdns`.
        service: String,
        /// Its node, such as `1`.
        node: String,
    },
    /// A person, by a bearer token.
    Operator {
        /// Name of the token.
        name: String,
        /// What the token may do.
        role: Role,
    },
}

/// What a person's token may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything that people do.
    Admin,
    /// Read everything, change nothing.
    Viewer,
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service { service, node } => write!(f, "service {service}/{node}"),
            Self::Operator { name, role: Role::Admin } => write!(f, "admin {name}"),
            Self::Operator { name, role: Role::Viewer } => write!(f, "viewer {name}"),
        }
    }
}

/// Who sent a request.
///
/// # Errors
/// UNAUTHENTICATED when the request did not come through a [`GrpcServer`](crate::GrpcServer), which lets none in
/// without a principal.
pub fn principal<T>(request: &tonic::Request<T>) -> Result<&Principal, Status> {
    let principal = request.extensions().get::<Arc<Principal>>();
    principal.map(Arc::as_ref).ok_or_else(|| Status::unauthenticated("the caller is not known"))
}
