//! Runs the core on real sockets: one UDP socket, one TCP listener on the same port, one task.
//!
//! All queues are bounded. A datagram that the kernel does not take at once is dropped, as the network might have done.

mod handle;
mod stream;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub use self::handle::{Handle, KeyError, Members, Stopped};
use self::{
    handle::{Command, KeyChange},
    stream::{Delivery, converse, dial},
};
use crate::{
    config::ConfigError,
    event::Event,
    frame::PACKET_BYTES_MAX,
    gossip::{Gossip, Start},
    identity::Identity,
    keyring::{KeyId, KeyringError},
    metrics::Metrics,
    outbox::{Outbox, Packet, Path},
};

/// Datagrams read before timers are looked at again.
const BURST: usize = 64;
/// Streams that others opened, and streams that we opened, at most each.
const STREAMS_MAX: usize = 64;
/// Packets from streams that wait for the core.
const DELIVERIES_MAX: usize = 64;
/// Commands that wait.
const COMMANDS_MAX: usize = 16;
/// Events that wait for their reader.
const EVENTS_MAX: usize = 1024;
/// Gossip periods for which a node that leaves goes on telling so.
const FAREWELL_PERIODS: u32 = 5;
/// Ports tried when any will do: TCP may have a port that UDP has not.
const PORTS_TRIED: usize = 16;

/// The sockets of a node, bound before it is known as whom it speaks.
#[derive(Debug)]
pub struct Sockets {
    udp: UdpSocket,
    tcp: TcpListener,
}

impl Sockets {
    /// Binds UDP and TCP to one port; port 0 is any that is free for both.
    ///
    /// # Errors
    /// When the address cannot be bound.
    pub async fn bind(listen: SocketAddr) -> io::Result<Self> {
        let mut bound = Self::bind_both(listen).await;
        for _ in 1..PORTS_TRIED {
            if bound.is_ok() || listen.port() != 0 {
                break;
            }
            bound = Self::bind_both(listen).await;
        }
        bound
    }

    async fn bind_both(listen: SocketAddr) -> io::Result<Self> {
        let tcp = TcpListener::bind(listen).await?;
        let udp = UdpSocket::bind(tcp.local_addr()?).await?;
        Ok(Self { udp, tcp })
    }

    /// Where they listen.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn addr(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }
}

/// A node that speaks; see [`run`](Node::run).
#[derive(Debug)]
pub struct Node {
    core: Gossip,
    sockets: Sockets,
    began: Instant,
    out: Outbox,
    commands: mpsc::Receiver<Command>,
    deliveries: mpsc::Receiver<Delivery>,
    /// For streams to deliver to.
    deliver: mpsc::Sender<Delivery>,
    accepted: JoinSet<()>,
    dialed: JoinSet<()>,
    /// No stream can be accepted until the next timer.
    accept_failed: bool,
    events: mpsc::Sender<Event>,
    members: watch::Sender<Members>,
    identity: watch::Sender<Identity>,
    gossip_period: Duration,
    metrics: Metrics,
}

impl Node {
    /// A node on `sockets`, what to tell it by, and where it tells what changed.
    ///
    /// A reader of events that falls behind by over 1,024 misses some; the members that [`Handle::members`] shows are
    /// always the present ones.
    ///
    /// # Errors
    /// When the timings cannot work, or nobody could send to the identity's address.
    pub fn new(
        sockets: Sockets,
        start: Start,
        metrics: Metrics,
    ) -> Result<(Self, Handle, mpsc::Receiver<Event>), ConfigError> {
        let gossip_period = start.config.gossip_period;
        let core = Gossip::new(start, metrics.clone())?;
        let (send_command, commands) = mpsc::channel(COMMANDS_MAX);
        let (deliver, deliveries) = mpsc::channel(DELIVERIES_MAX);
        let (events, read_events) = mpsc::channel(EVENTS_MAX);
        let (members, read_members) = watch::channel(Members::default());
        let (identity, read_identity) = watch::channel(*core.identity());
        let node = Self {
            core,
            sockets,
            began: Instant::now(),
            out: Outbox::default(),
            commands,
            deliveries,
            deliver,
            accepted: JoinSet::new(),
            dialed: JoinSet::new(),
            accept_failed: false,
            events,
            members,
            identity,
            gossip_period,
            metrics,
        };
        Ok((node, Handle::new(send_command, read_members, read_identity), read_events))
    }

    /// Speaks until `stopping` is cancelled, then says farewell.
    ///
    /// # Errors
    /// When the UDP socket fails.
    pub async fn run(mut self, stopping: CancellationToken) -> io::Result<()> {
        self.core.begin(self.now(), &mut self.out);
        self.flush();
        while !stopping.is_cancelled() {
            tokio::select! {
                () = stopping.cancelled() => break,
                turn = self.turn() => turn?,
            }
        }
        self.farewell().await
    }

