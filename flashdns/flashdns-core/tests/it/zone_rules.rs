//! Which zones are refused, which only get a note, and what the compiler itself refuses.

use flashdns_core::{Change, Name, RrSet, Zone, present, validate};

use crate::ask::{HEAD, zone};

fn apex() -> Name {
    "example".parse().unwrap()
}

fn sets(text: &str) -> Vec<RrSet> {
    present::parse_file(text, &apex()).unwrap().sets
}

/// Whether the zone of [`HEAD`] and `text` is accepted, or the message.
fn verdict(text: &str) -> String {
    match validate::zone(&apex(), &sets(&format!("{HEAD}{text}"))) {
        Ok(()) => "accepted".to_owned(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn zones_that_make_sense_are_accepted() {
    for text in [
        "",
        "www A 192.0.2.1\n*.x TXT w\na.*.x TXT w\n",
        "a CNAME b\na RRSIG \\# 0\n".split_once("a RRSIG").unwrap().0,
        "sub NS ns.sub\nns.sub A 192.0.2.1\nsub DS 1 13 2 00\n",
        "d DNAME org.\nd A 192.0.2.1\nda A 192.0.2.1\n",
        "a 2147483647 A 192.0.2.1\nb 0 A 192.0.2.1\n",
    ] {
        assert_eq!(verdict(text), "accepted", "{text}");
    }
}

#[test]
fn broken_rules_are_told_with_what_would_be_accepted() {
    for (text, message) in [
        ("a CNAME b\na A 192.0.2.1\n", "a.example. CNAME: cannot be together with A of the same name"),
        ("@ CNAME b\n", "example. CNAME: cannot be together with NS of the same name"),
        ("a CNAME b\na CNAME c\n", "a.example. CNAME: 2 records; accepted is 1 to 1"),
        ("a DNAME b.\na DNAME c.\n", "a.example. DNAME: 2 records; accepted is 1 to 1"),
        ("@ SOA a b 1 2 3 4 5\n", "example. SOA: 2 records; accepted is 1 to 1"),
        ("a SOA a b 1 2 3 4 5\n", "a.example. SOA: accepted is the zone's own name only, example."),
        ("a 2147483648 A 192.0.2.1\n", "a.example. A: TTL 2147483648; accepted is 0 to 2147483647 seconds"),
        ("*.a NS b\n", "*.a.example. NS: a wildcard cannot have this type"),
        ("*.a DNAME b.\n", "*.a.example. DNAME: a wildcard cannot have this type"),
        ("d DNAME org.\nx.y.d A 192.0.2.1\n", "x.y.d.example. A: is below the DNAME of d.example."),
    ] {
        assert!(verdict(text).starts_with(message), "{text}: {}", verdict(text));
    }
}

#[test]
fn zone_without_soa_or_name_servers_is_none() {
    let missing = |text: &str| validate::zone(&apex(), &sets(text)).unwrap_err().to_string();
    assert_eq!(
        missing("@ 1 NS ns\n"),
        "example.: no SOA record of the zone's own name; accepted is at least one"
    );
    let soa = "@ 1 SOA ns host 1 2 3 4 5\nsub NS ns\n";
    assert_eq!(missing(soa), "example.: no NS record of the zone's own name; accepted is at least one");
}

#[test]
fn record_set_alone_is_checked() {
    let good =
        RrSet { owner: "a.example".parse().unwrap(), rtype: 1, ttl: 1, data: vec![Box::new([1, 2, 3, 4])] };
    let refused = |change: &dyn Fn(&mut RrSet)| {
        let mut set = good.clone();
        change(&mut set);
        validate::record_set(&apex(), &set).unwrap_err().to_string()
    };
    assert!(validate::record_set(&apex(), &good).is_ok());
    let twice = refused(&|set| set.data.push(set.data[0].clone()));
    assert_eq!(twice, "a.example. A: 1.2.3.4 is there twice; accepted is each record once");
    assert!(refused(&|set| set.data.clear()).contains("0 records; accepted is 1 to 4000"));
    assert!(refused(&|set| set.data = vec![Box::new([1])]).contains(r"\# 1 01 is not data of this type"));
    assert!(refused(&|set| set.owner = "a.other".parse().unwrap()).contains("is not in zone example."));
    assert!(refused(&|set| set.rtype = 255).contains("cannot be in a zone"));
}

#[test]
fn names_that_differ_in_case_only_are_the_same_record() {
    let data = |text| present::parse_data(2, text, &apex()).unwrap();
    let set = RrSet { owner: apex(), rtype: 2, ttl: 1, data: vec![data("NS"), data("ns")] };
    assert!(
        validate::record_set(&apex(), &set).unwrap_err().to_string().contains("ns.example. is there twice")
    );
}

/// The notes of the zone of [`HEAD`] and `text`.
fn notes(text: &str) -> Vec<String> {
    validate::notes(&zone("example", text)).iter().map(ToString::to_string).collect()
}

#[test]
fn odd_zones_get_notes() {
    assert_eq!(notes("sub NS ns.sub\nns.sub A 192.0.2.1\nsub DS 1 13 2 00\n@ MX 1 out.org.\n"), [""; 0]);
    for (text, part) in [
        ("@ NS lame\n", "example. NS: lame.example. is inside the zone, but has no A or AAAA record"),
        ("sub NS ns.sub\n", "sub.example. NS: ns.sub.example. is inside the zone, but has no A or AAAA"),
        ("@ MX 1 al\nal CNAME ns\n", "example. MX: al.example. is an alias"),
        ("sub NS out.org.\nx.sub TXT no\n", "x.sub.example.: is below the delegation of sub.example."),
        ("sub NS out.org.\nsub TXT no\n", "sub.example.: is below the delegation of sub.example."),
    ] {
        let notes = notes(text);
        assert!(notes.len() == 1 && notes[0].starts_with(part), "{text}: {notes:?}");
    }
}

#[test]
fn notes_are_bounded() {
    let many: String = (0..300).map(|i| format!("s{i} NS n.s{i}\n")).collect();
    assert_eq!(notes(&many).len(), validate::NOTES_MAX);
}

#[test]
fn lame_name_servers_are_found() {
    let zone = zone(
        "example",
        "@ NS lame\n@ NS out.org.\n@ NS ns.sub\nsub NS out.org.\n@ NS a.w\n*.w A 192.0.2.1\n",
    );
    let lame: Vec<String> = validate::lame_name_servers(&zone).iter().map(ToString::to_string).collect();
    assert_eq!(lame, ["lame.example."]);
}

#[test]
fn compiler_refuses_what_cannot_be_served() {
    let refused = |change: Change| zone("example", "").with_changes(&[change]).unwrap_err().to_string();
    let put = |owner: &str, rtype, data: Vec<Box<[u8]>>| {
        refused(Change::Put(RrSet { owner: owner.parse().unwrap(), rtype, ttl: 1, data }))
    };
    assert!(put("a.org", 1, vec![Box::new([1; 4])]).contains("a.org. is not in zone example."));
    assert!(put("a.example", 1, vec![]).contains("is empty"));
    assert!(put("a.example", 1, vec![Box::new([1; 5])]).contains("malformed"));
    assert!(put("a.example", 255, vec![Box::new([])]).contains("cannot be in a zone"));
    assert!(put("a.example", 6, vec![Box::new([])]).contains("at its apex"));
    assert!(put("a.example", 16, vec![vec![0; 65_500].into()]).contains("larger than a message"));
    let delete = Change::Delete { owner: apex(), rtype: 6 };
    assert!(refused(delete).contains("no SOA record at the apex"));
    let twice = [sets(HEAD), sets("ns 1 A 192.0.2.1\n")].concat();
    assert!(Zone::compile(apex(), twice).unwrap_err().to_string().contains("two record sets of type 1"));
}
