//! Aliases and redirections: CNAME (RFC 1034 §3.6.2) and DNAME (RFC 6672).

use crate::ask::{SOA, check, check_all};

#[test]
fn alias_is_followed_inside_the_zone() {
    let text = "a CNAME b\nb CNAME c\nc A 192.0.2.1\n";
    let expected = [
        "NOERROR aa",
        "ans a.example. 300 CNAME b.example.",
        "ans b.example. 300 CNAME c.example.",
        "ans c.example. 300 A 192.0.2.1",
    ];
    check(text, "a.example A", &expected);
}

#[test]
fn alias_itself_can_be_asked_for() {
    check("a CNAME b\n", "a.example CNAME", &["NOERROR aa", "ans a.example. 300 CNAME b.example."]);
    check("a CNAME b\n", "a.example ANY", &["NOERROR aa", "ans a.example. 300 CNAME b.example."]);
}

#[test]
fn what_the_chain_ends_in_decides_the_response_code() {
    let text = "a CNAME no\nb CNAME www\nwww A 192.0.2.1\n";
    check(text, "a.example A", &["NXDOMAIN aa", "ans a.example. 300 CNAME no.example.", SOA]);
    check(text, "b.example TXT", &["NOERROR aa", "ans b.example. 300 CNAME www.example.", SOA]);
}

#[test]
fn alias_out_of_everything_that_is_served_ends_there() {
    check("a CNAME b.org.\n", "a.example A", &["NOERROR aa", "ans a.example. 300 CNAME b.org."]);
}

#[test]
fn alias_is_followed_into_other_zones_that_are_served() {
    let zones = [("example", "a CNAME b.org.\n"), ("org", "b A 192.0.2.1\n")];
    let expected = ["NOERROR aa", "ans a.example. 300 CNAME b.org.", "ans b.org. 300 A 192.0.2.1"];
    check_all(&zones, "a.example A", &expected);
}

#[test]
fn alias_into_a_delegation_ends_in_a_referral() {
    let text = "a CNAME b.sub\nsub NS ns.sub\nns.sub A 192.0.2.1\n";
    let expected = [
        "NOERROR aa",
        "ans a.example. 300 CNAME b.sub.example.",
        "aut sub.example. 300 NS ns.sub.example.",
        "add ns.sub.example. 300 A 192.0.2.1",
    ];
    check(text, "a.example A", &expected);
}

#[test]
fn loop_of_aliases_ends() {
    let expected =
        ["NOERROR aa", "ans a.example. 300 CNAME b.example.", "ans b.example. 300 CNAME a.example."];
    check("a CNAME b\nb CNAME a\n", "a.example A", &expected);
    check("a CNAME a\n", "a.example A", &["NOERROR aa", "ans a.example. 300 CNAME a.example."]);
}

#[test]
fn chain_has_at_most_sixteen_links() {
    let text: String = (0..40).map(|i| format!("c{i} CNAME c{}\n", i + 1)).collect();
    let links: Vec<String> =
        (0..16).map(|i| format!("ans c{i}.example. 300 CNAME c{}.example.", i + 1)).collect();
    let expected: Vec<&str> = std::iter::once("NOERROR aa").chain(links.iter().map(String::as_str)).collect();
    check(&text, "c0.example A", &expected);
}

const DNAME: &str = "d DNAME t\nx.t A 192.0.2.1\n";

#[test]
fn dname_redirects_what_is_below_it() {
    let expected = [
        "NOERROR aa",
        "ans d.example. 300 DNAME t.example.",
        "ans X.D.example. 300 CNAME X.t.example.",
        "ans x.t.example. 300 A 192.0.2.1",
    ];
    let expected = expected.map(|line| line.replace("ans x.t.", "ans X.t.").replace("ans d.ex", "ans D.ex"));
    check(DNAME, "X.D.example A", &expected.each_ref().map(String::as_str));
}

#[test]
fn dname_does_not_redirect_its_own_name() {
    check(DNAME, "d.example A", &["NOERROR aa", SOA]);
    check(DNAME, "d.example DNAME", &["NOERROR aa", "ans d.example. 300 DNAME t.example."]);
}

