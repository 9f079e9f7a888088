//! Between openraft's values and the messages that name them on the wire and on disk.
//!
//! Decoding refuses what it cannot represent instead of guessing; a missing message field is an absent value,
//! never a zero.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use bytes::Bytes;
use openraft::BasicNode;
use prost::Message as _;

use crate::{
    proto::v1,
    state_machine::Applied,
    types::{CommittedLeaderId, LogId, Membership, StoredMembership, Vote, position},
};

pub(crate) fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

impl From<&LogId> for v1::LogId {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }
}

impl From<v1::LogId> for LogId {
    fn from(id: v1::LogId) -> Self {
        Self::new(CommittedLeaderId { term: id.term, node_id: id.leader }, id.index)
    }
}

impl From<&Vote> for v1::Vote {
    fn from(vote: &Vote) -> Self {
        Self { term: vote.leader_id.term, node: vote.leader_id.node_id, committed: vote.committed }
    }
}

impl From<v1::Vote> for Vote {
    fn from(vote: v1::Vote) -> Self {
        match vote.committed {
            true => Self::new_committed(vote.term, vote.node),
            false => Self::new(vote.term, vote.node),
        }
    }
}

impl From<&Membership> for v1::Membership {
    fn from(membership: &Membership) -> Self {
        let configs = membership.get_joint_config().iter();
        Self {
            configs: configs.map(|ids| v1::VoterSet { ids: ids.iter().copied().collect() }).collect(),
            nodes: membership
                .nodes()
                .map(|(id, node)| v1::Member { id: *id, endpoint: node.addr.clone() })
                .collect(),
        }
    }
}

impl TryFrom<v1::Membership> for Membership {
    type Error = io::Error;

    fn try_from(message: v1::Membership) -> io::Result<Self> {
        let configs = message.configs.into_iter().map(|set| set.ids.into_iter().collect::<BTreeSet<_>>());
        let nodes = message.nodes.into_iter().map(|member| (member.id, BasicNode::new(member.endpoint)));
        let nodes: BTreeMap<_, _> = nodes.collect();
        Self::new(configs.collect(), nodes)
            .map_err(|error| invalid(&format!("a membership is invalid: {error}")))
    }
}

/// The host's part of an applied state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HostState {
    pub(crate) last_applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl HostState {
    /// The position that a state machine stores with its data.
    pub(crate) fn to_applied(&self) -> Applied {
        let host = v1::HostState::from(self).encode_to_vec();
        Applied { index: position(self.last_applied.as_ref()), host: Bytes::from(host) }
    }

    /// Reads the host's part back; a state machine that never applied anything has an empty one.
    pub(crate) fn from_applied(applied: &Applied) -> io::Result<Self> {
        let message = v1::HostState::decode(applied.host.clone()).map_err(io::Error::other)?;
        let state = Self::try_from(message)?;
        match position(state.last_applied.as_ref()) == applied.index {
            true => Ok(state),
            false => Err(invalid("the applied index of the state machine is not the one of its host state")),
        }
    }
}

impl Applied {
    /// The position of a state that a region begins with, in place of an empty one: where its first entry would be, with
    /// its first members (id and endpoint). All of them must begin with the same state and members.
    ///
    /// # Errors
    /// When they are no membership, because there are none.
    pub fn beginning(members: impl IntoIterator<Item = (u64, String)>) -> io::Result<Self> {
        let nodes: BTreeMap<u64, BasicNode> =
            members.into_iter().map(|(id, endpoint)| (id, BasicNode::new(endpoint))).collect();
        let voters = nodes.keys().copied().collect::<BTreeSet<_>>();
        let first = LogId::new(CommittedLeaderId { term: 0, node_id: 0 }, 0);
        let membership = Membership::new(vec![voters], nodes).map_err(io::Error::other)?;
        let membership = StoredMembership::new(Some(first), membership);
        Ok(HostState { last_applied: Some(first), membership }.to_applied())
    }
}

impl From<&HostState> for v1::HostState {
    fn from(state: &HostState) -> Self {
        Self {
            last_applied: state.last_applied.as_ref().map(Into::into),
            membership_log_id: state.membership.log_id().as_ref().map(Into::into),
            membership: Some(state.membership.membership().into()),
        }
    }
}

impl TryFrom<v1::HostState> for HostState {
    type Error = io::Error;

    fn try_from(message: v1::HostState) -> io::Result<Self> {
        let membership = message.membership.map(Membership::try_from).transpose()?.unwrap_or_default();
        Ok(Self {
            last_applied: message.last_applied.map(Into::into),
            membership: StoredMembership::new(message.membership_log_id.map(Into::into), membership),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_state_machine_has_an_empty_host_state() {
        assert_eq!(HostState::from_applied(&Applied::default()).unwrap(), HostState::default());
    }

    #[test]
    fn host_state_of_another_position_is_refused() {
        let last_applied = Some(LogId::new(CommittedLeaderId { term: 2, node_id: 1 }, 6));
        let state = HostState { last_applied, membership: StoredMembership::default() };
        let applied = state.to_applied();
        assert_eq!(applied.index, 7);
        assert_eq!(HostState::from_applied(&applied).unwrap(), state);
        assert!(HostState::from_applied(&Applied { index: 8, ..applied }).is_err());
    }
}
