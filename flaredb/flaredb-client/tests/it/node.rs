//! A node that answers each call with the next step of its script and remembers what it was asked.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use flaredb_client::{ClientConfig, RdbClient};
use flaredb_proto::v1::{
    cluster_server::{Cluster, ClusterServer},
    error_detail::Kind,
    kv_cas_server::{KvCas, KvCasServer},
    kv_raw_server::{KvRaw, KvRawServer},
    maintenance_server::{Maintenance, MaintenanceServer},
    *,
};
use futures::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    transport::{Server, ServerTlsConfig},
};

/// One step of a script.
#[derive(Debug)]
pub(crate) enum Step {
    Cas(CasResponse),
    CasDelete(CasDeleteResponse),
    Get(GetResponse),
    Scan(ScanResponse),
    Commit(CommitResponse),
    /// One answer for each batch, and then a status or, without one, the end.
    CommitEach(Vec<CommitOutcome>, Option<Status>),
    Put(RawPutResponse),
    RawGet(RawGetResponse),
    Status(StatusResponse),
    Restored(RestoreSnapshotResponse),
    /// Revisions, and then a status or, without one, silence.
    Watch(Vec<WatchResponse>, Option<Status>),
    Chunks(Vec<SnapshotChunk>),
    /// No answer to the call.
    Fails(Status),
    Silence,
}

/// What the node was asked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Asked {
    Cas(CasRequest),
    CasDelete(CasDeleteRequest),
    Get(GetRequest),
    Scan(ScanRequest),
    Commit(CommitRequest),
    CommitEach,
    Watch(WatchRequest),
    Put(RawPutRequest),
    RawGet(RawGetRequest),
    Status,
    Save,
    Restore(usize),
}

#[derive(Debug, Default)]
struct State {
    script: VecDeque<Step>,
    /// Which node was asked, by its place beside the first one.
    askers: Vec<usize>,
    /// What is answered when the script is at its end.
    forever: Option<Status>,
    asked: Vec<Asked>,
    authorization: Option<String>,
    timeouts: usize,
}

#[derive(Debug, Clone)]
struct Script {
    state: Arc<Mutex<State>>,
    place: usize,
}

/// A running node.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) address: String,
    script: Script,
    _serving: JoinSet<()>,
}

