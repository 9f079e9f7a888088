//! Turns one query into one reply: the whole of the data plane's packet path.
//!
//! Nothing here allocates, locks or panics, and whatever the bytes are, the work is bounded: a name is read in at
//! most 256 steps, a chain of aliases has at most 16 links, every other loop is over records of the query or of
//! one record set.

mod additional;
mod lookahead;
mod query;
mod reply;
mod resolve;

use crate::{Catalog, rtype};
pub use lookahead::Lookahead;
use query::{Fault, Header, Query};
use reply::Reply;

/// What a UDP reply may measure without EDNS (RFC 1035 §4.2.1).
const PLAIN_UDP_BYTES: u16 = 512;
/// What we announce that we can receive (DNS flag day 2020).
const OUR_UDP_BYTES: u16 = 1232;

/// Response codes (IANA, DNS parameters).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rcode(pub(crate) u16);

impl Rcode {
    pub(crate) const NO_ERROR: Rcode = Rcode(0);
    pub(crate) const FORMAT_ERROR: Rcode = Rcode(1);
    pub(crate) const SERVER_FAILURE: Rcode = Rcode(2);
    pub(crate) const NAME_ERROR: Rcode = Rcode(3);
    pub(crate) const NOT_IMPLEMENTED: Rcode = Rcode(4);
    pub(crate) const REFUSED: Rcode = Rcode(5);
    pub(crate) const NAME_TOO_LONG: Rcode = Rcode(6);
    pub(crate) const BAD_VERSION: Rcode = Rcode(16);
}

/// How the query came, which decides how large the reply may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// A datagram. A reply is never larger than `limit`, whatever the client says it can receive; 1232 avoids
    /// fragments everywhere. Below 512 counts as 512.
    Udp {
        /// Octets.
        limit: u16,
    },
    /// A stream: up to 65,535 octets.
    Tcp,
}

/// Answers `query` from `catalog` into `out` and returns the length of the reply.
///
/// `None` means that no reply must be sent: the message is no query (a response would make two servers answer
/// each other for ever), or `out` has not even room for the question.
pub fn answer(catalog: &Catalog, query: &[u8], transport: Transport, out: &mut [u8]) -> Option<usize> {
    let header = Header::read(query)?;
    let mut asked = Query::default();
    let read = asked.read(query, header);
    reply(catalog, query, header, (&asked, read), transport, out)
}

/// The reply to a message that was read to `asked`.
fn reply(
    catalog: &Catalog,
    message: &[u8],
    header: Header,
    (asked, read): (&Query, Result<(), Fault>),
    transport: Transport,
    out: &mut [u8],
) -> Option<usize> {
    if let Err(fault) = read {
        return refuse(message, header, fault, out);
    }
    let mut reply = Reply::start(message, asked, transport, out)?;
    match refusal(asked) {
        Some(rcode) => reply.fail(rcode),
        None => resolve::resolve(catalog, asked, &mut reply),
    }
    reply.finish(header)
}

/// What we do not answer although it is well-formed.
fn refusal(query: &Query) -> Option<Rcode> {
    match (query.edns, query.class, query.rtype) {
        (Some(edns), ..) if edns.version > 0 => Some(Rcode::BAD_VERSION),
        (_, rtype::CLASS_IN, rtype::AXFR | rtype::IXFR) => Some(Rcode::REFUSED),
        (_, rtype::CLASS_IN, _) => None,
        _ => Some(Rcode::REFUSED),
    }
}

/// The reply to what is no query that could be understood: the header, and the question where there is one.
fn refuse(query: &[u8], header: Header, fault: Fault, out: &mut [u8]) -> Option<usize> {
    let mut reply = Reply::bare(query, fault.question_end, out)?;
    reply.fail(fault.rcode);
    reply.finish(header)
}
