//! `Cluster`: what this node is and sees, and who belongs to the cluster.
//!
//! Status answers from what this node knows, also alone; a change of membership goes through the leader.

use std::time::Duration;

use flaredb_node::{
    PromoteError,
    config::{DIALABLE, is_dialable},
};
use flaredb_proto::v1::{
    AddMemberRequest, Condition, ListMembersRequest, Member, MembersResponse, PromoteMemberRequest,
    RegionStatus, RemoveMemberRequest, StatusRequest, StatusResponse, TransferLeaderRequest,
    TransferLeaderResponse, cluster_server::Cluster,
};
use flaredb_raft::{ChangeError, GroupStatus};
use photon_runtime::{Action, Health};
use tonic::{Request, Response, Status};

use super::Api;
use crate::{region::Region, status::Refusal};

/// How long a new node may take to catch up, a whole snapshot included.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(600);

/// How long a learner that should have caught up already may take.
const PROMOTE_PATIENCE: Duration = Duration::from_secs(5);

#[tonic::async_trait]
impl Cluster for Api {
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        self.allow_cluster(&request, Action::Read)?;
        // A status that says nothing of the disk is better than none.
        let disk = self.disk.look().unwrap_or_default();
        Ok(Response::new(StatusResponse {
            node_id: self.identity.node_id,
            endpoint: self.endpoint.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            cluster_id: self.identity.cluster.clone(),
            regions: self.regions.iter().map(|region| region_status(region)).collect(),
            conditions: conditions(&self.health),
            disk_free_bytes: disk.free_bytes,
            disk_bytes: disk.total_bytes,
            quarantined: self.quarantine.reason().unwrap_or_default(),
        }))
    }

    async fn add_member(
        &self,
        request: Request<AddMemberRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        let region = self.allow_cluster(&request, Action::Admin)?;
        let request = request.into_inner();
        check_member(&request)?;
        region.group.add_learner(request.node_id, request.endpoint).await.map_err(change_failed)?;
        if !request.learner {
            promote(region, request.node_id, CATCH_UP_PATIENCE).await?;
        }
        Ok(Response::new(members(region)))
    }

    async fn promote_member(
        &self,
        request: Request<PromoteMemberRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        let region = self.allow_cluster(&request, Action::Admin)?;
        promote(region, request.get_ref().node_id, PROMOTE_PATIENCE).await?;
        Ok(Response::new(members(region)))
    }

    async fn remove_member(
        &self,
        request: Request<RemoveMemberRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        let region = self.allow_cluster(&request, Action::Admin)?;
        region.group.remove(request.get_ref().node_id).await.map_err(change_failed)?;
        Ok(Response::new(members(region)))
    }

    async fn list_members(
        &self,
        request: Request<ListMembersRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        let region = self.allow_cluster(&request, Action::Read)?;
        Ok(Response::new(members(region)))
    }

    async fn transfer_leader(
        &self,
        request: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        let region = self.allow_cluster(&request, Action::Admin)?;
        let wanted = request.get_ref().node_id;
        let target = (wanted > 0).then_some(wanted);
        let leader_id = region.group.transfer_leader(target).await.map_err(change_failed)?;
        Ok(Response::new(TransferLeaderResponse { leader_id }))
    }
}

async fn promote(region: &Region, id: u64, patience: Duration) -> Result<(), Refusal> {
    flaredb_node::promote(&region.group, id, patience).await.map_err(|error| match error {
        PromoteError::Change(error) => change_failed(error),
        PromoteError::Behind { id, ref endpoint, .. } => Refusal::NotNow(format!(
            "{error}; see that it runs and is reached at {endpoint}, then: flaredb member promote {id}"
        )),
    })
}

fn check_member(request: &AddMemberRequest) -> Result<(), Refusal> {
    if request.node_id == 0 {
        return Err(Refusal::invalid("node_id", "0", "the new node's id, from 1"));
    }
    if !is_dialable(&request.endpoint) {
        let found = format!("{:?}", request.endpoint);
        return Err(Refusal::invalid("endpoint", found, DIALABLE));
    }
    Ok(())
}

fn members(region: &Region) -> MembersResponse {
    MembersResponse { members: member_list(&region.group.status()) }
}

fn member_list(status: &GroupStatus) -> Vec<Member> {
    let members = status.members.iter();
    members
        .map(|member| Member {
            node_id: member.id,
            endpoint: member.endpoint.clone(),
            voter: member.voter,
            leader: status.leader == Some(member.id),
            matched_index: member.matched_index,
            short_of_space: member.short_of_space,
        })
        .collect()
}

fn region_status(region: &Region) -> RegionStatus {
    let status = region.group.status();
    RegionStatus {
        region_id: region.id,
        role: status.role.to_string(),
        term: status.term,
        leader_id: status.leader.unwrap_or_default(),
        last_log_index: status.last_log_index,
        committed_index: status.committed_index,
        applied_index: status.applied_index,
        flushed_index: status.flushed_index,
        purged_index: status.purged_index,
        quorum_acked_ms: status.quorum_acked_ms,
        members: member_list(&status),
        audited_index: region.auditor.last(),
    }
}

fn conditions(health: &Health) -> Vec<Condition> {
    let conditions = health.readiness().conditions.into_iter();
    conditions
        .map(|(name, state)| Condition {
            name: name.to_owned(),
            ok: state.ok,
            reason: state.reason.unwrap_or_default(),
        })
        .collect()
}

fn change_failed(error: ChangeError) -> Refusal {
    match error {
        ChangeError::NotLeader { id, endpoint } => {
            Refusal::NotLeader { id: id.unwrap_or_default(), endpoint: endpoint.unwrap_or_default() }
        }
        ChangeError::UnknownMember { id } => Refusal::NoMember(id),
        ChangeError::Lagging { .. } | ChangeError::Refused { .. } => Refusal::NotNow(error.to_string()),
        ChangeError::Indeterminate | ChangeError::Stopped => Refusal::Indeterminate,
    }
}
