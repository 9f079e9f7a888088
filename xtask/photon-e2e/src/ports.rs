//! Free ports of the loopback interface.

use std::net::{TcpListener, UdpSocket};

use anyhow::Result;

/// So many different ports that were free a moment ago, for TCP and for UDP.
///
/// # Errors
/// When the kernel has no port to give.
pub(crate) fn free(count: usize) -> Result<Vec<u16>> {
    let mut held = Vec::new();
    let mut ports = Vec::new();
    while ports.len() < count {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        // All are held until all are found, so that none is handed out twice.
        held.push(listener);
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
    }
    Ok(ports)
}
