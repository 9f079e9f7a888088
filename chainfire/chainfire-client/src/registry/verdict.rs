//! The verdict on a node: what ChainFire's leader has found out about it, over more ways than one.

use serde::{Deserialize, Serialize};

use super::keys;

/// A node that is down, by decision of ChainFire's leader. The record is this as JSON; it stands for as long as the
/// verdict does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// The node, by its name in gossip.
    pub node: String,
    /// Milliseconds since 1970 when it was decided, by the leader's clock.
    pub since_ms: u64,
    /// Who decided.
    #[serde(default)]
    pub judge: String,
}

impl Verdict {
    /// Where the verdict on a node stands.
    pub fn key_of(node: &str) -> String {
        keys::verdict(node)
    }
}
