//! What is around the question: header, EDNS (RFC 6891), sizes and truncation (RFC 2181 §9), and messages that are
//! no queries.

use flashdns_core::Transport;

use crate::ask::{catalog, query, reply, show, with_edns};

const UDP: Transport = Transport::Udp { limit: 1232 };
const ZONE: &str = "www A 192.0.2.1\n";

/// What a reply to a changed query for `www.example A` begins with, over UDP.
fn changed(change: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let mut packet = query("www.example A");
    change(&mut packet);
    reply(&catalog(&[("example", ZONE)]), &packet, UDP)
}

fn rcode(reply: &[u8]) -> u8 {
    reply[3] & 0xf
}

#[test]
fn response_gets_no_reply() {
    assert_eq!(changed(|packet| packet[2] |= 0x80), None);
}

#[test]
fn message_shorter_than_a_header_gets_no_reply() {
    assert_eq!(changed(|packet| packet.truncate(11)), None);
}

#[test]
fn header_echoes_id_and_wishes_but_claims_nothing() {
    let reply = changed(|packet| packet[3] = 0x30).unwrap();
    assert_eq!(reply[..2], [0xab, 0xcd]);
    assert_eq!((reply[2], reply[3]), (0x85, 0x10), "QR, AA, RD; CD, and neither RA nor AD");
}

#[test]
fn update_notify_and_other_operations_are_not_implemented() {
    for opcode in [1, 2, 4, 5, 6, 15] {
        let reply = changed(|packet| packet[2] = opcode << 3).unwrap();
        assert_eq!((rcode(&reply), reply[2] >> 3 & 0xf), (4, opcode));
        assert_eq!(reply[5], 1, "the question is echoed");
    }
}

#[test]
fn several_questions_or_none_are_a_format_error() {
    for questions in [0, 2, 3] {
        let reply = changed(|packet| packet[5] = questions).unwrap();
        assert_eq!((rcode(&reply), reply.len()), (1, 12));
    }
}

#[test]
fn question_that_is_cut_is_a_format_error() {
    for length in 12..query("www.example A").len() {
        let reply = changed(|packet| packet.truncate(length)).unwrap();
        assert_eq!((rcode(&reply), reply.len()), (1, 12));
    }
}

#[test]
fn compressed_question_is_a_format_error() {
    let reply = changed(|packet| packet[12..14].copy_from_slice(&[0xc0, 12])).unwrap();
    assert_eq!(rcode(&reply), 1);
}

#[test]
fn record_that_is_announced_but_missing_is_a_format_error() {
    for section in [7, 9, 11] {
        let reply = changed(|packet| packet[section] = 1).unwrap();
        assert_eq!((rcode(&reply), reply[5]), (1, 1));
    }
}

#[test]
fn classes_other_than_in_are_refused() {
    for class in [2, 3, 4, 254, 255] {
        let reply = changed(|packet| *packet.last_mut().unwrap() = class).unwrap();
        assert_eq!((rcode(&reply), reply[2] & 4), (5, 0));
    }
}

#[test]
fn transfers_are_refused() {
    for rtype in ["AXFR", "IXFR"] {
        for transport in [UDP, Transport::Tcp] {
            let reply = reply(&catalog(&[("example", ZONE)]), &query(&format!("example {rtype}")), transport)
                .unwrap();
            assert_eq!(rcode(&reply), 5);
        }
    }
}

#[test]
fn edns_is_answered_with_edns_and_only_then() {
    let plain = changed(|_| ()).unwrap();
    assert_eq!(plain[11], 0);
    let reply = changed(|packet| *packet = with_edns(packet.clone(), 4096, 0)).unwrap();
    assert_eq!(reply[11], 1);
    assert_eq!(
        reply[reply.len() - 11..],
        [0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0],
        "1232, version 0, no options"
    );
}

#[test]
fn dnssec_wish_is_echoed() {
    let reply = changed(|packet| {
        *packet = with_edns(packet.clone(), 4096, 0);
        let at = packet.len() - 4;
        packet[at] = 0x80;
    });
    let reply = reply.unwrap();
    assert_eq!(reply[reply.len() - 4], 0x80);
}

