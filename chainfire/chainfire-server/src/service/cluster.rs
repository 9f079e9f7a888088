//! `Cluster`: who belongs to the cluster. Changes are the leader's; at another node they are passed on to it.
//!
//! A node that is added gets its vote once it has caught up and not before, whatever was asked: a voter that is not there
//! yet could cost the cluster its quorum. So `member add` answers with a learner, and the leader promotes it when it can.

use std::{future::Future, time::Duration};

use chainfire_proto::etcdserverpb::{
    Member, MemberAddRequest, MemberAddResponse, MemberListRequest, MemberListResponse, MemberPromoteRequest,
    MemberPromoteResponse, MemberRemoveRequest, MemberRemoveResponse, MemberUpdateRequest,
    MemberUpdateResponse, cluster_client::ClusterClient, cluster_server::Cluster,
};
use chainfire_store::{
    internal::{Caller, ForgetMember, MemberAttributes, command::Request as Proposal},
    refusal::{self, Code, Refusal},
};
use flaredb_node::{PromoteError, config::is_dialable, promote, until};
use flaredb_raft::{ChangeError, MemberStatus, Role};
use tokio::time::timeout;
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    api::{Api, refusal},
    status,
};

const URLS_INVALID: Refusal = refusal(Code::InvalidArgument, "etcdserver: given peer URLs are invalid");
const URLS_EXIST: Refusal = refusal(Code::FailedPrecondition, "etcdserver: Peer URLs already exists");
const NOT_LEARNER: Refusal =
    refusal(Code::FailedPrecondition, "etcdserver: can only promote a learner member");
const NOT_IN_SYNC: Refusal = refusal(
    Code::FailedPrecondition,
    "etcdserver: can only promote a learner member which is in sync with leader",
);
const UNHEALTHY: Refusal = refusal(Code::Unavailable, "etcdserver: unhealthy cluster");

/// How long a learner that should have caught up already may take.
const PROMOTE_PATIENCE: Duration = Duration::from_secs(3);
/// How long a new node may take to be started and to catch up, a whole snapshot included.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(3_600);
/// How long a node that led waits to hear who does.
const SUCCESSOR_PATIENCE: Duration = Duration::from_secs(2);
/// How often a change is passed on again, where leadership has changed under it.
const PASSES_MAX: usize = 3;

#[tonic::async_trait]
impl Cluster for Api {
    async fn member_add(
        &self,
        request: Request<MemberAddRequest>,
    ) -> Result<Response<MemberAddResponse>, Status> {
        self.administrator(&request)?;
        let request = request.into_inner();
        let passed = request.clone();
        let pass = move |leader| {
            let passed = passed.clone();
            async move { ClusterClient::new(leader).member_add(passed).await }
        };
        self.at_leader(pass, || self.add(&request)).await.map(Response::new)
    }

    async fn member_remove(
        &self,
        request: Request<MemberRemoveRequest>,
    ) -> Result<Response<MemberRemoveResponse>, Status> {
        self.administrator(&request)?;
        let request = request.into_inner();
        let pass = move |leader| async move { ClusterClient::new(leader).member_remove(request).await };
        self.at_leader(pass, || self.remove(request.id)).await.map(Response::new)
    }

    async fn member_update(
        &self,
        request: Request<MemberUpdateRequest>,
    ) -> Result<Response<MemberUpdateResponse>, Status> {
        self.administrator(&request)?;
        let request = request.into_inner();
        let passed = request.clone();
        let pass = move |leader| {
            let passed = passed.clone();
            async move { ClusterClient::new(leader).member_update(passed).await }
        };
        self.at_leader(pass, || self.update(&request)).await.map(Response::new)
    }

    async fn member_list(
        &self,
        request: Request<MemberListRequest>,
    ) -> Result<Response<MemberListResponse>, Status> {
        self.caller(&request)?;
        if request.get_ref().linearizable {
            self.read_index().await?;
        }
        let members = self.members()?;
        Ok(Response::new(MemberListResponse { header: Some(self.header_now()), members }))
    }

    async fn member_promote(
        &self,
        request: Request<MemberPromoteRequest>,
    ) -> Result<Response<MemberPromoteResponse>, Status> {
        self.administrator(&request)?;
        let request = request.into_inner();
        let pass = move |leader| async move { ClusterClient::new(leader).member_promote(request).await };
        self.at_leader(pass, || self.promote(request.id)).await.map(Response::new)
    }
}

impl Api {
    /// Does a change here, where this node leads, or passes it on. Only what surely did not happen is tried again.
    async fn at_leader<T, Pass, Here>(
        &self,
        pass: impl Fn(Channel) -> Pass,
        here: impl Fn() -> Here,
    ) -> Result<T, Status>
    where
        Pass: Future<Output = Result<Response<T>, Status>>,
        Here: Future<Output = Result<T, ChangeFailed>>,
    {
        for _ in 0..PASSES_MAX {
            if let Some(leader) = self.leader()? {
                return pass(leader).await.map(Response::into_inner);
            }
            match here().await {
                Err(ChangeFailed::NotLeader) => self.another_leads().await?,
                Err(ChangeFailed::Told(status)) => return Err(status),
                Ok(done) => return Ok(done),
            }
        }
        Err(status::refused(refusal::NO_LEADER))
    }

    /// Waits until this node knows another one that leads: it was the leader a moment ago.
    async fn another_leads(&self) -> Result<(), Status> {
        let mut leadership = self.leadership.clone();
        let known = leadership.wait_for(|known| known.role != Role::Leader && known.leader.is_some());
        let known = timeout(SUCCESSOR_PATIENCE, known).await;
        known.map(drop).map_err(|_late| status::refused(refusal::NO_LEADER))
    }

