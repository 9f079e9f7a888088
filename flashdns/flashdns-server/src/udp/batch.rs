//! A batch of datagrams: received in one system call, answered in place, sent in one system call.
//!
//! This is the only `unsafe` module of the crate. The kernel's `recvmmsg` and `sendmmsg` want arrays of headers
//! that point into buffers; the safe wrappers that exist build those arrays anew for each packet, which costs as
//! much as the answer itself. Its invariants:
//! - every pointer in a header points into a buffer owned by the same [`Batch`], and is written anew immediately
//!   before the system call that reads it, so moving a `Batch` is harmless;
//! - the kernel's lengths are only used after they are cut to the size of the buffer that they speak about.
//!
//! It knows nothing of DNS, and allocates only when it is made.
#![expect(unsafe_code, reason = "recvmmsg and sendmmsg have no safe binding that keeps its header arrays")]

use std::{
    fmt, io,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

/// Datagrams in one system call. More gains nothing measurable and costs cache.
pub(crate) const BATCH: usize = 64;

/// Room for one query: what an Ethernet frame holds. A longer one is dropped; no resolver sends it. Not a power
/// of two, so that the slots do not fall on the same cache sets.
pub(crate) const RECEIVE_BYTES: usize = 1472;

/// Room for one `IP_PKTINFO` or `IPV6_PKTINFO` control message.
const CONTROL_BYTES: usize = 64;

/// Ancillary data of one datagram, aligned as `cmsghdr` wants it.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL_BYTES]);

/// Buffers and headers for [`BATCH`] datagrams in each direction.
pub(crate) struct Batch {
    queries: Box<[u8]>,
    replies: Box<[u8]>,
    reply_bytes: usize,
    addresses: Box<[libc::sockaddr_storage]>,
    controls: Box<[Control]>,
    vectors: Box<[libc::iovec]>,
    receives: Box<[libc::mmsghdr]>,
    sends: Box<[libc::mmsghdr]>,
    /// Headers of `sends` that are filled.
    pending: usize,
    /// Ask for and give back the address that was asked: needed on a wildcard socket only.
    packet_info: bool,
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("pending", &self.pending).finish_non_exhaustive()
    }
}

/// What became of the replies of a batch.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    /// Handed to the kernel.
    pub(crate) sent: usize,
    /// Refused by the kernel: no route, no buffer, filtered.
    pub(crate) failed: usize,
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: `mmsghdr` is plain integers and pointers, for which all-zero is a valid (null, empty) value.
    unsafe { std::mem::zeroed() }
}

impl Batch {
    /// Buffers for replies of at most `reply_bytes`.
    pub(crate) fn new(reply_bytes: usize, packet_info: bool) -> Batch {
        // An odd multiple of a cache line, for the same reason as `RECEIVE_BYTES`.
        let reply_bytes = (reply_bytes.div_ceil(64) | 1) * 64;
        // SAFETY: as `empty_header`: all-zero is a valid `sockaddr_storage` (family unspecified).
        let address: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        Batch {
            queries: vec![0; BATCH * RECEIVE_BYTES].into(),
            replies: vec![0; BATCH * reply_bytes].into(),
            reply_bytes,
            addresses: vec![address; BATCH].into(),
            controls: vec![Control([0; CONTROL_BYTES]); BATCH].into(),
            vectors: vec![vector; BATCH].into(),
            receives: vec![empty_header(); BATCH].into(),
            sends: vec![empty_header(); BATCH].into(),
            pending: 0,
            packet_info,
        }
    }

