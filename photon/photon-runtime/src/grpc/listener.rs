//! Accepts connections, each a task that is joined: TLS, the peer's identity once, then HTTP/2 until it ends or drains.
//!
//! A drain closes the port at once, tells every client by GOAWAY to go elsewhere, and waits for the calls in flight;
//! whoever runs this decides how long, by `cut`.

use std::{convert::Infallible, io, sync::Arc, time::Duration};

use http::Request;
use hyper::{
    body::Incoming,
    rt::{Executor, Read, Write},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::metrics::gauge::Gauge;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{call::Rules, metrics::GrpcMetrics};
use crate::auth::Peer;

/// A client that takes longer is not there, or does not mean it.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// A silent connection is asked this often whether its client is still there.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Room for a full round trip of a large message at 10 Gbit/s; a connection's share bounds what its calls may buffer.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
const STREAMS_PER_CONNECTION_MAX: u32 = 1_024;
const HEADER_BYTES_MAX: u32 = 16 << 10;
/// When the process is out of descriptors, accepting again at once would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What stands before the calls.
pub(crate) struct Gates {
    pub(crate) tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) connections_max: u32,
    pub(crate) rules: Rules,
    pub(crate) metrics: GrpcMetrics,
}

/// How serving ended.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Served {
    /// Connections that had calls in flight when they were cut.
    pub(crate) cut: usize,
}

struct Server {
    tls: Option<TlsAcceptor>,
    rules: Rules,
    http: http2::Builder<Tracked>,
    metrics: GrpcMetrics,
}

/// One of the connections that may be open.
struct Place {
    _permit: OwnedSemaphorePermit,
    open: Gauge,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// Spawns the tasks of hyper, one for each call.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F> Executor<F> for Tracked
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}

/// Serves until the rules' `draining`, then until the last call has ended or `cut`.
pub(crate) async fn serve(listener: TcpListener, gates: Gates, cut: CancellationToken) -> Served {
    let room =
        Arc::new(Semaphore::new(usize::try_from(gates.connections_max).unwrap_or(Semaphore::MAX_PERMITS)));
    let server = Arc::new(Server::new(gates));
    let draining = server.rules.draining.clone();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = draining.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _address)) => server.take(stream, &room, &mut connections),
                Err(error) => pause(&error).await,
            },
            Some(_ended) = connections.join_next() => (),
        }
    }
    drop(listener);
    cut.run_until_cancelled(async { while connections.join_next().await.is_some() {} }).await;
    let cut = connections.len();
    connections.shutdown().await;
    Served { cut }
}

/// The client may be gone already (that is its own affair), or the process is out of something.
async fn pause(error: &io::Error) {
    if !matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) {
        tracing::warn!(%error, "connections cannot be accepted at the moment");
        sleep(ACCEPT_PAUSE).await;
    }
}

impl Server {
    fn new(gates: Gates) -> Self {
        let mut http = http2::Builder::new(Tracked(TaskTracker::new()));
        http.timer(TokioTimer::new())
            .keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_concurrent_streams(STREAMS_PER_CONNECTION_MAX)
            .max_header_list_size(HEADER_BYTES_MAX);
        Self { tls: gates.tls.map(TlsAcceptor::from), rules: gates.rules, http, metrics: gates.metrics }
    }

    fn take(self: &Arc<Self>, stream: TcpStream, room: &Arc<Semaphore>, connections: &mut JoinSet<()>) {
        let Ok(permit) = Arc::clone(room).try_acquire_owned() else {
            self.metrics.refused.inc();
            tracing::debug!("connection closed: as many as server.connections_max are open");
            return;
        };
        let open = self.metrics.connections.clone();
        open.inc();
        connections.spawn(Arc::clone(self).connection(stream, Place { _permit: permit, open }));
    }

    async fn connection(self: Arc<Self>, stream: TcpStream, _place: Place) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "connection ended before it began");
            return;
        }
        let Some(tls) = &self.tls else {
            return self.calls(stream, Peer::Anonymous).await;
        };
        match timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                let certificates = stream.get_ref().1.peer_certificates();
                let known = self.rules.authenticator.as_ref().map(|known| known.peer(certificates));
                let peer = known.unwrap_or(Peer::Anonymous);
                self.calls(stream, peer).await;
            }
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_elapsed) => tracing::debug!("TLS handshake timed out"),
        }
    }

    async fn calls<I>(self: &Arc<Self>, stream: I, peer: Peer)
    where
        TokioIo<I>: Read + Write + Unpin + Send + 'static,
    {
        let peer = Arc::new(peer);
        let answer = service_fn(|request: Request<Incoming>| {
            let (server, peer) = (Arc::clone(self), Arc::clone(&peer));
            async move { Ok::<_, Infallible>(server.rules.answer(request, &peer).await) }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), answer);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = self.rules.draining.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error = %crate::errors::chain(&error), "connection ended");
        }
    }
}