impl Node {
    /// A node that plays these steps.
    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let node = Self::start_with(None).await;
        node.plays(steps);
        node
    }

    /// A node that answers this to everything.
    pub(crate) async fn always(status: Status) -> Self {
        Self::start_with(Some(status)).await
    }

    async fn start_with(forever: Option<Status>) -> Self {
        let state = Arc::new(Mutex::new(State { forever, ..State::default() }));
        Self::serve(Script { state, place: 0 }, None).await
    }

    /// A second node that plays the same script: each step goes to whichever is asked.
    pub(crate) async fn beside(other: &Self) -> Self {
        Self::serve(Script { place: other.script.place + 1, ..other.script.clone() }, None).await
    }

    /// A node that speaks TLS and plays these steps.
    pub(crate) async fn start_tls(tls: ServerTlsConfig, steps: impl IntoIterator<Item = Step>) -> Self {
        let node = Self::serve(Script { state: Arc::default(), place: 0 }, Some(tls)).await;
        node.plays(steps);
        node
    }

    async fn serve(script: Script, tls: Option<ServerTlsConfig>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let address = format!("{scheme}://{}", listener.local_addr().unwrap());
        let server = tls.into_iter().fold(Server::builder(), |server, tls| server.tls_config(tls).unwrap());
        let server = { server }
            .add_service(KvCasServer::new(script.clone()))
            .add_service(KvRawServer::new(script.clone()))
            .add_service(ClusterServer::new(script.clone()))
            .add_service(MaintenanceServer::new(script.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let mut serving = JoinSet::new();
        serving.spawn(async move { server.await.unwrap() });
        Self { address, script, _serving: serving }
    }

    /// Adds steps.
    pub(crate) fn plays(&self, steps: impl IntoIterator<Item = Step>) {
        self.script.state().script.extend(steps);
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.script.state().asked.clone()
    }

    /// Which nodes were asked, by their places.
    pub(crate) fn askers(&self) -> Vec<usize> {
        self.script.state().askers.clone()
    }

    /// The last `authorization` that it was sent.
    pub(crate) fn authorization(&self) -> Option<String> {
        self.script.state().authorization.clone()
    }

    /// How many calls came with a deadline.
    pub(crate) fn timeouts(&self) -> usize {
        self.script.state().timeouts
    }
}

/// A client of these nodes, with a deadline that a test can wait for.
pub(crate) fn client(nodes: &[&Node]) -> RdbClient {
    client_of(nodes.iter().map(|node| node.address.clone()).collect(), Duration::from_secs(2))
}

/// A client of these addresses.
pub(crate) fn client_of(endpoints: Vec<String>, request_timeout: Duration) -> RdbClient {
    RdbClient::new(ClientConfig { endpoints, request_timeout, ..ClientConfig::default() }).unwrap()
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn told(code: Code, kind: Kind) -> Status {
    Status::with_details(code, "told", ErrorDetail { kind: Some(kind) }.encode_to_vec().into())
}

pub(crate) fn redirect(leader_endpoint: &str) -> Status {
    told(
        Code::Unavailable,
        Kind::NotLeader(NotLeader { leader_id: 9, leader_endpoint: leader_endpoint.to_owned() }),
    )
}

pub(crate) fn indeterminate() -> Status {
    told(Code::Unknown, Kind::Indeterminate(true))
}

pub(crate) fn too_old(requested: u64, oldest: u64) -> Status {
    told(Code::OutOfRange, Kind::TooOld(TooOld { requested, oldest }))
}

impl Script {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    async fn next<T>(&self, request: &Request<T>, asked: Asked) -> Result<Step, Status> {
        let step = self.note(request, asked);
        match step? {
            Step::Fails(status) => Err(status),
            Step::Silence => std::future::pending().await,
            step => Ok(step),
        }
    }

    fn note<T>(&self, request: &Request<T>, asked: Asked) -> Result<Step, Status> {
        let mut state = self.state();
        state.asked.push(asked);
        state.askers.push(self.place);
        let header = |name| request.metadata().get(name).map(|value| value.to_str().unwrap().to_owned());
        state.authorization = header("authorization");
        state.timeouts += usize::from(header("grpc-timeout").is_some());
        let end = state.forever.clone();
        // Beside calls, a client opens streams by itself, whenever it gets to it.
        let streams = *state.asked.last().unwrap() == Asked::CommitEach;
        let fits = |step: &Step| match step {
            Step::CommitEach(..) => streams,
            Step::Fails(_) => true,
            _ => !streams,
        };
        let next = state.script.iter().position(fits);
        // The end of a script is a mistake of the test, which must not look like something to retry.
        next.and_then(|next| state.script.remove(next))
            .ok_or_else(|| end.unwrap_or_else(|| Status::failed_precondition("script is over")))
    }
}

fn unfit<T>(step: Step) -> Result<T, Status> {
    Err(Status::failed_precondition(format!("the script has {step:?} here")))
}

macro_rules! play {
    ($script:ident, $request:ident: $asked:ident => $step:ident) => {
        match $script.next(&$request, Asked::$asked($request.get_ref().clone())).await? {
            Step::$step(response) => Ok(Response::new(response)),
            step => unfit(step),
        }
    };
}

type Boxed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl KvCas for Script {
    type CommitEachStream = Boxed<CommitOutcome>;
    type WatchStream = Boxed<WatchResponse>;

    async fn compare_and_swap(&self, request: Request<CasRequest>) -> Result<Response<CasResponse>, Status> {
        play!(self, request: Cas => Cas)
    }

    async fn compare_and_delete(
        &self,
        request: Request<CasDeleteRequest>,
    ) -> Result<Response<CasDeleteResponse>, Status> {
        play!(self, request: CasDelete => CasDelete)
    }

    async fn get(&self, request: Request<GetRequest>) -> Result<Response<GetResponse>, Status> {
        play!(self, request: Get => Get)
    }

    async fn scan(&self, request: Request<ScanRequest>) -> Result<Response<ScanResponse>, Status> {
        play!(self, request: Scan => Scan)
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitResponse>, Status> {
        play!(self, request: Commit => Commit)
    }

    async fn commit_each(
        &self,
        request: Request<Streaming<CommitRequest>>,
    ) -> Result<Response<Self::CommitEachStream>, Status> {
        let Step::CommitEach(outcomes, end) = self.next(&request, Asked::CommitEach).await? else {
            return Err(Status::failed_precondition("the script has something else here"));
        };
        // Each answer after its question, and the end, if it is a status, in place of an answer.
        let answers = outcomes.into_iter().map(Ok).chain(end.map(Err));
        let answers =
            request.into_inner().scan(answers, |answers, _asked| std::future::ready(answers.next()));
        Ok(Response::new(Box::pin(answers)))
    }

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        match self.next(&request, Asked::Watch(request.get_ref().clone())).await? {
            Step::Watch(revisions, None) => {
                Ok(Response::new(Box::pin(stream::iter(revisions).map(Ok).chain(stream::pending()))))
            }
            Step::Watch(revisions, Some(end)) => {
                Ok(Response::new(Box::pin(stream::iter(revisions).map(Ok).chain(stream::iter([Err(end)])))))
            }
            step => unfit(step),
        }
    }
}

#[tonic::async_trait]
impl KvRaw for Script {
    async fn raw_put(&self, request: Request<RawPutRequest>) -> Result<Response<RawPutResponse>, Status> {
        play!(self, request: Put => Put)
    }

    async fn raw_get(&self, request: Request<RawGetRequest>) -> Result<Response<RawGetResponse>, Status> {
        play!(self, request: RawGet => RawGet)
    }

    async fn raw_scan(&self, _: Request<RawScanRequest>) -> Result<Response<RawScanResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn raw_delete(&self, _: Request<RawDeleteRequest>) -> Result<Response<RawDeleteResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }
}

#[tonic::async_trait]
impl Cluster for Script {
    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        match self.next(&request, Asked::Status).await? {
            Step::Status(status) => Ok(Response::new(status)),
            step => unfit(step),
        }
    }

    async fn add_member(&self, _: Request<AddMemberRequest>) -> Result<Response<MembersResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn promote_member(
        &self,
        _: Request<PromoteMemberRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn remove_member(
        &self,
        _: Request<RemoveMemberRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn list_members(
        &self,
        _: Request<ListMembersRequest>,
    ) -> Result<Response<MembersResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn transfer_leader(
        &self,
        _: Request<TransferLeaderRequest>,
    ) -> Result<Response<TransferLeaderResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }
}

#[tonic::async_trait]
impl Maintenance for Script {
    type SaveSnapshotStream = Boxed<SnapshotChunk>;

    async fn save_snapshot(
        &self,
        request: Request<SaveSnapshotRequest>,
    ) -> Result<Response<Self::SaveSnapshotStream>, Status> {
        match self.next(&request, Asked::Save).await? {
            Step::Chunks(chunks) => Ok(Response::new(Box::pin(stream::iter(chunks).map(Ok)))),
            step => unfit(step),
        }
    }

    async fn restore_snapshot(
        &self,
        request: Request<Streaming<SnapshotChunk>>,
    ) -> Result<Response<RestoreSnapshotResponse>, Status> {
        let (metadata, extensions, chunks) = request.into_parts();
        let chunks = chunks.count().await;
        let request = Request::from_parts(metadata, extensions, ());
        match self.next(&request, Asked::Restore(chunks)).await? {
            Step::Restored(response) => Ok(Response::new(response)),
            step => unfit(step),
        }
    }

    async fn state_hash(&self, _: Request<StateHashRequest>) -> Result<Response<StateHashResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }

    async fn examine(&self, _: Request<ExamineRequest>) -> Result<Response<ExamineResponse>, Status> {
        Err(Status::unimplemented("no test asks"))
    }
}
