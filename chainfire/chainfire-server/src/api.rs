//! What all services share: who calls, who answers, and the way into the log.

use std::{ops::Deref, sync::Arc};

use chainfire_proto::etcdserverpb::ResponseHeader;
use chainfire_store::{
    Auth, StoreError, check,
    internal::{self, Caller, Outcome, command::Request as Proposal},
    refusal::{self, Refusal},
};
use prost::Message as _;
use tonic::{Request, Status, transport::Channel};

use crate::{
    commands::{command, makes_room},
    node::Node,
    status,
};

/// The metadata by which clients say who they are.
const TOKEN: &str = "token";

/// How often a command is proposed while users and roles change.
const ATTEMPTS_MAX: usize = 5;

/// On which port a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum From {
    /// etcd's clients, whose users are checked.
    Clients,
    /// Another node, which has checked its client's user.
    Peers,
}

/// What all services share.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// The node.
    pub(crate) node: Arc<Node>,
    /// Who asks it.
    pub(crate) from: From,
}

impl Deref for Api {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl Api {
    /// On whose behalf a request is.
    pub(crate) fn caller<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        self.quarantine.check().map_err(|error| status::quarantined(&error))?;
        if self.from == From::Peers {
            return Ok(Caller::default());
        }
        let auth = self.auth()?;
        if !auth.enabled() {
            return Ok(Caller::default());
        }
        let token = request.metadata().get(TOKEN).ok_or_else(|| status::refused(refusal::USER_EMPTY))?;
        let user = token.to_str().ok().and_then(|token| self.tokens.user_of(&auth, token));
        let user = user.ok_or_else(|| status::refused(refusal::INVALID_AUTH_TOKEN))?;
        Ok(Caller { user: user.to_owned(), auth_revision: auth.revision() })
    }

    /// Users and what they may do.
    pub(crate) fn auth(&self) -> Result<Arc<Auth>, Status> {
        self.store.auth().map_err(status::unreadable)
    }

    /// Lets in who may change the cluster.
    pub(crate) fn administrator<T>(&self, request: &Request<T>) -> Result<Caller, Status> {
        let caller = self.caller(request)?;
        if self.from == From::Clients {
            self.auth()?.may_administer(&caller).map_err(status::refused)?;
        }
        Ok(caller)
    }

    /// What every answer begins with.
    pub(crate) fn header(&self, revision: i64) -> ResponseHeader {
        ResponseHeader {
            cluster_id: self.cluster_id,
            member_id: self.identity.node_id,
            revision,
            raft_term: self.leadership.borrow().term,
        }
    }

    /// The header of an answer about the present.
    pub(crate) fn header_now(&self) -> ResponseHeader {
        self.header(self.store.revision())
    }

    /// Completes a header that holds the revision alone.
    pub(crate) fn complete(&self, header: &mut Option<ResponseHeader>) {
        let revision = header.as_ref().map_or_else(|| self.store.revision(), |header| header.revision);
        *header = Some(self.header(revision));
    }

    /// Has the leader put a command into the log and returns what came of it. If users or roles changed meanwhile, it is
    /// done again by what they may do now.
    pub(crate) async fn propose(
        &self,
        mut caller: Caller,
        request: Proposal,
    ) -> Result<internal::outcome::Outcome, Status> {
        self.check(&request)?;
        if caller.user.is_empty() {
            return self.propose_once(caller, request).await;
        }
        for _attempt in 1..ATTEMPTS_MAX {
            match self.propose_once(caller.clone(), request.clone()).await {
                Err(status) if status.message() == refusal::AUTH_OLD_REVISION.message => {}
                answer => return answer,
            }
            self.read_index().await?;
            caller.auth_revision = self.auth()?.revision();
        }
        self.propose_once(caller, request).await
    }

    async fn propose_once(
        &self,
        caller: Caller,
        request: Proposal,
    ) -> Result<internal::outcome::Outcome, Status> {
        let makes_room = makes_room(&request);
        let command = command(caller, request);
        let bytes = command.encoded_len();
        if bytes > self.requests.bytes_max {
            return Err(status::refused(refusal::REQUEST_TOO_LARGE));
        }
        let encode = || command.encode_to_vec().into();
        let outcome = self.hosted.proposals.propose_anywhere(makes_room, bytes, encode).await;
        let outcome = Outcome::decode(outcome.map_err(status::not_proposed)?);
        status::outcome(outcome.map_err(|error| status::storage(&error))?)
    }

    /// Refuses what is not well-formed or has more operations than are let in.
    pub(crate) fn check(&self, request: &Proposal) -> Result<(), Status> {
        check(request, self.requests.txn_ops_max).map_err(status::refused)
    }

    /// Waits until this replica holds everything that was acknowledged anywhere before the call.
    pub(crate) async fn read_index(&self) -> Result<(), Status> {
        let read = self.hosted.group.read_index().await;
        read.map(drop).map_err(|error| status::no_read_index(&error))
    }

    /// Runs a read that may take long where it holds up nobody else.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&chainfire_store::Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, Status> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || read(&store)).await;
        let read = read.map_err(|_stopped| status::refused(refusal::STOPPED))?;
        read.map_err(status::unreadable)
    }

    /// The services of the node that leads, which know this one; `None` if it is this one.
    pub(crate) fn leader(&self) -> Result<Option<Channel>, Status> {
        if self.leads() {
            return Ok(None);
        }
        let endpoint = self.leadership.borrow().endpoint.clone();
        // A request that came from a node goes no further, or two that disagree would send it to and fro.
        let endpoint = endpoint.filter(|_| self.from == From::Clients);
        let endpoint = endpoint.ok_or_else(|| status::refused(refusal::NO_LEADER))?;
        let channel = self.connector.channel(&endpoint);
        channel.map(Some).map_err(|error| Status::unavailable(error.to_string()))
    }
}

/// A refusal of etcd's that is not the store's.
pub(crate) const fn refusal(code: refusal::Code, message: &'static str) -> Refusal {
    Refusal { code: code as i32, message: std::borrow::Cow::Borrowed(message) }
}
