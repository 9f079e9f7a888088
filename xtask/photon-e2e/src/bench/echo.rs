//! A responder with no DNS logic at all: what the kernel's UDP allows on one core.

use std::{
    io::{IoSlice, IoSliceMut},
    net::UdpSocket,
    os::fd::AsRawFd as _,
};

use anyhow::Result;
use nix::{
    errno::Errno,
    sys::socket::{
        ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, recvmmsg, sendmmsg, setsockopt, sockopt,
    },
};

use super::udp::{BATCH, DATAGRAM_BYTES, RECEIVE_BUFFER_BYTES};

/// Answers every datagram with one fixed A record, until the process is ended.
///
/// # Errors
/// When the port is taken or the socket fails.
pub(crate) fn echo(port: u16) -> Result<()> {
    let socket = UdpSocket::bind(("127.0.0.1", port))?;
    setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
    let mut received = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut sent = MultiHeaders::<SockaddrIn>::preallocate(BATCH, None);
    let mut buffers = vec![[0_u8; DATAGRAM_BYTES]; BATCH];
    loop {
        let asked: Vec<(usize, Option<SockaddrIn>)> = {
            let mut slices: Vec<_> =
                buffers.iter_mut().map(|buffer| [IoSliceMut::new(&mut buffer[..1500])]).collect();
            let wait = MsgFlags::MSG_WAITFORONE;
            recvmmsg(socket.as_raw_fd(), &mut received, slices.iter_mut(), wait, None)?
                .map(|query| (query.bytes, query.address))
                .collect()
        };
        let lengths: Vec<usize> =
            asked.iter().zip(&mut buffers).map(|((bytes, _), buffer)| reply(buffer, *bytes)).collect();
        let slices: Vec<_> =
            lengths.iter().zip(&buffers).map(|(length, buffer)| [IoSlice::new(&buffer[..*length])]).collect();
        let addresses: Vec<_> = asked.iter().map(|(_, address)| *address).collect();
        let none: [ControlMessage<'_>; 0] = [];
        match sendmmsg(socket.as_raw_fd(), &mut sent, &slices, addresses, none, MsgFlags::empty()) {
            Ok(_) | Err(Errno::ECONNREFUSED) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Turns a query into a reply with one A record; returns its length.
fn reply(buffer: &mut [u8; DATAGRAM_BYTES], bytes: usize) -> usize {
    const RECORD: [u8; 16] = [0xc0, 12, 0, 1, 0, 1, 0, 0, 1, 44, 0, 4, 10, 0, 0, 1];
    buffer[2] |= 0x84;
    buffer[7] = 1;
    buffer[11] = 0;
    let mut end = 12;
    while end < bytes && buffer[end] != 0 {
        end += usize::from(buffer[end]) + 1;
    }
    let end = (end + 5).min(bytes);
    buffer[end..end + RECORD.len()].copy_from_slice(&RECORD);
    end + RECORD.len()
}