    /// Waits for at least one datagram, at most for the socket's receive timeout, and takes what is there.
    ///
    /// # Errors
    /// `WouldBlock` when nothing came in time; else what the kernel said.
    pub(crate) fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.prepare_receive();
        let count = u32::try_from(BATCH).unwrap_or(u32::MAX);
        // SAFETY: `receives` holds `BATCH` headers, each of which `prepare_receive` just pointed at this batch's
        // own buffers with their true lengths; nothing else touches them during the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.receives.as_mut_ptr(),
                count,
                libc::MSG_WAITFORONE,
                ptr::null_mut(),
            )
        };
        usize::try_from(received).map_err(|_negative| io::Error::last_os_error())
    }

    fn prepare_receive(&mut self) {
        let slots = self.queries.chunks_exact_mut(RECEIVE_BYTES).zip(&mut self.vectors);
        let sides = self.addresses.iter_mut().zip(&mut self.controls);
        for (((query, vector), (address, control)), header) in slots.zip(sides).zip(&mut self.receives) {
            vector.iov_base = query.as_mut_ptr().cast();
            vector.iov_len = RECEIVE_BYTES;
            let header = &mut header.msg_hdr;
            header.msg_name = ptr::from_mut(address).cast();
            header.msg_namelen = ADDRESS_BYTES;
            header.msg_iov = vector;
            header.msg_iovlen = 1;
            if self.packet_info {
                header.msg_control = control.0.as_mut_ptr().cast();
                header.msg_controllen = CONTROL_BYTES;
            }
        }
    }

    /// The first `received` datagrams, in order; of those that the kernel cut, what is left.
    pub(crate) fn queries(&self, received: usize) -> impl Iterator<Item = &[u8]> {
        let slots = self.queries.chunks_exact(RECEIVE_BYTES).zip(&self.receives).take(received);
        slots.map(|(query, header)| whole(query, header))
    }

    /// Calls `answer(index, query, reply buffer)` for each of the first `received` datagrams, in order, and notes
    /// the replies for [`Batch::send`]. Those that the kernel cut, or that come from port 0, are dropped unseen.
    /// Returns how many were dropped, by us or by `answer`.
    pub(crate) fn answer(
        &mut self,
        received: usize,
        mut answer: impl FnMut(usize, &[u8], &mut [u8]) -> Option<usize>,
    ) -> usize {
        let received = received.min(BATCH);
        self.pending = 0;
        let (mut queries, mut replies) =
            (self.queries.chunks_exact(RECEIVE_BYTES), self.replies.chunks_exact_mut(self.reply_bytes));
        for slot in 0..received {
            let (Some(query), Some(reply)) = (queries.next(), replies.next()) else { break };
            let header = &mut self.receives[slot];
            if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 || port(&self.addresses[slot]) == 0 {
                continue;
            }
            let Some(length) = answer(slot, whole(query, header), reply) else { continue };
            // The vector of this slot has served its receive; it now carries the reply.
            let vector = &mut self.vectors[slot];
            vector.iov_base = reply.as_mut_ptr().cast();
            vector.iov_len = length.min(self.reply_bytes);
            let send = &mut self.sends[self.pending].msg_hdr;
            *send = header.msg_hdr;
            send.msg_flags = 0;
            if self.packet_info {
                clear_interface(&mut self.controls[slot], header.msg_hdr.msg_controllen);
            }
            self.pending += 1;
        }
        received - self.pending
    }

    /// Sends the replies noted by [`Batch::answer`]. A reply that the kernel refuses is skipped: the others go out.
    pub(crate) fn send(&mut self, socket: BorrowedFd<'_>) -> Sent {
        let mut result = Sent::default();
        let mut from = 0;
        while from < self.pending {
            let rest = &mut self.sends[from..self.pending];
            let count = u32::try_from(rest.len()).unwrap_or(u32::MAX);
            // SAFETY: `rest` are headers filled by `answer` since the last receive; their names, vectors and
            // controls point into this batch's own buffers, which nobody touched in between (`&mut self`).
            let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), count, 0) };
            match usize::try_from(sent) {
                Ok(sent) if sent > 0 => {
                    result.sent += sent;
                    from += sent;
                }
                _ => {
                    result.failed += 1;
                    from += 1;
                }
            }
        }
        self.pending = 0;
        result
    }
}

/// The datagram in its slot.
fn whole<'a>(slot: &'a [u8], header: &libc::mmsghdr) -> &'a [u8] {
    &slot[..(header.msg_len as usize).min(slot.len())]
}

const ADDRESS_BYTES: libc::socklen_t = 128;
const _: () =
    assert!(size_of::<libc::sockaddr_storage>() == 128, "the length told to the kernel is the true one");

/// The sender's port; `sockaddr_in` and `sockaddr_in6` have it in the same place.
fn port(address: &libc::sockaddr_storage) -> u16 {
    // SAFETY: `sockaddr_storage` is larger than `sockaddr_in`, at least as aligned, and any bytes are a valid one.
    let address = unsafe { &*ptr::from_ref(address).cast::<libc::sockaddr_in>() };
    u16::from_be(address.sin_port)
}