    async fn farewell(&mut self) -> io::Result<()> {
        let now = self.now();
        self.core.leave(now, &mut self.out);
        self.flush();
        let end = Instant::now() + self.gossip_period * FAREWELL_PERIODS;
        while Instant::now() < end {
            tokio::select! {
                () = tokio::time::sleep_until(end) => break,
                turn = self.turn() => turn?,
            }
        }
        Ok(())
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Waits for one thing to happen and handles it. Nothing is lost when it is dropped while it waits.
    async fn turn(&mut self) -> io::Result<()> {
        let wake_at = self.core.wake_at().map_or_else(Instant::now, |at| self.began + at);
        let may_accept = self.accepted.len() < STREAMS_MAX && !self.accept_failed;
        tokio::select! {
            readable = self.sockets.udp.readable() => {
                readable?;
                self.read_datagrams()?;
            }
            Some(delivery) = self.deliveries.recv() => self.take(delivery),
            Some(command) = self.commands.recv() => self.obey(command),
            accepted = self.sockets.tcp.accept(), if may_accept => self.accept(accepted),
            Some(_ended) = self.accepted.join_next() => {}
            Some(_ended) = self.dialed.join_next() => {}
            () = tokio::time::sleep_until(wake_at) => {
                // What came in comes first: an answer that is here already is in time.
                self.read_datagrams()?;
                self.accept_failed = false;
                self.core.wake(self.now(), &mut self.out);
            }
        }
        self.flush();
        Ok(())
    }

    fn read_datagrams(&mut self) -> io::Result<()> {
        let mut packet = [0; PACKET_BYTES_MAX + 1];
        for _ in 0..BURST {
            match self.sockets.udp.try_recv_from(&mut packet) {
                Ok((length, _)) => {
                    let packet = packet.get(..length).unwrap_or_default();
                    self.core.receive(self.now(), packet, Path::Datagram, &mut self.out);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn take(&mut self, delivery: Delivery) {
        self.core.receive(self.now(), &delivery.packet, Path::Stream, &mut self.out);
        // The stream may have timed out meanwhile; its replies are then as lost as a datagram.
        let _timed_out = delivery.replies.send(std::mem::take(&mut self.out.replies));
    }

    fn accept(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        match accepted {
            Ok((stream, _)) => {
                self.accepted.spawn(converse(stream, None, self.deliver.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "a gossip stream cannot be accepted");
                self.metrics.dropped.inc();
                self.accept_failed = true;
            }
        }
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::SetMetadata(metadata, done) => {
                self.core.set_metadata(metadata);
                answer(done, ());
            }
            Command::ChangeKeys(change, done) => {
                let changed = self.change_keys(change);
                answer(done, changed);
            }
        }
    }

    fn change_keys(&mut self, change: KeyChange) -> Result<Vec<KeyId>, KeyringError> {
        let keyring = self.core.keyring();
        match change {
            KeyChange::Show => {}
            KeyChange::Add(key) => keyring.add(key)?,
            KeyChange::Use(id) => keyring.use_key(id)?,
            KeyChange::Remove(id) => keyring.remove(id)?,
        }
        Ok(keyring.ids())
    }

    /// Does what the core wants.
    fn flush(&mut self) {
        for packet in std::mem::take(&mut self.out.packets) {
            self.send(&packet);
        }
        for packet in std::mem::take(&mut self.out.dials) {
            self.dial(packet);
        }
        let events = std::mem::take(&mut self.out.events);
        if !events.is_empty() {
            self.members.send_replace(Arc::new(self.core.members().cloned().collect()));
        }
        events.into_iter().for_each(|event| self.tell(event));
        self.identity.send_if_modified(|known| {
            let now = *self.core.identity();
            std::mem::replace(known, now) != now
        });
    }

    fn send(&self, packet: &Packet) {
        if let Err(error) = self.sockets.udp.try_send_to(&packet.bytes, packet.to) {
            self.metrics.dropped.inc();
            tracing::debug!(to = %packet.to, %error, "a gossip packet was not sent");
        }
    }

    fn dial(&mut self, packet: Packet) {
        if self.dialed.len() < STREAMS_MAX {
            self.dialed.spawn(dial(packet, self.deliver.clone()));
        } else {
            self.metrics.dropped.inc();
        }
    }

    fn tell(&self, event: Event) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            self.metrics.dropped.inc();
            tracing::warn!(?event, "nobody reads the events of gossip fast enough");
        }
    }
}

/// Whoever asked may have stopped waiting.
fn answer<T>(to: oneshot::Sender<T>, with: T) {
    let _gone = to.send(with);
}
