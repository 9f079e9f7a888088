//! Answers DNS over TCP (RFC 7766): pipelined queries, answered in order, on a bounded number of connections.
//!
//! A connection costs its sender something or ends: it is closed when idle, when a message takes too long to
//! arrive, when its replies are not read, and when it sends what is no query. When three quarters of the
//! connections are taken, idle ones are closed sooner. Memory of a connection is bounded by one query and two
//! replies of the protocol's largest size, and only what is used of it is touched.

use std::{io, sync::Arc, time::Duration};

use bytes::{Buf as _, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    task::JoinSet,
    time::{Instant, timeout, timeout_at},
};
use tokio_util::sync::CancellationToken;

use crate::{
    answerer::Answerer,
    counters::{Counters, Tally},
};

/// Length prefix of a message (RFC 1035 §4.2.2).
const PREFIX_BYTES: usize = 2;

/// Largest message with its prefix.
const FRAME_BYTES_MAX: usize = PREFIX_BYTES + 65_535;

/// Bytes asked of the kernel at once.
const READ_BYTES: usize = 4096;

/// Idle time granted when connections are scarce.
const HURRIED_IDLE: Duration = Duration::from_secs(1);

/// Bounds of all connections of a server.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Connections at a time; more wait in the kernel's backlog.
    pub(crate) connections_max: usize,
    /// How long a connection may be without a query, and its client without reading.
    pub(crate) idle: Duration,
    /// How long a message may take from its first byte to its last.
    pub(crate) message: Duration,
}

/// What every connection needs.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) answerer: Answerer,
    pub(crate) limits: Limits,
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) counters: Arc<Counters>,
}

impl Server {
    /// A server whose listeners share `limits`.
    pub(crate) fn new(answerer: Answerer, limits: Limits, counters: Arc<Counters>) -> Server {
        let slots = Arc::new(Semaphore::new(limits.connections_max));
        Server { answerer, limits, slots, counters }
    }

    /// Accepts until `shutdown`, then waits for the connections to finish the message that they are in.
    pub(crate) async fn run(self, listener: TcpListener, shutdown: CancellationToken) {
        let mut connections = JoinSet::new();
        while let Some(accepted) = shutdown.run_until_cancelled(self.accept(&listener)).await {
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok((stream, slot)) => {
                    connections.spawn(self.clone().connection(stream, slot, shutdown.clone()));
                }
                Err(error) => {
                    // Out of descriptors or a connection that died in the backlog: never the listener's end.
                    tracing::warn!(%error, "TCP accept failed");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
        }
        while connections.join_next().await.is_some() {}
    }

    async fn accept(&self, listener: &TcpListener) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(io::Error::other)?;
        let (stream, _) = listener.accept().await?;
        Ok((stream, slot))
    }

    async fn connection(self, stream: TcpStream, slot: OwnedSemaphorePermit, shutdown: CancellationToken) {
        // Replies are written whole; waiting for more to send with them only delays the client.
        let ended = match stream.set_nodelay(true) {
            Ok(()) => Connection::new(stream, &self).run(&shutdown).await,
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "TCP connection ended early");
        }
        drop(slot);
    }

    fn idle(&self) -> Duration {
        let scarce = self.slots.available_permits() < self.limits.connections_max / 4;
        if scarce { self.limits.idle.min(HURRIED_IDLE) } else { self.limits.idle }
    }
}

/// One connection's buffers.
struct Connection<'a> {
    stream: TcpStream,
    server: &'a Server,
    input: BytesMut,
    output: Box<[u8]>,
    used: usize,
}

/// Whether the connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Read,
    Close,
}

impl<'a> Connection<'a> {
    fn new(stream: TcpStream, server: &'a Server) -> Connection<'a> {
        let output = vec![0; 2 * FRAME_BYTES_MAX].into_boxed_slice();
        Connection { stream, server, input: BytesMut::new(), output, used: 0 }
    }

    async fn run(mut self, shutdown: &CancellationToken) -> io::Result<()> {
        loop {
            let Some(read) = shutdown.run_until_cancelled(self.read_message()).await else { return Ok(()) };
            if !read? || self.answer_all().await? == Next::Close {
                return Ok(());
            }
        }
    }

    /// Reads until a whole message is buffered; false when the client is done or out of time.
    async fn read_message(&mut self) -> io::Result<bool> {
        let mut deadline =
            Instant::now() + if self.input.is_empty() { self.server.idle() } else { self.message() };
        while frame(&self.input).is_none() {
            let fresh = self.input.is_empty();
            self.input.reserve(READ_BYTES);
            match timeout_at(deadline, self.stream.read_buf(&mut self.input)).await {
                Ok(Ok(0)) | Err(_) => return Ok(false),
                Ok(Ok(_)) if fresh => deadline = Instant::now() + self.message(),
                Ok(Ok(_)) => (),
                Ok(Err(error)) => return Err(error),
            }
        }
        Ok(true)
    }

    fn message(&self) -> Duration {
        self.server.limits.message
    }

    /// Answers every message that is buffered whole.
    async fn answer_all(&mut self) -> io::Result<Next> {
        let mut next = Next::Read;
        while next == Next::Read
            && let Some(length) = frame(&self.input)
        {
            next = self.answer_one(length);
            if self.output.len() - self.used < FRAME_BYTES_MAX {
                self.flush().await?;
            }
        }
        self.flush().await?;
        Ok(next)
    }

    /// What gets no reply is no query, and whoever sends it here is no resolver: the connection ends.
    fn answer_one(&mut self, length: usize) -> Next {
        let mut tally = Tally::default();
        let query = &self.input[PREFIX_BYTES..PREFIX_BYTES + length];
        let (prefix, reply) = self.output[self.used..].split_at_mut(PREFIX_BYTES);
        let written = self.server.answerer.snapshot().tcp(query, reply, &mut tally);
        let framed = written.and_then(|bytes| Some((bytes, u16::try_from(bytes).ok()?)));
        if let Some((bytes, length)) = framed {
            prefix.copy_from_slice(&length.to_be_bytes());
            self.used += PREFIX_BYTES + bytes;
        }
        self.input.advance(PREFIX_BYTES + length);
        tally.received(1, usize::from(framed.is_none()), 0);
        self.server.counters.add(&tally);
        if framed.is_some() { Next::Read } else { Next::Close }
    }

    async fn flush(&mut self) -> io::Result<()> {
        let written =
            timeout(self.server.limits.idle, self.stream.write_all(&self.output[..self.used])).await;
        self.used = 0;
        written.map_err(|_elapsed| io::Error::from(io::ErrorKind::TimedOut))?
    }
}

/// Length of the first message, once all of it is there.
fn frame(input: &[u8]) -> Option<usize> {
    let (&prefix, rest) = input.split_first_chunk::<PREFIX_BYTES>()?;
    let length = usize::from(u16::from_be_bytes(prefix));
    (rest.len() >= length).then_some(length)
}