/// Leaves the source address in a received packet-info message and takes the interface out, so that the reply is
/// routed as usual. Link-local IPv6 keeps it: without the interface such a reply has no route.
fn clear_interface(control: &mut Control, bytes: usize) {
    const HEADER: usize = size_of::<libc::cmsghdr>();
    if bytes < HEADER {
        return;
    }
    // SAFETY: `Control` is aligned for `cmsghdr` and holds at least one; any bytes are a valid one.
    let header = unsafe { &*control.0.as_ptr().cast::<libc::cmsghdr>() };
    // `in_pktinfo` begins with the interface, `in6_pktinfo` ends with it.
    match (header.cmsg_level, header.cmsg_type) {
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => control.0[HEADER..HEADER + 4].fill(0),
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let link_local = control.0[HEADER] == 0xfe && control.0[HEADER + 1] & 0xc0 == 0x80;
            if !link_local {
                control.0[HEADER + 16..HEADER + 20].fill(0);
            }
        }
        _ => (),
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd, time::Duration};

    use super::*;

    fn pair() -> (UdpSocket, UdpSocket) {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.local_addr().unwrap()).unwrap();
        for socket in [&server, &client] {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        }
        (server, client)
    }

    /// Receives until `wanted` datagrams came, echoing each through `edit`; returns how many were dropped.
    fn echo(
        server: &UdpSocket,
        wanted: usize,
        mut edit: impl FnMut(&[u8], &mut [u8]) -> Option<usize>,
    ) -> usize {
        let mut batch = Batch::new(512, false);
        let (mut seen, mut dropped) = (0, 0);
        while seen < wanted {
            let received = batch.receive(server.as_fd()).unwrap();
            dropped += batch.answer(received, |_slot, query, reply| edit(query, reply));
            let sent = batch.send(server.as_fd());
            assert_eq!(sent.failed, 0);
            seen += received;
        }
        dropped
    }

    #[test]
    fn every_reply_carries_its_own_query_back() {
        let (server, client) = pair();
        for i in 0..100u8 {
            client.send(&[i; 20]).unwrap();
        }
        let dropped = echo(&server, 100, |query, reply| {
            reply[..query.len()].copy_from_slice(query);
            Some(query.len())
        });
        assert_eq!(dropped, 0);
        let mut buffer = [0; 64];
        for i in 0..100u8 {
            assert_eq!(client.recv(&mut buffer).unwrap(), 20);
            assert_eq!(buffer[..20], [i; 20]);
        }
    }

    #[test]
    fn dropped_and_oversized_datagrams_leave_the_others_alone() {
        let (server, client) = pair();
        client.send(b"drop").unwrap();
        client.send(&[7; RECEIVE_BYTES + 1]).unwrap();
        client.send(b"keep").unwrap();
        let dropped = echo(&server, 3, |query, reply| {
            assert!(query.len() <= RECEIVE_BYTES);
            reply[..query.len()].copy_from_slice(query);
            (query != b"drop").then_some(query.len())
        });
        assert_eq!(dropped, 2);
        let mut buffer = [0; 64];
        let length = client.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"keep");
    }

    #[test]
    fn queries_are_those_that_are_answered_by_their_index() {
        let (server, client) = pair();
        for i in 0..3u8 {
            client.send(&vec![i; 10 + usize::from(i)]).unwrap();
        }
        let (mut batch, mut seen) = (Batch::new(512, false), 0);
        while seen < 3 {
            let received = batch.receive(server.as_fd()).unwrap();
            let queries: Vec<Vec<u8>> = batch.queries(received).map(<[u8]>::to_vec).collect();
            assert_eq!(queries.len(), received);
            let dropped = batch.answer(received, |index, query, _reply| {
                assert_eq!(queries[index], query);
                None
            });
            assert_eq!(dropped, received);
            seen += received;
        }
    }

    #[test]
    fn nothing_to_receive_is_would_block() {
        let (server, _client) = pair();
        server.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let error = Batch::new(512, false).receive(server.as_fd()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
