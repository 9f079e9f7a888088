//! Names that exist, that do not, and that wildcards stand for (RFC 1034 §4.3.2, RFC 2308, RFC 4592).

use crate::ask::{SOA, check, check_all};

#[test]
fn record_set_is_answered_whole_with_authority() {
    let text = "www A 192.0.2.1\nwww A 192.0.2.2\nwww AAAA 2001:db8::1\n";
    let expected = ["NOERROR aa", "ans www.example. 300 A 192.0.2.1", "ans www.example. 300 A 192.0.2.2"];
    check(text, "www.example A", &expected);
}

#[test]
fn case_of_the_question_is_kept_and_case_of_the_data_too() {
    let text = "www CNAME Target.Other.\n";
    check(text, "wWw.ExAmple A", &["NOERROR aa", "ans wWw.ExAmple. 300 CNAME Target.Other."]);
}

#[test]
fn missing_type_is_no_data_with_the_soa_at_its_negative_ttl() {
    check("www A 192.0.2.1\n", "www.example AAAA", &["NOERROR aa", SOA]);
}

#[test]
fn negative_ttl_is_the_soas_own_when_that_is_less() {
    let zone = "@ 3600 SOA ns host 1 2 3 4 60";
    let text = format!("{}\n@ NS ns\n", zone.replace("3600", "30"));
    let name: flashdns_core::Name = "example".parse().unwrap();
    let file = flashdns_core::present::parse_file(&text, &name).unwrap();
    let zone = flashdns_core::Zone::compile(name, file.sets).unwrap();
    let catalog = [std::sync::Arc::new(zone)].into_iter().collect();
    let reply =
        crate::ask::reply(&catalog, &crate::ask::query("no.example A"), flashdns_core::Transport::Tcp);
    assert_eq!(
        crate::ask::show(&reply.unwrap()),
        format!("NXDOMAIN aa\n{}", SOA.replace(" 60 SOA", " 30 SOA"))
    );
}

#[test]
fn missing_name_is_a_name_error() {
    check("www A 192.0.2.1\n", "nope.example A", &["NXDOMAIN aa", SOA]);
}

#[test]
fn name_below_an_existing_one_is_a_name_error() {
    check("www A 192.0.2.1\n", "a.b.www.example A", &["NXDOMAIN aa", SOA]);
}

#[test]
fn empty_non_terminal_exists() {
    let text = "a.b.c A 192.0.2.1\n";
    check(text, "c.example A", &["NOERROR aa", SOA]);
    check(text, "b.c.example ANY", &["NOERROR aa", SOA]);
    check(text, "x.c.example A", &["NXDOMAIN aa", SOA]);
}

#[test]
fn other_zones_are_refused() {
    check("", "example.org A", &["REFUSED"]);
    check("", "notexample A", &["REFUSED"]);
    check("", ". NS", &["REFUSED"]);
}

#[test]
fn root_zone_answers_for_everything() {
    let soa = "aut . 60 SOA ns. host. 1 2 3 4 60";
    check_all(&[(".", "")], "a.b A", &["NXDOMAIN aa", soa]);
    check_all(&[(".", "")], ". TXT", &["NOERROR aa", soa]);
    check_all(&[(".", "*.x TXT hi\n")], "a.b.x TXT", &["NOERROR aa", "ans a.b.x. 300 TXT \"hi\""]);
}

#[test]
fn deepest_zone_answers() {
    let zones = [("example", "a.sub A 192.0.2.1\n"), ("sub.example", "a A 192.0.2.2\n")];
    check_all(&zones, "a.sub.example A", &["NOERROR aa", "ans a.sub.example. 300 A 192.0.2.2"]);
}

#[test]
fn any_is_answered_with_one_record_set() {
    let text = "www TXT x\nwww A 192.0.2.1\nwww AAAA 2001:db8::1\n";
    check(text, "www.example ANY", &["NOERROR aa", "ans www.example. 300 A 192.0.2.1"]);
}

const WILD: &str = "*.w TXT wild\nx.w A 192.0.2.1\nd.e.w A 192.0.2.2\n*.alias CNAME www\nwww A 192.0.2.3\n*.y.z A 192.0.2.4\n";

#[test]
fn wildcard_stands_for_names_that_do_not_exist() {
    check(WILD, "AnY.w.example TXT", &["NOERROR aa", "ans AnY.w.example. 300 TXT \"wild\""]);
    check(WILD, "a.b.w.example TXT", &["NOERROR aa", "ans a.b.w.example. 300 TXT \"wild\""]);
}

#[test]
fn wildcard_without_the_type_is_no_data() {
    check(WILD, "any.w.example A", &["NOERROR aa", SOA]);
}

