//! [`RdbClient`], and the one loop through which every call goes.

use std::{fmt, sync::Arc, time::Duration};

use photon_dial::{Attempt, NodeError, Pool, Retries, Route, Safety, until_answered, words_of};
use tokio::time::{Instant, timeout_at};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    ClientConfig, Cluster, Error, Maintenance, Namespaces, clock::Clock, config, outcome, pipe::Pipe,
    sessions::Sessions,
};

/// Largest answer that is read: a page with the overhead of its records, and the conflicts of a batch.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of one cluster. Clones share everything and cost nothing.
#[derive(Clone)]
pub struct RdbClient {
    pub(crate) shared: Arc<Shared>,
}

/// One node of a cluster.
pub(crate) type Node = photon_dial::Node<Pipe>;

/// What clones share.
pub(crate) struct Shared {
    pub(crate) pool: Pool<Pipe>,
    pub(crate) clock: Clock,
    /// Decides between equal timestamps of different clients.
    pub(crate) origin: u64,
    pub(crate) sessions: Sessions,
    pub(crate) request_timeout: Duration,
    authorization: Option<MetadataValue<Ascii>>,
}

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) route: Route,
    pub(crate) safety: Safety,
    /// Its deadline, when it is not the client's.
    pub(crate) timeout: Option<Duration>,
    /// Whether the answer is a stream, which may outlive the deadline.
    pub(crate) stream: bool,
}

impl Plan {
    /// A linearizable read.
    pub(crate) const READ: Self = Self::new(Route::Leader, Safety::Read);
    /// A read at any replica.
    pub(crate) const REPLICA: Self = Self::new(Route::Replica, Safety::Read);
    /// A write that must not be repeated blindly.
    pub(crate) const ONCE: Self = Self::new(Route::Leader, Safety::Once);
    /// A write that may.
    pub(crate) const IDEMPOTENT: Self = Self::new(Route::Leader, Safety::Idempotent);

    const fn new(route: Route, safety: Safety) -> Self {
        Self { route, safety, timeout: None, stream: false }
    }
}

impl fmt::Debug for RdbClient {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("RdbClient").field("pool", &self.shared.pool).finish_non_exhaustive()
    }
}

impl RdbClient {
    /// A client that connects with its first call, so that it may be made before the cluster is up.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a configuration that can never work.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let origin: u64 = rand::random();
        let home: u16 = rand::random();
        let shared = Shared {
            pool: Pool::new(config.dialer(), &config.endpoints, home.into())?,
            clock: Clock::default(),
            origin,
            sessions: Sessions::default(),
            request_timeout: config.request_timeout,
            authorization: config.token.as_deref().map(config::authorization).transpose()?,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// A client that has reached a node.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a configuration that can never work, [`Error::Unavailable`] when no node can be reached.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let client = Self::new(config)?;
        let deadline = Instant::now() + client.shared.request_timeout;
        let failed = match timeout_at(deadline, client.shared.pool.connect()).await {
            Ok(Ok(())) => return Ok(client),
            Ok(Err((endpoint, error))) => NodeError { endpoint, message: words_of(&error) },
            Err(_elapsed) => {
                let node = client.shared.pool.pick(Route::Leader);
                NodeError::no_answer(&node.address, client.shared.request_timeout)
            }
        };
        Err(Error::Unavailable { source: failed })
    }

    /// The namespaces of the cluster.
    pub fn namespaces(&self) -> Namespaces {
        Namespaces(self.clone())
    }

    /// The nodes of the cluster.
    pub fn cluster(&self) -> Cluster {
        Cluster(self.clone())
    }

    /// Snapshots of the cluster.
    pub fn maintenance(&self) -> Maintenance {
        Maintenance(self.clone())
    }

    /// Makes a call: attempt after attempt until one is answered, refused, in doubt, or out of time.
    pub(crate) async fn call<T, R, F>(
        &self,
        plan: Plan,
        message: T,
        send: impl Fn(Channel, Request<T>) -> F,
    ) -> Result<R, Error>
    where
        T: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        Ok(self.call_node(plan, message, send).await?.1)
    }

    /// Like [`RdbClient::call`], and says which node answered.
    pub(crate) async fn call_node<T, R, F>(
        &self,
        plan: Plan,
        message: T,
        send: impl Fn(Channel, Request<T>) -> F,
    ) -> Result<(Arc<Node>, R), Error>
    where
        T: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let attempt = |node: Arc<Node>, told| send(node.channel(), self.request(message.clone(), told));
        self.until_answered(plan, attempt).await
    }

    /// Attempt after attempt, each at a node and with the time that the node is told.
    pub(crate) async fn until_answered<R, F>(
        &self,
        plan: Plan,
        attempt_at: impl Fn(Arc<Node>, Option<Duration>) -> F,
    ) -> Result<(Arc<Node>, R), Error>
    where
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let retries = self.retries(plan);
        let attempt = |attempt: &Attempt<Pipe>| {
            // A stream has a deadline for its opening alone, of which the server must not hear.
            attempt_at(Arc::clone(&attempt.node), (!plan.stream).then_some(attempt.left))
        };
        until_answered(retries, attempt, outcome::of).await
    }

    fn retries(&self, plan: Plan) -> Retries<'_, Pipe> {
        let timeout = plan.timeout.unwrap_or(self.shared.request_timeout);
        Retries::new(&self.shared.pool, plan.route, plan.safety, timeout)
    }

    /// A request with the caller's credentials.
    pub(crate) fn request<T>(&self, message: T, timeout: Option<Duration>) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.shared.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        request
    }
}
