//! `Lease`: grants and ends go through the log; what is left of a lease, and that it is kept alive, is the leader's to
//! say, so a node that follows asks it.

use std::pin::Pin;

use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
        LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
        LeaseTimeToLiveRequest, LeaseTimeToLiveResponse, lease_client::LeaseClient, lease_server::Lease,
    },
};
use chainfire_store::{
    internal::{Caller, command::Request as Proposal, outcome::Outcome},
    refusal,
};
use futures::{Stream, StreamExt as _, stream};
use tonic::{Request, Response, Status, Streaming, transport::Channel};

use crate::{
    api::{Api, From},
    status::{self, unexpected},
};

/// How often a number is drawn that nobody has.
const DRAWS_MAX: usize = 5;
/// Leases that are listed at once.
const PAGE: usize = 10_000;

type Answers = Pin<Box<dyn Stream<Item = Result<LeaseKeepAliveResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Lease for Api {
    type LeaseKeepAliveStream = Answers;

    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let caller = self.caller(&request)?;
        Ok(Response::new(self.grant(caller, request.into_inner()).await?))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let caller = self.caller(&request)?;
        let Outcome::Done(revision) =
            self.propose(caller, Proposal::LeaseRevoke(request.into_inner())).await?
        else {
            return Err(unexpected("the end of a lease"));
        };
        Ok(Response::new(LeaseRevokeResponse { header: Some(self.header(revision)) }))
    }

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Answers>, Status> {
        self.caller(&request)?;
        let alive = KeptAlive { api: self.clone(), requests: request.into_inner(), leader: None };
        Ok(Response::new(stream::unfold(Some(alive), step).fuse().boxed()))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let mut response = match self.leader()? {
            Some(leader) => {
                let asked = LeaseTimeToLiveRequest { keys: false, ..request };
                LeaseClient::new(leader).lease_time_to_live(asked).await?.into_inner()
            }
            None => self.time_to_live(request.id).await?,
        };
        response.header = Some(self.header_now());
        if request.keys && response.ttl >= 0 {
            response.keys = self.keys_of(&caller, request.id).await?;
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        self.caller(&request)?;
        self.read_index().await?;
        let mut leases: Vec<LeaseStatus> = Vec::new();
        loop {
            let after = leases.last().map(|lease| lease.id);
            let page = self.read(move |store| store.leases(after, PAGE)).await?;
            leases.extend(page.iter().map(|lease| LeaseStatus { id: lease.id }));
            if page.len() < PAGE {
                return Ok(Response::new(LeaseLeasesResponse { header: Some(self.header_now()), leases }));
            }
        }
    }
}

impl Api {
    /// Grants a lease, with a number that nobody has unless one is asked for.
    pub(crate) async fn grant(
        &self,
        caller: Caller,
        request: LeaseGrantRequest,
    ) -> Result<LeaseGrantResponse, Status> {
        let mut draws = 0;
        loop {
            draws += 1;
            let id = if request.id == 0 { rand::random_range(1..i64::MAX) } else { request.id };
            let proposal = Proposal::LeaseGrant(LeaseGrantRequest { id, ..request });
            match self.propose(caller.clone(), proposal).await {
                Ok(Outcome::LeaseGrant(mut response)) => {
                    self.complete(&mut response.header);
                    return Ok(response);
                }
                Ok(_) => return Err(unexpected("the grant of a lease")),
                Err(refused)
                    if request.id == 0
                        && draws < DRAWS_MAX
                        && refused.message() == refusal::LEASE_EXISTS.message => {}
                Err(status) => return Err(status),
            }
        }
    }

    /// What is left of a lease, at the node that leads; -1: there is no such lease.
    async fn time_to_live(&self, id: i64) -> Result<LeaseTimeToLiveResponse, Status> {
        self.read_index().await?;
        if !self.leads() {
            return Err(status::refused(refusal::NO_LEADER));
        }
        let mut response = LeaseTimeToLiveResponse { id, ttl: -1, ..LeaseTimeToLiveResponse::default() };
        if let Some(lease) = self.store.lease(id).map_err(status::unreadable)? {
            let left = self.keeper.left(self, &lease);
            let left = left.ok_or_else(|| status::refused(refusal::NO_LEADER))?;
            response.ttl = i64::try_from(left.left.as_secs()).unwrap_or(i64::MAX);
            response.granted_ttl = left.ttl_s;
        }
        Ok(response)
    }

    /// The keys that go with a lease, which the caller must be allowed to read.
    async fn keys_of(&self, caller: &Caller, id: i64) -> Result<Vec<bytes::Bytes>, Status> {
        if self.from == From::Clients {
            self.read_index().await?;
        }
        let (caller, auth) = (caller.clone(), self.auth()?);
        self.read(move |store| {
            let keys = store.lease_keys(id)?;
            keys.iter().try_for_each(|key| auth.may_read(&caller, &KeyRange::One(key.clone())))?;
            Ok(keys)
        })
        .await
    }
}

/// A stream on which leases are kept alive.
struct KeptAlive {
    api: Api,
    requests: Streaming<LeaseKeepAliveRequest>,
    /// The leader that was asked last, and where it is.
    leader: Option<(String, LeaseClient<Channel>)>,
}

/// A failure is the stream's last item.
async fn step(
    alive: Option<KeptAlive>,
) -> Option<(Result<LeaseKeepAliveResponse, Status>, Option<KeptAlive>)> {
    let mut alive = alive?;
    let stop = alive.api.stop.clone();
    let request = match stop.run_until_cancelled(alive.requests.message()).await {
        None => return Some((Err(status::refused(refusal::STOPPED)), None)),
        Some(Ok(None)) => return None,
        Some(Ok(Some(request))) => request,
        Some(Err(status)) => return Some((Err(status), None)),
    };
    match alive.keep(request.id).await {
        Ok(response) => Some((Ok(response), Some(alive))),
        Err(status) => Some((Err(status), None)),
    }
}

impl KeptAlive {
    async fn keep(&mut self, id: i64) -> Result<LeaseKeepAliveResponse, Status> {
        let ttl = match self.leader()? {
            Some(leader) => ask(leader, id).await?,
            None => self.api.keeper.keep_alive(&self.api, id).await?,
        };
        Ok(LeaseKeepAliveResponse { header: Some(self.api.header_now()), id, ttl })
    }

    /// The leader, if that is another node; the connection to it is kept.
    fn leader(&mut self) -> Result<Option<&mut LeaseClient<Channel>>, Status> {
        let endpoint = self.api.leadership.borrow().endpoint.clone().unwrap_or_default();
        if self.leader.as_ref().is_none_or(|(known, _)| *known != endpoint) || self.api.leads() {
            self.leader = self.api.leader()?.map(|channel| (endpoint, LeaseClient::new(channel)));
        }
        Ok(self.leader.as_mut().map(|(_, client)| client))
    }
}

async fn ask(leader: &mut LeaseClient<Channel>, id: i64) -> Result<i64, Status> {
    let request = stream::iter([LeaseKeepAliveRequest { id }]);
    let answer = leader.lease_keep_alive(request).await?.into_inner().message().await?;
    answer.map(|answer| answer.ttl).ok_or_else(|| status::refused(refusal::NO_LEADER))
}