#[test]
fn wildcard_does_not_stand_for_names_that_exist() {
    check(WILD, "x.w.example TXT", &["NOERROR aa", SOA]);
    check(WILD, "w.example TXT", &["NOERROR aa", SOA]);
}

#[test]
fn wildcard_does_not_reach_over_an_empty_non_terminal() {
    check(WILD, "e.w.example TXT", &["NOERROR aa", SOA]);
    check(WILD, "q.e.w.example TXT", &["NXDOMAIN aa", SOA]);
    check(WILD, "q.x.w.example TXT", &["NXDOMAIN aa", SOA]);
}

#[test]
fn wildcard_can_be_asked_for_itself() {
    check(WILD, "*.w.example TXT", &["NOERROR aa", "ans *.w.example. 300 TXT \"wild\""]);
    check(WILD, "a.*.w.example TXT", &["NXDOMAIN aa", SOA]);
}

#[test]
fn wildcard_that_is_only_a_parent_makes_no_data() {
    check("a.*.p A 192.0.2.1\n", "x.p.example A", &["NOERROR aa", SOA]);
}

#[test]
fn wildcard_alias_is_followed() {
    let expected =
        ["NOERROR aa", "ans q.alias.example. 300 CNAME www.example.", "ans www.example. 300 A 192.0.2.3"];
    check(WILD, "q.alias.example A", &expected);
}

#[test]
fn wildcard_below_an_empty_non_terminal_works() {
    check(WILD, "q.y.z.example A", &["NOERROR aa", "ans q.y.z.example. 300 A 192.0.2.4"]);
    check(WILD, "y.z.example A", &["NOERROR aa", SOA]);
}

#[test]
fn asterisk_inside_a_name_is_a_label_like_any_other() {
    check("a.*.b A 192.0.2.1\n", "a.*.b.example A", &["NOERROR aa", "ans a.*.b.example. 300 A 192.0.2.1"]);
    check("*a A 192.0.2.1\n", "xa.example A", &["NXDOMAIN aa", SOA]);
}

#[test]
fn addresses_of_mail_and_service_hosts_come_along_once() {
    let text =
        "@ MX 10 m\n@ MX 20 m\n@ MX 30 m.other.\nm A 192.0.2.9\nm AAAA 2001:db8::9\n_s._tcp SRV 0 0 1 m\n";
    let expected = [
        "NOERROR aa",
        "ans example. 300 MX 10 m.example.",
        "ans example. 300 MX 20 m.example.",
        "ans example. 300 MX 30 m.other.",
        "add m.example. 300 A 192.0.2.9",
        "add m.example. 300 AAAA 2001:db8::9",
    ];
    check(text, "example MX", &expected);
    let expected = [
        "NOERROR aa",
        "ans _s._tcp.example. 300 SRV 0 0 1 m.example.",
        "add m.example. 300 A 192.0.2.9",
        "add m.example. 300 AAAA 2001:db8::9",
    ];
    check(text, "_s._tcp.example SRV", &expected);
}

#[test]
fn unknown_types_are_answered_as_they_are() {
    let expected = ["NOERROR aa", "ans u.example. 300 TYPE65400 \\# 3 01 02 03"];
    check("u TYPE65400 \\# 3 010203\n", "u.example TYPE65400", &expected);
}

#[test]
fn addresses_of_hosts_that_a_wildcard_stands_for_come_along() {
    let text = "@ MX 10 m.w\n*.w A 192.0.2.9\n";
    let expected = ["NOERROR aa", "ans example. 300 MX 10 m.w.example.", "add m.w.example. 300 A 192.0.2.9"];
    check(text, "example MX", &expected);
}

#[test]
fn addresses_that_are_others_to_give_do_not_come_along() {
    let text = "@ MX 10 m.sub\n@ MX 20 m.d\nsub NS ns.sub\nm.sub A 192.0.2.9\nd DNAME e\nm.d A 192.0.2.9\n";
    let expected =
        ["NOERROR aa", "ans example. 300 MX 10 m.sub.example.", "ans example. 300 MX 20 m.d.example."];
    check(text, "example MX", &expected);
}

#[test]
fn asterisk_in_the_data_of_a_wildcard_stays_one() {
    let text = "*.w MX 10 *.w\n*.w MX 20 a.*.w\n*.w MX 30 b.w\n";
    let expected = [
        "NOERROR aa",
        "ans q.w.example. 300 MX 10 *.w.example.",
        "ans q.w.example. 300 MX 20 a.*.w.example.",
        "ans q.w.example. 300 MX 30 b.w.example.",
    ];
    check(text, "q.w.example MX", &expected);
}
