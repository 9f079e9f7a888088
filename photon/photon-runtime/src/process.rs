//! A process of a service, from its first port to its last task: started, waited for, drained in bounded time.
//!
//! The order is what matters. Files are read and ports are bound before the service opens anything, so that whatever
//! can be refused is refused without a trace. On the way out: NOT_SERVING, no new connections, the calls in flight,
//! the tasks; each part gets what is left of `server.drain_timeout_ms`.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::Admin,
    auth::Authenticator,
    config::{HasCommon as _, ServerConfig},
    grpc::{self, Gates, GrpcMetrics, GrpcServer, Room, Router, RouterError, Rules, Served},
    health::{self, About, Health},
    metrics::Metrics,
    service::{BoxError, Context, Service, StartError, Started},
    shutdown::{Shutdown, TaskFailure},
    tasks::Tasks,
    tls::Tls,
};

/// Calls get this much of the drain's time at most, so that tasks have some to end in.
const CALLS_SHARE: (u32, u32) = (4, 5);

/// A running process of a service; [`run`](crate::run()) has one, and tests may have several in one program.
#[derive(Debug)]
pub struct Process {
    grpc: SocketAddr,
    admin: SocketAddr,
    health: Health,
    shutdown: Shutdown,
    tasks: Tasks,
    drain_timeout: Duration,
    cut: CancellationToken,
    served: oneshot::Receiver<Served>,
}

/// A port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("{key}: cannot listen on {address}")]
pub(crate) struct BindError {
    pub(crate) key: &'static str,
    pub(crate) address: SocketAddr,
    #[source]
    pub(crate) source: io::Error,
}

/// Why a process did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// A task that the process is pointless without ended by itself.
    #[error("critical task {task} ended")]
    Task {
        /// Its name.
        task: &'static str,
        /// Why it ended.
        #[source]
        source: BoxError,
    },
    /// Tasks did not end in time and were dropped.
    #[error("after {timeout_ms} ms (server.drain_timeout_ms) these tasks had not ended: {}", tasks.join(", "))]
    Late {
        /// Their names.
        tasks: Vec<&'static str>,
        /// The time they had.
        timeout_ms: u128,
    },
}

/// Everything that can be refused before the service is touched.
struct Prepared {
    server: ServerConfig,
    authenticator: Authenticator,
    grpc: TcpListener,
    admin_address: SocketAddr,
    about: About,
    context: Context,
}

async fn bind(key: &'static str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let failed = |source| BindError { key, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let bound = listener.local_addr().map_err(failed)?;
    Ok((listener, bound))
}

impl Process {
    /// Starts a service; on return it answers calls.
    ///
    /// # Errors
    /// A certificate or tokens file that is wrong, a port that is taken, or what the service itself failed with. What
    /// had been started has then ended.
    pub async fn start<S: Service>(config: S::Config) -> Result<Self, StartError> {
        let prepared = Prepared::new::<S>(&config).await?;
        let context = prepared.context.clone();
        let condition = context.health.condition("serving");
        condition.not_ready("the service is starting");
        let drain_timeout = prepared.server.drain_timeout();
        let started = match S::start(config, context.clone()).await {
            Ok(started) => {
                prepared.serve(started).inspect(|_process| condition.ok()).map_err(StartError::from)
            }
            Err(error) => Err(error),
        };
        if started.is_err() {
            end(&context, drain_timeout).await;
        }
        started
    }

    /// Where gRPC is served, with the real port.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc
    }

    /// Where `/metrics`, `/livez` and `/readyz` are answered, with the real port.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// Whether the process is ready, and why not.
    pub fn health(&self) -> &Health {
        &self.health
    }

    /// The end of the process, to watch or to ask for.
    pub fn shutdown(&self) -> &Shutdown {
        &self.shutdown
    }

    /// Waits until the end is asked for, by [`Process::shutdown`] or by a critical task that broke, then drains.
    ///
    /// # Errors
    /// When a critical task was the reason, or tasks did not end in time.
    pub async fn wait(self) -> Result<(), StopError> {
        self.shutdown.requested().await;
        self.drain().await
    }

    /// Drains and ends.
    ///
    /// # Errors
    /// As of [`Process::wait`].
    pub async fn stop(self) -> Result<(), StopError> {
        self.shutdown.request();
        self.wait().await
    }

    async fn drain(mut self) -> Result<(), StopError> {
        let began = Instant::now();
        tracing::info!(timeout_ms = self.drain_timeout.as_millis(), "draining");
        self.health.drain();
        self.shutdown.drain();
        if timeout_at(began + self.drain_timeout * CALLS_SHARE.0 / CALLS_SHARE.1, &mut self.served)
            .await
            .is_err()
        {
            self.cut.cancel();
            // An error would mean that the server's task panicked, which is reported as its failure.
            let Served { cut } = self.served.await.unwrap_or_default();
            tracing::warn!(connections = cut, "calls that had not ended were cut off");
        }
        self.shutdown.stop();
        let late = self.tasks.join(self.drain_timeout.saturating_sub(began.elapsed())).await;
        if let Some(TaskFailure { task, source }) = self.shutdown.into_failure() {
            return Err(StopError::Task { task, source });
        }
        match late.is_empty() {
            true => Ok(()),
            false => Err(StopError::Late { tasks: late, timeout_ms: self.drain_timeout.as_millis() }),
        }
    }
}

