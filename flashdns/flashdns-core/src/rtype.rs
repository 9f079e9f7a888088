//! Numbers of the record types that the data plane treats in a way of their own (IANA, DNS parameters).
//!
//! Every other type is carried as opaque bytes and needs no constant.

/// IPv4 address (RFC 1035).
pub const A: u16 = 1;
/// Name server: at the apex who serves the zone, below it a delegation (RFC 1035).
pub const NS: u16 = 2;
/// Alias (RFC 1035).
pub const CNAME: u16 = 5;
/// Start of authority (RFC 1035).
pub const SOA: u16 = 6;
/// Pointer (RFC 1035).
pub const PTR: u16 = 12;
/// Mail exchange (RFC 1035).
pub const MX: u16 = 15;
/// Text (RFC 1035).
pub const TXT: u16 = 16;
/// IPv6 address (RFC 3596).
pub const AAAA: u16 = 28;
/// Service (RFC 2782).
pub const SRV: u16 = 33;
/// Redirection of a subtree (RFC 6672).
pub const DNAME: u16 = 39;
/// EDNS pseudo-record (RFC 6891); never in a zone.
pub const OPT: u16 = 41;
/// Delegation signer: the one type that the parent side of a cut answers (RFC 4035 §3.1.4.1).
pub const DS: u16 = 43;
/// Signature (RFC 4034).
pub const RRSIG: u16 = 46;
/// Authenticated denial (RFC 4034).
pub const NSEC: u16 = 47;
/// Key (RFC 4034).
pub const DNSKEY: u16 = 48;
/// First of the types that are only questions or pseudo-records (RFC 6895 §3.1).
pub const META_FIRST: u16 = 128;
/// Incremental transfer (RFC 1995); only a question.
pub const IXFR: u16 = 251;
/// Full transfer (RFC 5936); only a question.
pub const AXFR: u16 = 252;
/// Any type (RFC 8482); only a question, and the last of the meta types.
pub const ANY: u16 = 255;
/// Certification authority authorization (RFC 8659).
pub const CAA: u16 = 257;

/// Class IN.
pub const CLASS_IN: u16 = 1;
/// Class ANY, only in questions.
pub const CLASS_ANY: u16 = 255;

/// Whether a record of this type can be in a zone: not a question type, not a pseudo-record, not 0 or 65535.
pub const fn is_data(rtype: u16) -> bool {
    !matches!(rtype, 0 | OPT | META_FIRST..=ANY | u16::MAX)
}