#[test]
fn dname_redirects_to_names_that_may_be_missing() {
    let expected = [
        "NXDOMAIN aa",
        "ans d.example. 300 DNAME t.example.",
        "ans a.b.d.example. 300 CNAME a.b.t.example.",
        SOA,
    ];
    check(DNAME, "a.b.d.example A", &expected);
}

#[test]
fn synthesized_alias_is_the_answer_when_the_alias_is_asked_for() {
    let expected =
        ["NOERROR aa", "ans d.example. 300 DNAME t.example.", "ans x.d.example. 300 CNAME x.t.example."];
    check(DNAME, "x.d.example CNAME", &expected);
}

#[test]
fn dname_hides_what_is_below_it() {
    let text = "d DNAME t\nx.d A 192.0.2.9\nx.t A 192.0.2.1\n";
    let expected = [
        "NOERROR aa",
        "ans d.example. 300 DNAME t.example.",
        "ans x.d.example. 300 CNAME x.t.example.",
        "ans x.t.example. 300 A 192.0.2.1",
    ];
    check(text, "x.d.example A", &expected);
}

#[test]
fn dname_at_the_apex_leaves_the_apex_alone() {
    let zones = [("example", "@ DNAME org.\n@ TXT here\n")];
    check_all(&zones, "example TXT", &["NOERROR aa", "ans example. 300 TXT \"here\""]);
    let expected = ["NOERROR aa", "ans example. 300 DNAME org.", "ans a.example. 300 CNAME a.org."];
    check_all(&zones, "a.example A", &expected);
}

#[test]
fn redirection_to_a_name_that_is_too_long_is_told_so() {
    let long = ["a".repeat(60), "b".repeat(60), "c".repeat(60)].join(".");
    let target = ["t".repeat(60), "u".repeat(20)].join(".");
    let dname = format!("ans d.example. 300 DNAME {target}.");
    check(&format!("d DNAME {target}.\n"), &format!("{long}.d.example A"), &["YXDOMAIN aa", &dname]);
}

#[test]
fn redirection_to_a_name_of_just_the_greatest_length_works() {
    // 3 × 62 octets of labels, and 61 + 7 + 1 of the target: 255.
    let long = ["a".repeat(61), "b".repeat(61), "c".repeat(61)].join(".");
    let target = ["t".repeat(60), "u".repeat(6)].join(".");
    let dname = format!("ans d.example. 300 DNAME {target}.");
    let alias = format!("ans {long}.d.example. 300 CNAME {long}.{target}.");
    check(&format!("d DNAME {target}.\n"), &format!("{long}.d.example A"), &["NOERROR aa", &dname, &alias]);
    let target = format!("{target}u");
    let dname = format!("ans d.example. 300 DNAME {target}.");
    check(&format!("d DNAME {target}.\n"), &format!("{long}.d.example A"), &["YXDOMAIN aa", &dname]);
}

#[test]
fn redirection_onto_itself_ends() {
    let zones = [("example", "d DNAME d.d\n")];
    let reply = crate::ask::reply(
        &crate::ask::catalog(&zones),
        &crate::ask::query("x.d.example A"),
        flashdns_core::Transport::Tcp,
    );
    let shown = crate::ask::show(&reply.unwrap());
    assert_eq!(shown.matches("CNAME").count(), 16, "{shown}");
    assert_eq!(shown.matches("DNAME").count(), 1, "{shown}");
}

#[test]
fn each_of_several_redirections_is_in_the_answer_once() {
    let text = "d DNAME e\ne DNAME f\nx.f CNAME y.d\ny.f A 192.0.2.1\n";
    let expected = [
        "NOERROR aa",
        "ans d.example. 300 DNAME e.example.",
        "ans x.d.example. 300 CNAME x.e.example.",
        "ans e.example. 300 DNAME f.example.",
        "ans x.e.example. 300 CNAME x.f.example.",
        "ans x.f.example. 300 CNAME y.d.example.",
        "ans y.d.example. 300 CNAME y.e.example.",
        "ans y.e.example. 300 CNAME y.f.example.",
        "ans y.f.example. 300 A 192.0.2.1",
    ];
    check(text, "x.d.example A", &expected);
}
