//! What the core wants done: the only way in which it touches the world.

use std::net::SocketAddr;

use crate::event::Event;

/// By which way a packet came; its answer goes back the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// A UDP datagram.
    Datagram,
    /// A TCP stream, whichever side opened it.
    Stream,
}

/// A sealed packet and whom it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The receiver.
    pub to: SocketAddr,
    /// At most [`PACKET_BYTES_MAX`](crate::PACKET_BYTES_MAX).
    pub bytes: Vec<u8>,
}

/// What came of one call of the core. Whoever runs the core empties it after each.
#[derive(Debug, Default)]
pub struct Outbox {
    /// To be sent by UDP.
    pub packets: Vec<Packet>,
    /// To be sent over a new TCP stream each; what comes back on it is given to the core as from [`Path::Stream`].
    pub dials: Vec<Packet>,
    /// To be written to the stream that the packet came from.
    pub replies: Vec<Vec<u8>>,
    /// What changed.
    pub events: Vec<Event>,
}
