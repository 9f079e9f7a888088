//! What changed, as the node that tells it sees it. Gossip is hearsay: act on the end of a member only when it was
//! confirmed.

use crate::identity::{Identity, NodeId};

/// A change of who is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A node that was not known.
    Joined(Identity),
    /// Somebody could not reach it. It still counts as there.
    Suspected(NodeId),
    /// It was suspected, and answered.
    Refuted(NodeId),
    /// It is thought to have failed: a hint, to be confirmed over another way.
    FailedHint(NodeId),
    /// It had failed or left, or was started anew before anybody noticed.
    Returned(Identity),
    /// It said farewell.
    Left(NodeId),
    /// What it says about itself is new.
    MetadataChanged(NodeId),
}

impl Event {
    /// Whom it is about.
    pub fn node(&self) -> NodeId {
        match self {
            Self::Joined(identity) | Self::Returned(identity) => identity.node,
            Self::Suspected(node)
            | Self::Refuted(node)
            | Self::FailedHint(node)
            | Self::Left(node)
            | Self::MetadataChanged(node) => *node,
        }
    }
}
