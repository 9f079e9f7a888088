//! [`RdbClient`], and the one loop through which every call goes.

use std::{fmt, sync::Arc, time::Duration};

use tokio::time::{Instant, sleep, timeout_at};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    ClientConfig, Cluster, Error, Maintenance, Namespaces, NodeError,
    attempts::{Attempts, Next, Safety, Verdict},
    backoff,
    clock::Clock,
    config,
    outcome::{self, Outcome},
    pool::{Node, Pool, Route},
    sessions::Sessions,
};

/// Where there is another node to ask, one node gets only this part of a call's time.
const SHARES: u32 = 4;

/// Largest answer that is read: a page with the overhead of its records, and the conflicts of a batch.
pub(crate) const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A client of one cluster. Clones share everything and cost nothing.
#[derive(Clone)]
pub struct RdbClient {
    pub(crate) shared: Arc<Shared>,
}

/// What clones share.
pub(crate) struct Shared {
    pub(crate) pool: Pool,
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
            pool: Pool::new(&config, home.into())?,
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
            Ok(Err((endpoint, error))) => NodeError { endpoint, message: outcome::words_of(&error) },
            Err(_elapsed) => {
                no_answer(&client.shared.pool.pick(Route::Leader), client.shared.request_timeout)
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
        let mut retries = Retries::new(self, plan);
        loop {
            let attempt = retries.next_attempt();
            // A stream has a deadline for its opening alone, of which the server must not hear.
            let told = (!plan.stream).then_some(attempt.left);
            match timeout_at(attempt.deadline, attempt_at(Arc::clone(&attempt.node), told)).await {
                Ok(Ok(response)) => return Ok((attempt.node, response.into_inner())),
                Ok(Err(status)) => retries.failed(&attempt.node, &status).await?,
                Err(_elapsed) => retries.unanswered(&attempt).await?,
            }
        }
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

/// The attempts of a call, with their clock and their nodes.
pub(crate) struct Retries<'a> {
    pool: &'a Pool,
    route: Route,
    attempts: Attempts,
    deadline: Instant,
    /// How long one node may take.
    share: Duration,
}

/// One attempt.
pub(crate) struct Attempt {
    pub(crate) node: Arc<Node>,
    pub(crate) deadline: Instant,
    pub(crate) left: Duration,
}

impl<'a> Retries<'a> {
    pub(crate) fn new(client: &'a RdbClient, plan: Plan) -> Self {
        let pool = &client.shared.pool;
        let timeout = plan.timeout.unwrap_or(client.shared.request_timeout);
        // A write without an id has one attempt that may take effect, which therefore gets all the time there is.
        let shares = if plan.safety == Safety::Once || pool.len() == 1 { 1 } else { SHARES };
        Self {
            pool,
            route: plan.route,
            attempts: Attempts::new(plan.safety),
            deadline: Instant::now() + timeout,
            share: timeout / shares,
        }
    }

    pub(crate) fn next_attempt(&self) -> Attempt {
        let now = Instant::now();
        let left = self.deadline.saturating_duration_since(now).min(self.share);
        Attempt { node: self.pool.pick(self.route), deadline: now + left, left }
    }

    /// Takes a status as the attempt's outcome, and waits until the next attempt may start.
    pub(crate) async fn failed(&mut self, node: &Node, status: &Status) -> Result<(), Error> {
        let error = NodeError { endpoint: node.address.clone(), message: outcome::words(status) };
        self.judge(node, outcome::of(status, &node.address), error).await
    }

    /// Takes silence as the attempt's outcome.
    pub(crate) async fn unanswered(&mut self, attempt: &Attempt) -> Result<(), Error> {
        let error = no_answer(&attempt.node, attempt.left);
        self.judge(&attempt.node, Outcome::Unknown, error).await
    }

    async fn judge(&mut self, node: &Node, outcome: Outcome, error: NodeError) -> Result<(), Error> {
        let nodes = u32::try_from(self.pool.len()).unwrap_or(u32::MAX);
        let round = match self.attempts.judge(outcome, &error, nodes) {
            Verdict::End(error) => return Err(error),
            Verdict::Again(next, round) => {
                self.go(next, node);
                round
            }
        };
        let pause = round.map_or(Duration::ZERO, |round| backoff::pause(round, rand::random()));
        if Instant::now() + pause >= self.deadline {
            return Err(self.attempts.given_up(error));
        }
        if !pause.is_zero() {
            tracing::debug!(%error, ?pause, "trying again after a pause");
            sleep(pause).await;
        }
        Ok(())
    }

    fn go(&self, next: Next, from: &Node) {
        match next {
            Next::Leader(address) if self.route == Route::Leader && self.pool.follow(&address) => {}
            Next::Leader(_) | Next::Other => self.pool.leave(self.route, from),
            Next::Same => {}
        }
    }
}

fn no_answer(node: &Node, waited: Duration) -> NodeError {
    let message = format!("no answer within {} ms", waited.as_millis());
    NodeError { endpoint: node.address.clone(), message }
}
