//! Where a zone ends: referrals, glue (RFC 9471), and the one type that the parent answers (RFC 4035 §3.1.4.1).

use flashdns_core::Transport;

use crate::ask::{SOA, catalog, check, check_all, query, reply, show};

const ZONE: &str = "sub NS ns1.sub\nsub NS ns.other\nsub NS out.org.\nsub DS 1 13 2 00\nns1.sub A 192.0.2.1\nns1.sub AAAA \
                    2001:db8::1\nother NS ns.other\nns.other A 192.0.2.2\nhidden.sub TXT no\n";

const REFERRAL: [&str; 7] = [
    "NOERROR",
    "aut sub.example. 300 NS ns1.sub.example.",
    "aut sub.example. 300 NS ns.other.example.",
    "aut sub.example. 300 NS out.org.",
    "add ns1.sub.example. 300 A 192.0.2.1",
    "add ns1.sub.example. 300 AAAA 2001:db8::1",
    "add ns.other.example. 300 A 192.0.2.2",
];

#[test]
fn name_at_or_below_a_cut_is_referred_without_authority() {
    for question in
        ["sub.example A", "sub.example NS", "a.b.sub.example A", "sub.example ANY", "a.sub.example DS"]
    {
        check(ZONE, question, &REFERRAL);
    }
}

#[test]
fn data_below_a_cut_is_never_answered() {
    check(ZONE, "hidden.sub.example TXT", &REFERRAL);
    check(ZONE, "ns1.sub.example A", &REFERRAL);
}

#[test]
fn parent_answers_for_the_delegation_signer() {
    check(ZONE, "sub.example DS", &["NOERROR aa", "ans sub.example. 300 DS 1 13 2 00"]);
    check(ZONE, "other.example DS", &["NOERROR aa", SOA]);
}

#[test]
fn parent_answers_for_the_delegation_signer_though_the_child_is_served_too() {
    let zones = [("example", ZONE), ("sub.example", "")];
    check_all(&zones, "sub.example DS", &["NOERROR aa", "ans sub.example. 300 DS 1 13 2 00"]);
    let soa = "aut sub.example. 60 SOA ns.sub.example. host.sub.example. 1 2 3 4 60";
    check_all(&zones, "sub.example TXT", &["NOERROR aa", soa]);
}

#[test]
fn child_alone_denies_its_delegation_signer() {
    let soa = "aut sub.example. 60 SOA ns.sub.example. host.sub.example. 1 2 3 4 60";
    check_all(&[("sub.example", "")], "sub.example DS", &["NOERROR aa", soa]);
}

#[test]
fn name_servers_of_the_zone_itself_are_answered_with_their_addresses() {
    let expected = ["NOERROR aa", "ans example. 300 NS ns.example.", "add ns.example. 300 A 192.0.2.53"];
    check("", "example NS", &expected);
}

#[test]
fn wildcard_is_not_looked_for_below_a_cut() {
    let text = "*.sub A 192.0.2.9\nsub NS out.org.\n";
    check(text, "q.sub.example A", &["NOERROR", "aut sub.example. 300 NS out.org."]);
}

/// A delegation with as many name servers inside it, each with an address.
fn wide(servers: usize) -> String {
    (0..servers)
        .map(|i| format!("sub NS n{i}.sub\nn{i}.sub A 192.0.2.{i}\nn{i}.sub AAAA 2001:db8::{i}\n"))
        .collect()
}

#[test]
fn referral_without_room_for_its_glue_is_truncated() {
    let catalog = catalog(&[("example", &wide(13))]);
    let reply = reply(&catalog, &query("a.sub.example A"), Transport::Udp { limit: 1232 }).unwrap();
    assert!(reply.len() <= 512);
    let shown = show(&reply);
    assert!(shown.starts_with("NOERROR tc\n"), "{shown}");
    assert_eq!(shown.matches("\naut ").count(), 13, "{shown}");
}

#[test]
fn referral_without_room_for_glue_of_others_is_complete() {
    let others: String = (0..13)
        .map(|i| format!("sub NS n{i}.o\nn{i}.o A 192.0.2.{i}\nn{i}.o AAAA 2001:db8::{i}\n"))
        .collect();
    let catalog = catalog(&[("example", &others)]);
    let reply = reply(&catalog, &query("a.sub.example A"), Transport::Udp { limit: 1232 }).unwrap();
    assert!(show(&reply).starts_with("NOERROR\n"));
}

#[test]
fn address_that_a_wildcard_gives_a_name_server_comes_along() {
    let text = "sub NS a.w\nsub NS b.sub\n*.w A 192.0.2.1\n*.sub A 192.0.2.2\n";
    let expected = [
        "NOERROR",
        "aut sub.example. 300 NS a.w.example.",
        "aut sub.example. 300 NS b.sub.example.",
        "add b.sub.example. 300 A 192.0.2.2",
        "add a.w.example. 300 A 192.0.2.1",
    ];
    check(text, "x.sub.example A", &expected);
}
