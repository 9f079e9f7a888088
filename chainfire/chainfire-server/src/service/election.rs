//! `Election`: one leader at a time, for as long as its lease lives, and those who want to know who it is.

use std::pin::Pin;

use chainfire_proto::{
    mvccpb::KeyValue,
    v3electionpb::{
        CampaignRequest, CampaignResponse, LeaderKey, LeaderRequest, LeaderResponse, ProclaimRequest,
        ProclaimResponse, ResignRequest, ResignResponse, election_server::Election,
    },
};
use chainfire_store::{
    internal::Caller,
    refusal::{self, Code, Refusal},
};
use futures::{Stream, StreamExt as _, stream};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use crate::{
    api::{Api, refusal},
    status,
    turns::{Turn, Waiting},
};

/// The leader's key is missing in the request.
const NO_LEADER_KEY: Refusal = refusal(Code::InvalidArgument, "\"leader\" field must be provided");
/// Nobody leads.
const NO_LEADER: Refusal = refusal(Code::FailedPrecondition, "election: no leader");
/// Somebody else leads.
const NOT_LEADER: Refusal = refusal(Code::FailedPrecondition, "election: not leader");

type Answers = Pin<Box<dyn Stream<Item = Result<LeaderResponse, Status>> + Send>>;

fn turn_of(leader: Option<LeaderKey>) -> Result<Turn, Status> {
    let leader = leader.ok_or_else(|| status::refused(NO_LEADER_KEY))?;
    Ok(Turn { key: leader.key, revision: leader.rev, lease: leader.lease, is_new: false })
}

#[tonic::async_trait]
impl Election for Api {
    type ObserveStream = Answers;

    async fn campaign(
        &self,
        request: Request<CampaignRequest>,
    ) -> Result<Response<CampaignResponse>, Status> {
        let caller = self.caller(&request)?;
        let _place = self.place()?;
        let CampaignRequest { name, lease, value } = request.into_inner();
        let turn = self.queue(caller.clone(), &name, lease, value).await?;
        let waiting = Waiting::new(self, &caller, &turn);
        self.come(&caller, &name, &turn).await?;
        waiting.done();
        let leader = LeaderKey { name, key: turn.key, rev: turn.revision, lease: turn.lease };
        Ok(Response::new(CampaignResponse { header: Some(self.header_now()), leader: Some(leader) }))
    }

    async fn proclaim(
        &self,
        request: Request<ProclaimRequest>,
    ) -> Result<Response<ProclaimResponse>, Status> {
        let caller = self.caller(&request)?;
        let ProclaimRequest { leader, value } = request.into_inner();
        let revision = self.rewrite(caller, &turn_of(leader)?, value).await?;
        let revision = revision.ok_or_else(|| status::refused(NOT_LEADER))?;
        Ok(Response::new(ProclaimResponse { header: Some(self.header(revision)) }))
    }

    async fn leader(&self, request: Request<LeaderRequest>) -> Result<Response<LeaderResponse>, Status> {
        let caller = self.caller(&request)?;
        self.read_index().await?;
        let kv = self.first(&caller, &request.into_inner().name).await?;
        let kv = Some(kv.ok_or_else(|| status::refused(NO_LEADER))?);
        Ok(Response::new(LeaderResponse { header: Some(self.header_now()), kv }))
    }

    async fn observe(&self, request: Request<LeaderRequest>) -> Result<Response<Answers>, Status> {
        let caller = self.caller(&request)?;
        let place = self.place()?;
        let mut changes = self.changes.subscribe();
        // Whoever leads already is news as well.
        changes.mark_changed();
        self.read_index().await?;
        let name = request.into_inner().name.to_vec();
        let observer = Observer { api: self.clone(), caller, name, changes, shown: 0, _place: place };
        Ok(Response::new(stream::unfold(Some(observer), step).fuse().boxed()))
    }

    async fn resign(&self, request: Request<ResignRequest>) -> Result<Response<ResignResponse>, Status> {
        let caller = self.caller(&request)?;
        let revision = self.leave(caller, &turn_of(request.into_inner().leader)?).await?;
        Ok(Response::new(ResignResponse { header: Some(self.header(revision)) }))
    }
}

/// One who wants to know who leads.
struct Observer {
    api: Api,
    caller: Caller,
    name: Vec<u8>,
    changes: watch::Receiver<()>,
    /// The revision of what was shown last.
    shown: i64,
    _place: tokio::sync::OwnedSemaphorePermit,
}

/// A failure is the stream's last item.
async fn step(observer: Option<Observer>) -> Option<(Result<LeaderResponse, Status>, Option<Observer>)> {
    let mut observer = observer?;
    match observer.next().await {
        Ok(kv) => {
            let header = Some(observer.api.header_now());
            Some((Ok(LeaderResponse { header, kv: Some(kv) }), Some(observer)))
        }
        Err(status) => Some((Err(status), None)),
    }
}

impl Observer {
    /// The next leader, or what the present one proclaims next; what was passed over meanwhile is not shown.
    async fn next(&mut self) -> Result<KeyValue, Status> {
        let stop = self.api.stop.clone();
        loop {
            match stop.run_until_cancelled(self.changes.changed()).await {
                Some(Ok(())) => {}
                _ => return Err(status::refused(refusal::STOPPED)),
            }
            if let Some(kv) = self.api.first(&self.caller, &self.name).await?
                && kv.mod_revision != self.shown
            {
                self.shown = kv.mod_revision;
                return Ok(kv);
            }
        }
    }
}
