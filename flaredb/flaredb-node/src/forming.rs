//! How the first members begin their cluster.
//!
//! It is no special mode: a region without a membership gets the configured one, the same whoever gives it, and Raft
//! settles the rest.

use std::time::Duration;

use flaredb_raft::{Group, InitializeError};
use tokio::time::sleep;

use crate::config::ClusterConfig;

/// How long each first member leaves it to those before it to begin a new cluster.
const PATIENCE_PER_RANK: Duration = Duration::from_millis(300);

/// Begins the cluster where this node is the one that does. Were it all of them, each would depose the one before.
///
/// # Errors
/// When the membership is not acceptable; one that is there already is.
pub(crate) async fn form(group: &Group, node: u64, config: &ClusterConfig) -> Result<(), InitializeError> {
    let first = config.initial_members.iter().map(|member| member.id).min();
    if first == Some(node) { begin(group, config).await } else { Ok(()) }
}

/// Gives a region without a membership the configured one.
async fn begin(group: &Group, config: &ClusterConfig) -> Result<(), InitializeError> {
    let members = config.initial_members.iter().map(|member| (member.id, member.endpoint.clone()));
    match group.initialize(members).await {
        Ok(()) | Err(InitializeError::AlreadyInitialized) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Begins the cluster after all, where those that should have done so are late; one member after the other.
pub(crate) async fn form_later(group: Group, node: u64, config: ClusterConfig) {
    let rank = config.initial_members.iter().filter(|member| member.id < node).count();
    let Some(patience) = u32::try_from(rank).ok().filter(|rank| *rank > 0) else { return };
    sleep(PATIENCE_PER_RANK * patience).await;
    if group.is_initialized() {
        return;
    }
    if let Err(error) = begin(&group, &config).await {
        tracing::error!(%error, "the cluster could not be formed from cluster.initial_members");
    }
}
