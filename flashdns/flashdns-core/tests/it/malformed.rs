//! Malformed and random packets and texts, many of them. `FLASHDNS_SEED` chooses others.

use std::sync::atomic::{AtomicU64, Ordering};

use flashdns_core::{Name, present};

use crate::{
    ask::{query, with_edns},
    survive::{Room, survives},
};

const RANDOM: u64 = 250_000;
const MUTATED: u64 = 900_000;
const FILES: u64 = 150_000;
const SEED: u64 = 0x5eed_0d15;

/// A small generator: it is reproducible for ever, and costs nothing beside what it tests.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        // SplitMix64 (Steele, Lea, Flood 2014).
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit.max(1) as u64).unwrap()
    }

    fn octet(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }
}

fn seed() -> u64 {
    std::env::var("FLASHDNS_SEED").ok().map_or(SEED, |seed| seed.parse().unwrap())
}

fn on_all_cores(total: u64, run: impl Fn(&mut Dice, &mut Room, &mut Vec<u8>) + Sync) {
    let (seed, next) = (seed(), AtomicU64::new(0));
    const CHUNK: u64 = 1000;
    let work = || {
        let (mut room, mut packet) = (Room::new(), Vec::new());
        loop {
            let chunk = next.fetch_add(CHUNK, Ordering::Relaxed);
            if chunk >= total {
                return;
            }
            let mut dice = Dice(seed ^ chunk << 16);
            (0..CHUNK).for_each(|_| run(&mut dice, &mut room, &mut packet));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
}

#[test]
fn random_packets_get_no_reply_or_a_sane_one() {
    on_all_cores(RANDOM, |dice, room, packet| {
        packet.clear();
        let length = dice.below(80);
        packet.extend((0..length).map(|_| dice.octet()));
        survives(room, packet);
    });
}

fn valid() -> Vec<Vec<u8>> {
    let names = [
        "example",
        "www.example",
        "nope.example",
        "a.example",
        "x.d.example",
        "loop.example",
        "q.grow.example",
        "q.w.example",
        "q.v.example",
        "h.sub.example",
        "sub.example",
        "y.z.example",
        "_s._tcp.example",
        "out.example",
        "big.example",
        "other",
        ".",
        "a.b.c.d.e.f.g.example",
    ];
    let types = ["A", "AAAA", "NS", "SOA", "MX", "TXT", "CNAME", "DS", "SRV", "ANY", "AXFR", "OPT"];
    let pairs =
        names.iter().flat_map(|name| types.iter().map(move |rtype| query(&format!("{name} {rtype}"))));
    pairs
        .flat_map(|query| [with_edns(query.clone(), 4096, 0), with_edns(query.clone(), 700, 1), query])
        .collect()
}

fn mutate(dice: &mut Dice, packet: &mut Vec<u8>) {
    match dice.below(8) {
        0 => packet.truncate(dice.below(packet.len() + 1)),
        1 => packet.extend((0..dice.below(40)).map(|i| i as u8)),
        2 if packet.len() > 14 => {
            // A pointer to anywhere near.
            let at = dice.below(packet.len() - 1);
            packet[at] = 0xc0;
            packet[at + 1] = dice.octet() % 64;
        }
        3 if packet.len() > 12 => packet[4 + dice.below(8)] = dice.octet() % 4,
        4 if packet.len() > 3 => packet[2 + dice.below(2)] = dice.octet(),
        5 => {
            let tail = packet[dice.below(packet.len() + 1)..].to_vec();
            packet.extend(tail);
        }
        _ if !packet.is_empty() => {
            let at = dice.below(packet.len());
            packet[at] = if dice.below(2) == 0 { dice.octet() } else { packet[at] ^ 1 << dice.below(8) };
        }
        _ => (),
    }
}

#[test]
fn damaged_queries_get_no_reply_or_a_sane_one() {
    let valid = valid();
    on_all_cores(MUTATED, |dice, room, packet| {
        packet.clear();
        packet.extend_from_slice(&valid[dice.below(valid.len())]);
        for _ in 0..dice.below(4) {
            mutate(dice, packet);
        }
        survives(room, packet);
    });
}

#[test]
fn random_zone_files_are_read_or_refused() {
    const WORDS: [&str; 36] = [
        " ",
        "\n",
        "\t",
        "\r",
        "(",
        ")",
        "\"",
        "\\",
        ";",
        "@",
        "a",
        ".",
        "a.b",
        "*",
        "1",
        "300",
        "IN",
        "CH",
        "A",
        "TXT",
        "CNAME",
        "MX",
        "SOA",
        "CAA",
        "HTTPS",
        "NSEC",
        "DNSKEY",
        "\\#",
        "0102",
        "192.0.2.1",
        "$ORIGIN",
        "$TTL",
        "$INCLUDE",
        "\u{e9}",
        "\\300",
        "key=\"v",
    ];
    let apex: Name = "example".parse().unwrap();
    on_all_cores(FILES, |dice, _, packet| {
        packet.clear();
        for _ in 0..dice.below(24) {
            packet.extend_from_slice(WORDS[dice.below(WORDS.len())].as_bytes());
            if dice.below(2) == 0 {
                packet.push(b' ');
            }
        }
        let text = std::str::from_utf8(packet).unwrap();
        let read = std::panic::catch_unwind(|| present::parse_file(text, &apex).map(|file| file.records));
        assert!(read.is_ok(), "{text:?}");
        for rtype in [1, 5, 6, 15, 16, 48, 65, 257] {
            let read = std::panic::catch_unwind(|| present::parse_data(rtype, text, &apex));
            assert!(read.is_ok(), "{rtype} {text:?}");
        }
    });
}
