//! Makes the UDP sockets: one for each worker and address, all on the same port by `SO_REUSEPORT`, so that the
//! kernel spreads clients over workers and no lock is shared.
//!
//! A wildcard socket learns for each datagram which address was asked (`IP_PKTINFO`), so that the reply leaves
//! from there: a host with several addresses would otherwise answer from another one than was asked, and
//! resolvers drop that.

use std::{
    io,
    net::{SocketAddr, UdpSocket},
    time::Duration,
};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// The default of Linux (208 KiB) loses datagrams in bursts; every measured server has to raise it.
const RECEIVE_BUFFER_BYTES: usize = 4 << 20;

/// How long a blocked system call may hold up shutdown.
const BLOCK_MAX: Duration = Duration::from_millis(200);

/// One bound socket of one worker.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) socket: UdpSocket,
    /// Whether datagrams carry the address that was asked.
    pub(crate) packet_info: bool,
}

/// Binds one socket of a worker to `address`; all workers bind the same one.
///
/// # Errors
/// What the kernel said: the port is taken by another program, the address is not of this machine, no permission.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_port(true)?;
    grow_receive_buffer(&socket)?;
    socket.set_read_timeout(Some(BLOCK_MAX))?;
    socket.set_write_timeout(Some(BLOCK_MAX))?;
    let packet_info = address.ip().is_unspecified();
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if packet_info {
        ask_for_packet_info(&socket, address)?;
    }
    socket.bind(&address.into())?;
    Ok(Bound { socket: socket.into(), packet_info })
}

fn ask_for_packet_info(socket: &Socket, address: SocketAddr) -> io::Result<()> {
    match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4PacketInfo, &true)?,
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvPacketInfo, &true)?,
    }
    Ok(())
}

/// Past the system's limit when we may (`CAP_NET_ADMIN`), else up to it.
fn grow_receive_buffer(socket: &Socket) -> io::Result<()> {
    match setsockopt(socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES) {
        Ok(()) => Ok(()),
        Err(_not_permitted) => socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES),
    }
}
