//! Free ports of the loopback interface.
//!
//! They are drawn below the range from which the kernel takes ports for outgoing connections, so that no client gets
//! one between the draw and the server's bind, and at random, so that two runs at once do not meet.

use std::{
    collections::BTreeSet,
    net::{TcpListener, UdpSocket},
    ops::Range,
};

use anyhow::{Result, ensure};
use rand::RngExt as _;

/// Above the well-known services, below Linux's default `ip_local_port_range`.
const DRAWN_FROM: Range<u16> = 10_000..32_000;

/// Draws for one port before the machine counts as full.
const DRAWS_MAX: usize = 1_000;

/// So many different ports that are free, for TCP and for UDP.
///
/// # Errors
/// When too many ports are taken.
pub(crate) fn free(count: usize) -> Result<Vec<u16>> {
    let mut ports = BTreeSet::new();
    for _ in 0..count * DRAWS_MAX {
        if ports.len() == count {
            break;
        }
        let port = rand::rng().random_range(DRAWN_FROM);
        if is_free(port) {
            ports.insert(port);
        }
    }
    ensure!(ports.len() == count, "there are no {count} free ports in {DRAWN_FROM:?}");
    Ok(ports.into_iter().collect())
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok() && UdpSocket::bind(("127.0.0.1", port)).is_ok()
}
