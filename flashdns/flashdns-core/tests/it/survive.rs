//! What has to hold for every packet whatsoever. The fuzz target includes this very file.

use std::{
    fmt::Write as _,
    sync::{Arc, LazyLock},
};

use domain::{
    base::{Message, ParsedName},
    rdata::AllRecordData,
};
use flashdns_core::{Catalog, Lookahead, Name, Transport, Zone, answer, present};

/// A zone with something of everything.
const ZONE: &str = "$TTL 300\n@ 3600 SOA ns host 1 2 3 4 60\n@ NS ns\n@ NS ns.sub\n@ MX 10 m\nns A 192.0.2.53\nm A \
                    192.0.2.9\nm AAAA 2001:db8::9\nwww A 192.0.2.1\nwww TXT x\na CNAME b\nb CNAME c.d\nc.e A 192.0.2.2\n\
                    d DNAME e\nloop CNAME loop2\nloop2 CNAME loop\ngrow DNAME x.grow\n*.w A 192.0.2.3\n*.v CNAME w.w\n\
                    sub NS ns.sub\nsub NS ns.other.\nsub DS 1 13 2 00\nns.sub A 192.0.2.4\nx.y.z TXT deep\n\
                    _s._tcp SRV 1 2 3 m\nout CNAME b.org.\nbig TXT large\n";

static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let large: String = (0..60).map(|i| format!("big TXT \"{i} {}\"\n", "x".repeat(100))).collect();
    let zones =
        [("example", format!("{ZONE}{large}")), ("org", ZONE.to_owned()), ("sub.example", ZONE.to_owned())];
    zones.iter().map(|(name, text)| Arc::new(compile(name, text))).collect()
});

#[expect(clippy::expect_used, reason = "the zones are constants")]
fn compile(name: &str, text: &str) -> Zone {
    let name: Name = name.parse().expect("a name");
    let file = present::parse_file(text, &name).expect("a zone file");
    Zone::compile(name, file.sets).expect("a zone")
}

/// Says which packet it was when a check fails.
struct Culprit<'a>(&'a [u8]);

impl Drop for Culprit<'_> {
    #[expect(clippy::print_stderr, reason = "only seen when a test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            let hex = self.0.iter().fold(String::new(), |mut hex, octet| {
                let _always = write!(hex, "{octet:02x}");
                hex
            });
            eprintln!("the packet was {hex}");
        }
    }
}

/// Room for queries and replies of [`survives`], so that it allocates nothing.
pub(crate) struct Room {
    ahead: Lookahead,
    outs: [Box<[u8]>; 2],
}

impl Room {
    pub(crate) fn new() -> Room {
        let out = || vec![0; 65_535].into_boxed_slice();
        Room { ahead: Lookahead::new(1), outs: [out(), out()] }
    }
}

/// Checks that `packet` gets no reply or a sane one: it parses, it is a response to this very message, its question
/// is the one that was asked, it is no larger than the client takes, and a batch gives the same.
pub(crate) fn survives(room: &mut Room, packet: &[u8]) {
    let _culprit = Culprit(packet);
    let Room { ahead, outs: [alone, batched] } = room;
    for transport in [Transport::Udp { limit: 1232 }, Transport::Tcp] {
        let length = answer(&CATALOG, packet, transport, alone);
        ahead.read(&CATALOG, [packet]);
        assert_eq!(
            length,
            ahead.answer(&CATALOG, 0, packet, transport, batched),
            "a batch answers as one does"
        );
        let Some(length) = length else {
            assert!(packet.len() < 12 || packet[2] & 0x80 != 0, "every query gets a reply");
            continue;
        };
        assert_eq!(alone[..length], batched[..length], "a batch answers as one does");
        assert!(transport == Transport::Tcp || length <= 1232);
        is_sane(packet, &alone[..length]);
    }
}

#[expect(clippy::expect_used, reason = "a reply that does not parse is what is looked for")]
fn is_sane(packet: &[u8], reply: &[u8]) {
    assert!(reply[..2] == packet[..2], "the id is the query's");
    assert!(reply[2] & 0x80 != 0, "it is a response");
    assert_eq!(reply[2] & 0x78, packet[2] & 0x78, "the opcode is the query's");
    let message = Message::from_octets(reply).expect("a whole header");
    let mut question = message.question();
    assert!(question.all(|question| question.is_ok()), "the question parses");
    if message.header_counts().qdcount() == 1 {
        let end = 12 + question_length(&reply[12..]);
        assert_eq!(reply[12..end], packet[12..end], "the question is echoed");
    }
    let (_, answers, authority, additional) = message.sections().expect("all sections");
    for record in answers.chain(authority).chain(additional) {
        let record = record.expect("a record");
        record.to_any_record::<AllRecordData<_, ParsedName<_>>>().expect("data of its type");
    }
}

/// Octets of an uncompressed question.
fn question_length(bytes: &[u8]) -> usize {
    let mut at = 0;
    while bytes[at] != 0 {
        at += 1 + usize::from(bytes[at]);
    }
    at + 5
}
