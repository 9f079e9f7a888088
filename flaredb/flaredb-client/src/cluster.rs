//! The nodes of a cluster: what each is, and who belongs to it.

use std::time::Duration;

use flaredb_proto::v1::{
    AddMemberRequest, ListMembersRequest, Member, PromoteMemberRequest, RemoveMemberRequest, StatusRequest,
    StatusResponse, TransferLeaderRequest, cluster_client::ClusterClient,
};

use crate::{Error, RdbClient, client::Plan};

/// A node that is added may need a whole snapshot before it gets its vote, for which the server waits ten minutes.
const CATCH_UP: Duration = Duration::from_secs(630);

/// The nodes of a cluster: [`RdbClient::cluster`].
#[derive(Debug, Clone)]
pub struct Cluster(pub(crate) RdbClient);

impl Cluster {
    /// What one node is and what it sees; it answers also without a quorum. A client of a single endpoint asks that
    /// node and no other.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn status(&self) -> Result<StatusResponse, Error> {
        let send = |channel, request| async move { ClusterClient::new(channel).status(request).await };
        self.0.call(Plan::READ, StatusRequest {}, send).await
    }

    /// Lists the members.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn members(&self) -> Result<Vec<Member>, Error> {
        let send = |channel, request| async move { ClusterClient::new(channel).list_members(request).await };
        Ok(self.0.call(Plan::READ, ListMembersRequest {}, send).await?.members)
    }

    /// Adds a running node, waits until it has caught up, and gives it a vote unless it is to stay a learner.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::NotNow`] when it does not catch up.
    pub async fn add(&self, id: u64, endpoint: &str, learner: bool) -> Result<Vec<Member>, Error> {
        let request = AddMemberRequest { node_id: id, endpoint: endpoint.to_owned(), learner };
        let plan = if learner { Plan::ONCE } else { Plan { timeout: Some(CATCH_UP), ..Plan::ONCE } };
        let send = |channel, request| async move { ClusterClient::new(channel).add_member(request).await };
        Ok(self.0.call(plan, request, send).await?.members)
    }

    /// Gives a learner a vote.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::NotNow`] when it has not caught up.
    pub async fn promote(&self, id: u64) -> Result<Vec<Member>, Error> {
        let request = PromoteMemberRequest { node_id: id };
        let send =
            |channel, request| async move { ClusterClient::new(channel).promote_member(request).await };
        Ok(self.0.call(Plan::ONCE, request, send).await?.members)
    }

    /// Removes a node, alive or dead.
    ///
    /// # Errors
    /// Any [`Error`]; [`Error::NotFound`] when it is no member.
    pub async fn remove(&self, id: u64) -> Result<Vec<Member>, Error> {
        let request = RemoveMemberRequest { node_id: id };
        let send = |channel, request| async move { ClusterClient::new(channel).remove_member(request).await };
        Ok(self.0.call(Plan::ONCE, request, send).await?.members)
    }

    /// Hands leadership to a voter (0: the one that is most up to date), and returns the new leader.
    ///
    /// # Errors
    /// Any [`Error`].
    pub async fn transfer_leader(&self, id: u64) -> Result<u64, Error> {
        let request = TransferLeaderRequest { node_id: id };
        let send =
            |channel, request| async move { ClusterClient::new(channel).transfer_leader(request).await };
        Ok(self.0.call(Plan::ONCE, request, send).await?.leader_id)
    }
}
