//! `KV`: reads at any node, and writes that go to the leader by themselves.

use std::{sync::Arc, time::Duration};

use chainfire_proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, ResponseOp, TxnRequest, TxnResponse, kv_server::Kv,
    request_op::Request as Op, response_op::Response as Answer,
};
use chainfire_store::{
    internal::{Caller, Free, command::Request as Proposal, outcome::Outcome},
    is_read_only,
};
use tokio::time::{MissedTickBehavior, interval};
use tonic::{Request, Response, Status};

use crate::{
    api::{Api, From},
    node::Node,
    status::{self, unexpected},
};

/// How often the leader looks whether what was compacted still takes room.
const FREE_EVERY: Duration = Duration::from_secs(1);
/// How often a compaction that is to be physical looks whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[tonic::async_trait]
impl Kv for Api {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        if !request.serializable {
            self.read_index().await?;
        }
        let mut response = match request.range_end.is_empty() {
            // One record is read sooner than another thread would have begun to.
            true => self.store.range(&caller, &request).map_err(status::unreadable)?,
            false => self.read(move |store| store.range(&caller, &request)).await?,
        };
        self.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn put(&self, request: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        let caller = self.caller(&request)?;
        let Outcome::Put(mut response) = self.propose(caller, Proposal::Put(request.into_inner())).await?
        else {
            return Err(unexpected("a put"));
        };
        self.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn delete_range(
        &self,
        request: Request<DeleteRangeRequest>,
    ) -> Result<Response<DeleteRangeResponse>, Status> {
        let caller = self.caller(&request)?;
        let proposal = Proposal::DeleteRange(request.into_inner());
        let Outcome::DeleteRange(mut response) = self.propose(caller, proposal).await? else {
            return Err(unexpected("a deletion"));
        };
        self.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn txn(&self, request: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let mut response = match is_read_only(&request) {
            true => self.read_txn(caller, request).await?,
            false => match self.propose(caller, Proposal::Txn(request)).await? {
                Outcome::Txn(response) => response,
                _ => return Err(unexpected("a transaction")),
            },
        };
        self.complete(&mut response.header);
        self.complete_all(&mut response.responses);
        Ok(Response::new(response))
    }

    async fn compact(
        &self,
        request: Request<CompactionRequest>,
    ) -> Result<Response<CompactionResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        let physical = request.physical;
        let Outcome::Done(revision) = self.propose(caller, Proposal::Compaction(request)).await? else {
            return Err(unexpected("a compaction"));
        };
        if physical {
            self.freed().await?;
        }
        Ok(Response::new(CompactionResponse { header: Some(self.header(revision)) }))
    }
}

impl Api {
    async fn read_txn(&self, caller: Caller, request: TxnRequest) -> Result<TxnResponse, Status> {
        self.check(&Proposal::Txn(request.clone()))?;
        // As etcd: what reads only serializable ranges is answered from here.
        if !serializable(&request) {
            self.read_index().await?;
        }
        self.read(move |store| store.read_txn(&caller, &request)).await
    }

    /// Completes the headers of what a transaction did.
    fn complete_all(&self, responses: &mut [ResponseOp]) {
        for response in responses.iter_mut().filter_map(|response| response.response.as_mut()) {
            match response {
                Answer::ResponseRange(range) => self.complete(&mut range.header),
                Answer::ResponsePut(put) => self.complete(&mut put.header),
                Answer::ResponseDeleteRange(delete) => self.complete(&mut delete.header),
                Answer::ResponseTxn(txn) => {
                    self.complete(&mut txn.header);
                    self.complete_all(&mut txn.responses);
                }
            }
        }
    }

    /// Waits until nothing that is compacted takes room here.
    async fn freed(&self) -> Result<(), Status> {
        let mut look = interval(LOOK_EVERY);
        loop {
            look.tick().await;
            if !self.store.has_to_free().map_err(status::unreadable)? {
                return Ok(());
            }
        }
    }
}

/// Whether a transaction that only reads may be answered from what this node has.
fn serializable(request: &TxnRequest) -> bool {
    request.success.iter().chain(&request.failure).all(|op| match &op.request {
        Some(Op::RequestRange(range)) => range.serializable,
        _ => false,
    })
}

/// Lets the leader free what is compacted, for as long as it is polled: one command frees a bounded part.
pub(crate) async fn free(node: Arc<Node>) {
    let api = Api { node, from: From::Peers };
    let mut tick = interval(FREE_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Err(status) = free_all(&api).await {
            tracing::debug!(%status, "what is compacted was not freed; the next round goes on");
        }
    }
}

async fn free_all(api: &Api) -> Result<(), Status> {
    while api.leads() && api.store.has_to_free().map_err(status::unreadable)? {
        api.propose(Caller::default(), Proposal::Free(Free {})).await?;
    }
    Ok(())
}
