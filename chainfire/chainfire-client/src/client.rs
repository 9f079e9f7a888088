//! [`Client`], and the one way by which every call goes.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chainfire_proto::etcdserverpb::{AuthenticateRequest, auth_client::AuthClient};
use photon_dial::{Attempt, Node, NodeError, Pool, Retries, Route, Safety, until_answered, words_of};
use tokio::time::{Instant, timeout_at};
use tonic::{
    Request, Response, Status,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use crate::{
    ClientConfig, Error, User,
    outcome::{self, Asked},
    session::Session,
};

/// A call gets so many tokens before it is told that none of them was good.
const TOKENS_MAX: u32 = 3;

/// A client of one cluster. Clones share everything and cost nothing.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    pool: Pool<()>,
    session: Session,
    request_timeout: Duration,
}

/// How a call is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    safety: Safety,
    /// The revision that it names; 0: none.
    revision: i64,
    /// Whether the answer is a stream, which may outlive the deadline.
    stream: bool,
    /// Its deadline, when it is not the client's.
    timeout: Option<Duration>,
}

impl Plan {
    pub(crate) const READ: Self = Self { safety: Safety::Read, revision: 0, stream: false, timeout: None };
    /// A write that must not be repeated blindly.
    pub(crate) const ONCE: Self = Self { safety: Safety::Once, ..Self::READ };
    /// A write that may.
    pub(crate) const REPEATABLE: Self = Self { safety: Safety::Idempotent, ..Self::READ };

    pub(crate) const fn at(self, revision: i64) -> Self {
        Self { revision, ..self }
    }

    pub(crate) const fn streaming(self) -> Self {
        Self { stream: true, ..self }
    }

    pub(crate) const fn within(self, timeout: Duration) -> Self {
        Self { timeout: Some(timeout), ..self }
    }

    fn asked(self) -> Asked {
        Asked { revision: self.revision, read: self.safety == Safety::Read }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { pool, session, .. } = &*self.shared;
        out.debug_struct("Client").field("pool", pool).field("session", session).finish_non_exhaustive()
    }
}

impl Client {
    /// A client that connects with its first call, so that it may be made before the cluster is up. Each client asks a
    /// node of its own choice for as long as that is well.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a configuration that can never work.
    pub fn new(config: ClientConfig) -> Result<Self, Error> {
        let home: u16 = rand::random();
        let pool = Pool::new(config.dialer(), &config.endpoints, home.into())?;
        let (session, request_timeout) = (Session::new(config.user), config.request_timeout);
        Ok(Self { shared: Arc::new(Shared { pool, session, request_timeout }) })
    }

    /// A client that has reached a node.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a configuration that can never work, [`Error::Unavailable`] when no node can be reached.
    pub async fn connect(config: ClientConfig) -> Result<Self, Error> {
        let client = Self::new(config)?;
        let Shared { pool, request_timeout, .. } = &*client.shared;
        let failed = match timeout_at(Instant::now() + *request_timeout, pool.connect()).await {
            Ok(Ok(())) => return Ok(client),
            Ok(Err((endpoint, error))) => NodeError { endpoint, message: words_of(&error) },
            Err(_elapsed) => NodeError::no_answer(&pool.pick(Route::Leader).address, *request_timeout),
        };
        Err(Error::Unavailable { source: failed })
    }

    /// How long a call may take.
    pub(crate) fn request_timeout(&self) -> Duration {
        self.shared.request_timeout
    }

    /// The node is not asked again before the others were.
    pub(crate) fn leave(&self, node: &Node<()>) {
        self.shared.pool.leave(Route::Replica, node);
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

    /// Like [`Client::call`], and says which node answered.
    pub(crate) async fn call_node<T, R, F>(
        &self,
        plan: Plan,
        message: T,
        send: impl Fn(Channel, Request<T>) -> F,
    ) -> Result<(Arc<Node<()>>, R), Error>
    where
        T: Clone,
        F: Future<Output = Result<Response<R>, Status>>,
    {
        let deadline = Instant::now() + plan.timeout.unwrap_or(self.shared.request_timeout);
        let mut tokens = 0;
        loop {
            let token = self.token(deadline).await?;
            let stale = AtomicBool::new(false);
            let attempt = |attempt: &Attempt<()>| {
                // A stream has a deadline for its opening alone, of which the server must not hear.
                let told = (!plan.stream).then_some(attempt.left);
                send(attempt.node.channel(), request(message.clone(), token.clone(), told))
            };
            let judge = |status: &Status, endpoint: &str| {
                stale.store(outcome::needs_token(status), Ordering::Relaxed);
                outcome::of(status, endpoint, plan.asked())
            };
            let retries = self.retries(plan.safety, deadline);
            match until_answered(retries, attempt, judge).await {
                Err(Error::Denied { message }) => {
                    tokens += 1;
                    if !stale.into_inner() || !self.shared.session.is_known() || tokens >= TOKENS_MAX {
                        return Err(Error::Denied { message });
                    }
                    self.shared.session.forget(token).await;
                }
                other => return other,
            }
        }
    }

    fn retries(&self, safety: Safety, deadline: Instant) -> Retries<'_, ()> {
        let left = deadline.saturating_duration_since(Instant::now());
        Retries::new(&self.shared.pool, Route::Replica, safety, left)
    }

    async fn token(&self, deadline: Instant) -> Result<Option<MetadataValue<Ascii>>, Error> {
        self.shared.session.token(async |user| self.authenticate(user, deadline).await).await
    }

    /// The token for a user; none where the cluster asks nobody for one.
    async fn authenticate(
        &self,
        user: &User,
        deadline: Instant,
    ) -> Result<Option<MetadataValue<Ascii>>, Error> {
        let asked = AuthenticateRequest { name: user.name.clone(), password: user.password.clone() };
        let attempt = |attempt: &Attempt<()>| {
            let (channel, request) =
                (attempt.node.channel(), request(asked.clone(), None, Some(attempt.left)));
            async move {
                match AuthClient::new(channel).authenticate(request).await {
                    Err(status) if outcome::auth_is_off(&status) => Ok(Response::new(None)),
                    answer => Ok(answer?.map(|answer| Some(answer.token))),
                }
            }
        };
        let judge = |status: &Status, endpoint: &str| outcome::of(status, endpoint, Plan::READ.asked());
        let (node, token) = until_answered(self.retries(Safety::Read, deadline), attempt, judge).await?;
        token.map(|token| header(&node.address, &token)).transpose()
    }
}

fn header(endpoint: &str, token: &str) -> Result<MetadataValue<Ascii>, Error> {
    let mut value = MetadataValue::try_from(token)
        .map_err(|_malformed| Error::protocol(endpoint, "a token that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A request with the caller's token, for a node that knows a leader.
fn request<T>(message: T, token: Option<MetadataValue<Ascii>>, timeout: Option<Duration>) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("hasleader", MetadataValue::from_static("true"));
    if let Some(token) = token {
        request.metadata_mut().insert("token", token);
    }
    if let Some(timeout) = timeout {
        request.set_timeout(timeout);
    }
    request
}