    async fn add(&self, request: &MemberAddRequest) -> Result<MemberAddResponse, ChangeFailed> {
        let url = self.peer_url(&request.peer_ur_ls)?;
        let known = self.hosted.group.status().members;
        if known.iter().any(|member| member.endpoint == url) {
            return Err(URLS_EXIST.into());
        }
        let id = new_id(&known);
        self.hosted.group.add_learner(id, url).await?;
        if !request.is_learner {
            self.promote_later(id);
        }
        let members = self.members()?;
        let member = members.iter().find(|member| member.id == id).cloned();
        Ok(MemberAddResponse { header: Some(self.header_now()), member, members })
    }

    /// Gives a node its vote when it has caught up, while this node leads.
    fn promote_later(&self, id: u64) {
        let group = self.hosted.group.clone();
        let promotion = async move {
            match promote(&group, id, CATCH_UP_PATIENCE).await {
                Ok(()) => tracing::info!(id, "a member has caught up and votes"),
                Err(error) => {
                    tracing::warn!(id, %error, "a member has no vote yet; see: etcdctl member promote");
                }
            }
        };
        self.tasks.spawn("promotion", until(self.tasks.shutdown(), promotion));
    }

    async fn remove(&self, id: u64) -> Result<MemberRemoveResponse, ChangeFailed> {
        self.hosted.group.remove(id).await?;
        // What the node has said of itself goes as well; the member list leaves it out in any case.
        if let Err(status) =
            self.propose(Caller::default(), Proposal::ForgetMember(ForgetMember { id })).await
        {
            tracing::warn!(id, %status, "the URLs of a member that was removed are not forgotten");
        }
        Ok(MemberRemoveResponse { header: Some(self.header_now()), members: self.members()? })
    }

    async fn update(&self, request: &MemberUpdateRequest) -> Result<MemberUpdateResponse, ChangeFailed> {
        let url = self.peer_url(&request.peer_ur_ls)?;
        let known = self.hosted.group.status().members;
        if known.iter().any(|member| member.endpoint == url && member.id != request.id) {
            return Err(URLS_EXIST.into());
        }
        self.hosted.group.set_endpoint(request.id, url).await?;
        Ok(MemberUpdateResponse { header: Some(self.header_now()), members: self.members()? })
    }

    async fn promote(&self, id: u64) -> Result<MemberPromoteResponse, ChangeFailed> {
        let known = self.hosted.group.status().members;
        let member = known.iter().find(|member| member.id == id).ok_or(refusal::MEMBER_NOT_FOUND)?;
        if member.voter {
            return Err(NOT_LEARNER.into());
        }
        promote(&self.hosted.group, id, PROMOTE_PATIENCE).await.map_err(|error| match error {
            PromoteError::Change(error) => ChangeFailed::from(error),
            PromoteError::Behind { .. } => NOT_IN_SYNC.into(),
        })?;
        Ok(MemberPromoteResponse { header: Some(self.header_now()), members: self.members()? })
    }

    /// The one URL of a member; peers have one address here.
    fn peer_url(&self, urls: &[String]) -> Result<String, ChangeFailed> {
        match urls {
            [url] if is_dialable(url) => Ok(url.clone()),
            _ => Err(URLS_INVALID.into()),
        }
    }

    /// The members, as this node knows them.
    fn members(&self) -> Result<Vec<Member>, Status> {
        let said = self.store.members().map_err(status::unreadable)?;
        let members = self.hosted.group.status().members;
        Ok(members.into_iter().map(|member| describe(member, &said)).collect())
    }
}

fn describe(member: MemberStatus, said: &[MemberAttributes]) -> Member {
    let own = said.iter().find(|said| said.id == member.id);
    Member {
        id: member.id,
        name: own.map(|own| own.name.clone()).unwrap_or_default(),
        peer_ur_ls: vec![member.endpoint],
        client_ur_ls: own.map(|own| own.client_urls.clone()).unwrap_or_default(),
        is_learner: !member.voter,
    }
}

/// An id that no node has had: they are never given twice, so it is drawn from so many that none ever comes again. A
/// configuration file has room for 63 bits.
fn new_id(known: &[MemberStatus]) -> u64 {
    loop {
        let id = rand::random::<u64>() >> 1;
        if id != 0 && known.iter().all(|member| member.id != id) {
            return id;
        }
    }
}

/// Why a change was not made here.
enum ChangeFailed {
    /// Another node leads now. It did not happen.
    NotLeader,
    /// What the caller is told.
    Told(Status),
}

impl From<Status> for ChangeFailed {
    fn from(status: Status) -> Self {
        Self::Told(status)
    }
}

impl From<Refusal> for ChangeFailed {
    fn from(refusal: Refusal) -> Self {
        Self::Told(status::refused(refusal))
    }
}

impl From<ChangeError> for ChangeFailed {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::NotLeader { .. } => Self::NotLeader,
            ChangeError::UnknownMember { .. } => refusal::MEMBER_NOT_FOUND.into(),
            ChangeError::Lagging { .. } => NOT_IN_SYNC.into(),
            ChangeError::Refused { .. } => UNHEALTHY.into(),
            ChangeError::Indeterminate => refusal::TIMEOUT.into(),
            ChangeError::Stopped => refusal::STOPPED.into(),
        }
    }
}
