//! The one function that decides who may do what.
//!
//! Pure, and written as a table of what is allowed: whatever no row allows is denied.

use std::fmt;

use tonic::Status;

use crate::principal::{Principal, Role};

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Read or watch.
    Read,
    /// Create, change or delete what is in the resource.
    Write,
    /// Create, change or delete the resource itself.
    Admin,
    /// Speak the protocol that the nodes of one service speak among themselves.
    Peer,
}

/// What somebody wants to do it to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A namespace of the metadata database, by name.
    Namespace(&'a str),
    /// The database's cluster: members, status, snapshots.
    Cluster,
    /// The nodes of a service that replicates among them.
    Replicas(&'a str),
    /// Zones and record sets.
    Dns,
}

/// Somebody wanted to do what they may not. A gRPC status of PERMISSION_DENIED.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{principal} may not {action} {resource}")]
pub struct Denied {
    principal: String,
    action: Action,
    resource: String,
}

/// Decides whether `principal` may do `action` to `resource`.
///
/// # Errors
/// [`Denied`], which says who may not do what.
pub fn authorize(principal: &Principal, action: Action, resource: &Resource<'_>) -> Result<(), Denied> {
    let allowed = match principal {
        Principal::Service { service, .. } => service_may(service, action, resource),
        Principal::Operator { role, .. } => operator_may(*role, action),
    };
    match allowed {
        true => Ok(()),
        false => Err(Denied { principal: principal.to_string(), action, resource: resource.to_string() }),
    }
}

fn service_may(service: &str, action: Action, resource: &Resource<'_>) -> bool {
    match (action, resource) {
        (Action::Read | Action::Write | Action::Admin, Resource::Namespace(name)) => *name == service,
        // A client finds the leader by asking for the members.
        (Action::Read, Resource::Cluster) => true,
        (Action::Peer, Resource::Replicas(name)) => *name == service,
        _ => false,
    }
}

fn operator_may(role: Role, action: Action) -> bool {
    match action {
        Action::Read => true,
        Action::Write | Action::Admin => role == Role::Admin,
        // A person who could speak as a peer could write to the log past every check.
        Action::Peer => false,
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write to",
            Self::Admin => "administer",
            Self::Peer => "be a peer of",
        })
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "namespace {name}"),
            Self::Cluster => f.write_str("the cluster"),
            Self::Replicas(service) => write!(f, "the nodes of {service}"),
            Self::Dns => f.write_str("DNS zones"),
        }
    }
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Self {
        Self::permission_denied(denied.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTIONS: [Action; 4] = [Action::Read, Action::Write, Action::Admin, Action::Peer];

    fn service(name: &str) -> Principal {
        Principal::Service { service: name.to_owned(), node: "1".to_owned() }
    }

    fn operator(role: Role) -> Principal {
        Principal::Operator { name: "ada".to_owned(), role }
    }

    /// What `principal` may do to `resource`, as one letter for each action.
    fn rights(principal: &Principal, resource: Resource<'_>) -> String {
        let letters = ACTIONS.iter().zip("rwap".chars());
        letters
            .filter(|(action, _)| authorize(principal, **action, &resource).is_ok())
            .map(|(_, letter)| letter)
            .collect()
    }

    #[test]
    fn rights_are_exactly_those_of_the_table() {
        let (own, other) = (Resource::Namespace("flashdns"), Resource::Namespace("fiberlb"));
        let (cluster, nodes, dns) = (Resource::Cluster, Resource::Replicas("flaredb"), Resource::Dns);
        for (principal, rows) in [
            (service("flashdns"), [(own, "rwa"), (other, ""), (cluster, "r"), (nodes, ""), (dns, "")]),
            (service("flaredb"), [(own, ""), (other, ""), (cluster, "r"), (nodes, "p"), (dns, "")]),
            (service("chainfire"), [(own, ""), (other, ""), (cluster, "r"), (nodes, ""), (dns, "")]),
            (service(""), [(own, ""), (other, ""), (cluster, "r"), (nodes, ""), (dns, "")]),
            (
                operator(Role::Admin),
                [(own, "rwa"), (other, "rwa"), (cluster, "rwa"), (nodes, "rwa"), (dns, "rwa")],
            ),
            (operator(Role::Viewer), [(own, "r"), (other, "r"), (cluster, "r"), (nodes, "r"), (dns, "r")]),
        ] {
            for (resource, expected) in rows {
                assert_eq!(rights(&principal, resource), expected, "{principal} on {resource}");
            }
        }
    }

    #[test]
    fn denial_says_who_may_not_do_what() {
        let denied =
            authorize(&service("flashdns"), Action::Write, &Resource::Namespace("fiberlb")).unwrap_err();
        assert_eq!(denied.to_string(), "service flashdns/1 may not write to namespace fiberlb");
        assert_eq!(Status::from(denied).code(), tonic::Code::PermissionDenied);
    }

    #[test]
    fn a_neighbours_name_that_starts_alike_is_another_namespace() {
        let denied = authorize(&service("fiberlb"), Action::Read, &Resource::Namespace("fiberlb2"));
        assert!(denied.is_err());
    }
}