#[test]
fn unknown_edns_version_is_told_so_with_ours() {
    let reply = changed(|packet| *packet = with_edns(packet.clone(), 4096, 1)).unwrap();
    assert_eq!((rcode(&reply), reply[6..12].to_vec()), (0, vec![0, 0, 0, 0, 0, 1]));
    assert_eq!(reply[reply.len() - 6..reply.len() - 4], [1, 0], "BADVERS is 16; our version is 0");
}

#[test]
fn second_edns_record_is_a_format_error() {
    let reply = changed(|packet| *packet = with_edns(with_edns(packet.clone(), 4096, 0), 4096, 0)).unwrap();
    assert_eq!(rcode(&reply), 1);
}

#[test]
fn edns_record_has_to_be_at_the_root() {
    let mut packet = query("www.example A");
    packet[11] = 1;
    packet.extend_from_slice(&[1, b'x', 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    let reply = reply(&catalog(&[("example", ZONE)]), &packet, UDP).unwrap();
    assert_eq!(rcode(&reply), 1);
}

#[test]
fn edns_options_are_skipped_but_have_to_be_whole() {
    let with_option = |length: u8| {
        changed(|packet| {
            *packet = with_edns(packet.clone(), 4096, 0);
            *packet.last_mut().unwrap() = 6;
            packet.extend_from_slice(&[0, 10, 0, length, 1, 2]);
        })
    };
    assert_eq!(rcode(&with_option(2).unwrap()), 0);
    assert_eq!(rcode(&with_option(3).unwrap()), 1);
}

/// `count` records of 112 octets each.
fn large(count: usize) -> String {
    (0..count).map(|i| format!("big TXT {i:0>99}\n")).collect()
}

#[test]
fn record_set_that_does_not_fit_is_left_out_whole() {
    let catalog = catalog(&[("example", &large(10))]);
    let reply = reply(&catalog, &query("big.example TXT"), UDP).unwrap();
    assert_eq!(show(&reply), "NOERROR aa tc");
}

#[test]
fn client_decides_how_much_it_can_receive_up_to_our_limit() {
    let catalog = catalog(&[("example", &large(10))]);
    let ask = |payload, limit| {
        let packet = with_edns(query("big.example TXT"), payload, 0);
        let reply = reply(&catalog, &packet, Transport::Udp { limit }).unwrap();
        reply[2] & 2 == 0
    };
    assert!(ask(1232, 1232));
    assert!(ask(65_535, 1232));
    assert!(!ask(1000, 1232));
    assert!(!ask(4096, 1000));
}

#[test]
fn announced_size_below_512_counts_as_512() {
    let catalog = catalog(&[("example", &large(3))]);
    let packet = with_edns(query("big.example TXT"), 0, 0);
    let reply = reply(&catalog, &packet, Transport::Udp { limit: 1232 }).unwrap();
    assert_eq!(show(&reply).matches("\nans ").count(), 3);
}

#[test]
fn stream_carries_what_datagrams_cannot() {
    let catalog = catalog(&[("example", &large(500))]);
    let reply = reply(&catalog, &query("big.example TXT"), Transport::Tcp).unwrap();
    assert_eq!(show(&reply).matches("\nans ").count(), 500);
    assert!(reply.len() > 50_000);
}

#[test]
fn addresses_beyond_the_reach_of_pointers_are_written_out() {
    // Most of the name servers lie beyond the first 16 KiB of the reply, where nothing can point to.
    let servers: String = (0..400)
        .map(|i| format!("sub NS {i:0>60}.sub\n{i:0>60}.sub A 10.0.{}.{}\n", i / 256, i % 256))
        .collect();
    let catalog = catalog(&[("example", &servers)]);
    let reply = reply(&catalog, &query("x.sub.example A"), Transport::Tcp).unwrap();
    let shown = show(&reply);
    for i in 0..400 {
        let line = format!("\nadd {i:0>60}.sub.example. 300 A 10.0.{}.{}", i / 256, i % 256);
        assert!(shown.contains(&line), "{line}");
    }
}

#[test]
fn reply_without_room_for_the_question_is_none() {
    let catalog = catalog(&[("example", ZONE)]);
    let packet = query("www.example A");
    for room in 0..packet.len() {
        let mut out = vec![0; room];
        assert_eq!(flashdns_core::answer(&catalog, &packet, UDP, &mut out), None);
    }
    let mut out = vec![0; packet.len()];
    assert_eq!(flashdns_core::answer(&catalog, &packet, UDP, &mut out), Some(packet.len()), "truncated");
}
