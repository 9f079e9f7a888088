//! `Lock`: one holder at a time, for as long as its lease lives.

use bytes::Bytes;
use chainfire_proto::{
    etcdserverpb::DeleteRangeRequest,
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, UnlockResponse, lock_server::Lock},
};
use chainfire_store::internal::{command::Request as Proposal, outcome::Outcome};
use tonic::{Request, Response, Status};

use crate::{api::Api, status::unexpected, turns::Waiting};

#[tonic::async_trait]
impl Lock for Api {
    async fn lock(&self, request: Request<LockRequest>) -> Result<Response<LockResponse>, Status> {
        let caller = self.caller(&request)?;
        let _place = self.place()?;
        let LockRequest { name, lease } = request.into_inner();
        let turn = self.queue(caller.clone(), &name, lease, Bytes::new()).await?;
        let waiting = Waiting::new(self, &caller, &turn);
        self.come(&caller, &name, &turn).await?;
        waiting.done();
        Ok(Response::new(LockResponse { header: Some(self.header_now()), key: turn.key }))
    }

    async fn unlock(&self, request: Request<UnlockRequest>) -> Result<Response<UnlockResponse>, Status> {
        let caller = self.caller(&request)?;
        let delete = DeleteRangeRequest { key: request.into_inner().key, ..DeleteRangeRequest::default() };
        let Outcome::DeleteRange(mut response) = self.propose(caller, Proposal::DeleteRange(delete)).await?
        else {
            return Err(unexpected("a deletion"));
        };
        self.complete(&mut response.header);
        Ok(Response::new(UnlockResponse { header: response.header }))
    }
}
