//! Binds what DNS is served on: for each address one TCP listener and the sockets of all UDP workers.
//!
//! TCP comes first: `SO_REUSEPORT` lets a second process share a UDP port silently, and the TCP listener, which is
//! not shared, is what makes it fail instead. Nothing is served before all is bound.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{config::DnsConfig, udp};

/// Connections that wait in the kernel to be accepted.
const BACKLOG: i32 = 1024;

/// Times that another free port is tried, where any will do.
const ATTEMPTS_MAX: u32 = 16;

/// An address that DNS cannot be served on.
#[derive(Debug, thiserror::Error)]
#[error("dns.listen: cannot bind {address} for {transport}")]
pub struct ListenError {
    /// Which.
    pub address: SocketAddr,
    /// `TCP` or `UDP`.
    pub transport: &'static str,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

/// Everything that is bound; nothing is read from it yet.
#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) tcp: Vec<TcpListener>,
    pub(crate) udp: udp::Sockets,
    pub(crate) plan: udp::Plan,
}

/// Binds all addresses. Port 0 becomes a port that is free for both transports.
///
/// # Errors
/// The first address that cannot be had.
pub(crate) fn bind(config: &DnsConfig) -> Result<Listeners, ListenError> {
    let mut attempt = 1;
    loop {
        match try_bind(config) {
            Err(error) if attempt < ATTEMPTS_MAX && may_choose_again(config, &error) => attempt += 1,
            other => return other,
        }
    }
}

/// A port that is free for TCP may be taken for UDP.
fn may_choose_again(config: &DnsConfig, error: &ListenError) -> bool {
    error.source.kind() == io::ErrorKind::AddrInUse && !config.listen.contains(&error.address)
}

fn try_bind(config: &DnsConfig) -> Result<Listeners, ListenError> {
    let mut tcp = Vec::with_capacity(config.listen.len());
    let mut addresses = Vec::with_capacity(config.listen.len());
    for &address in &config.listen {
        let failed = |source| ListenError { address, transport: "TCP", source };
        let listener = bind_tcp(address).map_err(failed)?;
        addresses.push(listener.local_addr().map_err(failed)?);
        tcp.push(listener);
    }
    let workers = if config.workers == 0 { udp::core_count() } else { config.workers };
    let plan = udp::Plan { addresses, workers, payload_max: config.udp_payload_max, pin: config.pin_workers };
    let udp =
        udp::bind(&plan).map_err(|(address, source)| ListenError { address, transport: "UDP", source })?;
    Ok(Listeners { tcp, udp, plan })
}

fn bind_tcp(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for connections of the last process to time out.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(address: SocketAddr) -> DnsConfig {
        DnsConfig { listen: vec![address], workers: 2, ..DnsConfig::default() }
    }

    #[test]
    fn port_0_is_one_port_for_both_transports() {
        let bound = bind(&config("127.0.0.1:0".parse().unwrap())).unwrap();
        let address = bound.tcp[0].local_addr().unwrap();
        assert_ne!(address.port(), 0);
        assert_eq!(bound.plan.addresses, [address]);
    }

    #[test]
    fn port_of_another_process_is_refused_by_address_and_transport() {
        let first = bind(&config("127.9.0.1:0".parse().unwrap())).unwrap();
        let address = first.plan.addresses[0];
        let error = bind(&config(address)).unwrap_err();
        assert_eq!((error.address, error.transport), (address, "TCP"));
        drop(first);
        let other = std::net::UdpSocket::bind("127.9.0.1:0").unwrap();
        let address = other.local_addr().unwrap();
        let error = bind(&config(address)).unwrap_err();
        assert_eq!((error.address, error.transport), (address, "UDP"));
    }
}