impl Prepared {
    /// Reads the files, binds the ports, and answers on the admin port.
    async fn new<S: Service>(config: &S::Config) -> Result<Self, StartError> {
        let common = config.common();
        let server = common.server.clone();
        let tls = Tls::load(common.tls, common.auth, S::NAME)?.map(Arc::new);
        let authenticator = Authenticator::load(common.auth)?;
        let (grpc, grpc_address) = bind("server.listen", server.listen).await?;
        let (admin, admin_address) = bind("server.admin_listen", server.admin_listen).await?;
        let context = Context::new::<S>(tls, grpc_address);
        let node = context.tls.as_ref().map_or_else(String::new, |tls| tls.identity().node.clone());
        let about = About { service: S::NAME, node, grpc: grpc_address };
        let answers =
            Admin { about: about.clone(), health: context.health.clone(), metrics: context.metrics.clone() };
        context.tasks.spawn_critical("admin", answers.serve(admin, context.shutdown.stopping()));
        Ok(Self { server, authenticator, grpc, admin_address, about, context })
    }

    fn serve(self, started: Started) -> Result<Process, RouterError> {
        let Self { server, authenticator, grpc, admin_address, about, context } = self;
        let Context { health, metrics, tasks, shutdown, tls, grpc: grpc_address } = context;
        let metrics = GrpcMetrics::new(&metrics);
        let gates = |grpc: GrpcServer, authenticator, tls| {
            let names = grpc.names().map(str::to_owned).collect();
            let answers = health::Server::new(health.clone(), names, about.clone());
            let rules = Rules {
                router: Router::new(grpc, answers, &metrics)?,
                authenticator,
                timeout: server.request_timeout(),
                room: Room::new(server.requests_max, &metrics),
                draining: shutdown.draining(),
            };
            Ok::<_, RouterError>(Gates {
                tls,
                connections_max: server.connections_max,
                rules,
                metrics: metrics.clone(),
            })
        };
        let (cut, (served, ended)) = (CancellationToken::new(), oneshot::channel());
        let mut serving = JoinSet::new();
        if let Some((port, open)) = started.open {
            serving.spawn(grpc::serve(port.listener, gates(open, None, port.tls)?, cut.clone()));
        }
        let own = gates(started.grpc, Some(authenticator), tls.map(|tls| tls.server()))?;
        serving.spawn(grpc::serve(grpc, own, cut.clone()));
        tasks.spawn_critical("grpc", async move {
            let cut = serving.join_all().await.iter().map(|served| served.cut).sum();
            // Nobody is told when the process was dropped instead of waited for.
            drop(served.send(Served { cut }));
        });
        let (grpc, admin, drain_timeout) = (grpc_address, admin_address, server.drain_timeout());
        Ok(Process { grpc, admin, health, shutdown, tasks, drain_timeout, cut, served: ended })
    }
}

impl Context {
    fn new<S: Service>(tls: Option<Arc<Tls>>, grpc: SocketAddr) -> Self {
        let shutdown = Shutdown::default();
        let tasks = Tasks::new(shutdown.clone());
        Self { health: Health::default(), metrics: Metrics::new(S::NAME), tasks, shutdown, tls, grpc }
    }
}

/// Ends what a start that failed had begun.
async fn end(context: &Context, timeout: Duration) {
    context.shutdown.stop();
    let late = context.tasks.join(timeout).await;
    if !late.is_empty() {
        tracing::warn!(tasks = late.join(", "), "these tasks had not ended in time");
    }
}
