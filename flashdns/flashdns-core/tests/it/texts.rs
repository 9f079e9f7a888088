//! Types, data and zone files as people write them, and what they are told when it is wrong.

use flashdns_core::{Name, present};

fn apex() -> Name {
    "example.org".parse().unwrap()
}

/// What `text` is printed as, or the error's message.
fn again(rtype: &str, text: &str) -> String {
    let rtype = present::parse_type(rtype).unwrap();
    match present::parse_data(rtype, text, &apex()) {
        Ok(data) => present::data_text(rtype, &data),
        Err(error) => error.to_string(),
    }
}

#[test]
fn data_is_printed_in_one_form_however_it_was_written() {
    for (rtype, text, printed) in [
        ("A", "192.0.2.1", "192.0.2.1"),
        ("A", r"\# 4 C0 00 0201", "192.0.2.1"),
        ("AAAA", "2001:DB8:0::1", "2001:db8::1"),
        ("CNAME", "www", "www.example.org."),
        ("CNAME", "www.example.net.", "www.example.net."),
        ("NS", "@", "example.org."),
        ("PTR", r"a\.b.\099\@.", r"a\.b.c\@."),
        ("DNAME", "Other", "Other.example.org."),
        ("MX", "  10\tmail ", "10 mail.example.org."),
        ("MX", "0 .", "0 ."),
        ("TXT", "plain words", r#""plain" "words""#),
        ("TXT", r#""v=DMARC1; p=none" "a\"b\\c" """#, r#""v=DMARC1; p=none" "a\"b\\c" """#),
        ("TXT", r"caf\195\169", r#""caf\195\169""#),
        ("SOA", "ns host 1 2 3 4 5", "ns.example.org. host.example.org. 1 2 3 4 5"),
        ("SRV", "1 2 3 web", "1 2 3 web.example.org."),
        ("CAA", r#"0 issue "ca.example.net; account=1""#, r#"0 issue "ca.example.net; account=1""#),
        ("DS", "12345 13 2 49fd46e6", "12345 13 2 49FD46E6"),
        ("TYPE65534", r"\# 3 AB CDEF", r"\# 3 abcdef"),
        ("TYPE65534", r"\# 0", r"\# 0"),
        ("HTTPS", r#"1 . alpn="h2,h3""#, "1 . alpn=h2,h3"),
        ("NAPTR", r#"100 10 "S" "SIP+D2U" "" _sip"#, r#"100 10 "S" "SIP+D2U" "" _sip.example.org."#),
    ] {
        assert_eq!(again(rtype, text), printed, "{rtype} {text}");
    }
}

#[test]
fn long_text_is_cut_into_strings() {
    let (long, full) = ("x".repeat(300), "x".repeat(255));
    let printed = format!("\"{full}\" \"{}\"", "x".repeat(45));
    assert_eq!(again("TXT", &long), printed);
    assert_eq!(again("TXT", &format!("\"{long}\"")), printed);
    assert_eq!(again("TXT", &format!("\"{full}\"")), format!("\"{full}\""));
    let escaped = r"\200".repeat(256);
    assert_eq!(again("TXT", &escaped), format!("\"{}\" \"\\200\"", r"\200".repeat(255)));
}

#[test]
fn wrong_data_is_told_what_would_be_right() {
    for (rtype, text, message) in [
        (
            "A",
            "192.0.2",
            "A data \"192.0.2\": expected IPv4 address; accepted is an IPv4 address, as in 192.0.2.1",
        ),
        ("MX", "mail", "accepted is preference and host, as in 10 mail.example.org."),
        ("MX", "10 a b", "trailing tokens"),
        ("A", "192.0.2.1\nevil 1 A 192.0.2.2", "control characters"),
        ("TXT", "v=DMARC1; p=none", "have to be inside quotes"),
        ("TXT", "\"open", "a quote is not closed"),
        ("TXT", "\"a\"b", "a space has to follow a closing quote"),
        ("TXT", "caf\u{e9}", "characters beyond ASCII"),
        ("TXT", "", "nothing is there"),
        ("TXT", "a\\", "ends with a backslash"),
        ("CNAME", "a..b", "not the data of this type"),
        ("CNAME", r"\# 2 c000", "not the data of this type"),
        ("A", r"\# 5 0102030405", "not the data of this type"),
        ("CNAME", "(a)", "have to be inside quotes"),
        ("TYPE65534", "abc", r"or \# LENGTH HEX (RFC 3597)"),
    ] {
        let found = again(rtype, text);
        assert!(found.contains(message), "{rtype} {text}: {found}");
    }
}

#[test]
fn type_is_read_by_name_or_number_and_shown_by_name() {
    for (text, name) in
        [("a", "A"), ("Aaaa", "AAAA"), ("TYPE1", "A"), ("type65534", "TYPE65534"), ("HTTPS", "HTTPS")]
    {
        assert_eq!(present::type_name(present::parse_type(text).unwrap()), name);
    }
    for (text, message) in [
        ("", "not known"),
        ("FOO", "write a mnemonic such as AAAA, or TYPE123"),
        ("TYPE65536", "not known"),
        ("ANY", "cannot be in a zone"),
        ("AXFR", "cannot be in a zone"),
        ("OPT", "cannot be in a zone"),
        ("TYPE0", "cannot be in a zone"),
    ] {
        let found = present::parse_type(text).unwrap_err().to_string();
        assert!(found.contains(message), "{text}: {found}");
    }
}

/// The zone file as it is exported, or the error's message.
fn file(text: &str) -> String {
    match present::parse_file(text, &apex()) {
        Ok(file) => file.sets.iter().map(present::set_lines).collect::<String>().replace('\t', " "),
        Err(error) => error.to_string(),
    }
}

#[test]
fn zone_file_is_read_with_all_its_abbreviations() {
    let text = "; a comment\n$TTL 60\n@ 3600 IN SOA ns host (\n 1 ; serial\n 2 3 4 5 )\n NS ns\nwww IN 30 A 192.0.2.1\n\
                $ORIGIN sub\n@ A 192.0.2.2\nx MX 10 @\ny.other.example.org. TXT a\\;b \"c;d\"";
    let expected = "example.org. 60 IN NS ns.example.org.\n\
                    example.org. 3600 IN SOA ns.example.org. host.example.org. 1 2 3 4 5\n\
                    y.other.example.org. 60 IN TXT \"a;b\" \"c;d\"\n\
                    sub.example.org. 60 IN A 192.0.2.2\n\
                    x.sub.example.org. 60 IN MX 10 sub.example.org.\n\
                    www.example.org. 30 IN A 192.0.2.1\n";
    assert_eq!(file(text), expected);
}

#[test]
fn equal_records_are_one_and_the_lowest_ttl_holds() {
    let text = "a 30 CNAME X\nA 20 CNAME x\nb 9 A 192.0.2.1\nb 5 A 192.0.2.2\nB 7 A 192.0.2.1\n";
    let expected = "a.example.org. 20 IN CNAME X.example.org.\nb.example.org. 5 IN A 192.0.2.1\n\
                    b.example.org. 5 IN A 192.0.2.2\n";
    assert_eq!(file(text), expected);
    assert_eq!(present::parse_file(text, &apex()).unwrap().records, 3);
}

#[test]
fn wrong_zone_file_is_told_the_line_and_what_would_be_right() {
    for (text, message) in [
        (
            "a A 192.0.2.1\n$GENERATE 1-9 h$ A 192.0.2.$\n",
            "line 2: only the directives $ORIGIN and $TTL are accepted",
        ),
        ("\n\n$INCLUDE /etc/passwd\n", "line 3: only the directives $ORIGIN and $TTL are accepted"),
        ("a A 192.0.2.1\nb A 192.0.2\n", "line 2: expected IPv4 address"),
        (
            "a A 192.0.2.1\n\nwww.example.com. A 192.0.2.1\n",
            "line 3: www.example.com. is not in zone example.org.",
        ),
        ("a 1h A 192.0.2.1\n", "line 1: expected rtype; accepted are a TTL in seconds"),
        ("a CH A 192.0.2.1\n", "line 1: different class: CH != IN; accepted is the class IN"),
        ("a ANY x\n", "line 1:"),
        ("a TYPE255 \\# 0\n", "line 1: type ANY cannot be in a zone"),
        ("a LOC 1 2\n", "accepted is the form for unknown types: \\# LENGTH HEX"),
        ("x\ny\n", "line 1: unexpected end of entry"),
        (
            "a CNAME \\# 2 c000\n",
            "line 1: a.example.org. CNAME: not the data of this type; accepted is a name",
        ),
        ("a ( TXT\nb", "line 2: a parenthesis is not closed"),
        ("a TXT x )\n", "line 1: a parenthesis is closed that was not opened"),
        ("a TXT \"x\ny\"\n", "line 1: a quote is not closed"),
        ("a TXT x\\\n", "line 1: a backslash ends the line"),
        (" A 192.0.2.1\n", "the first record has to begin with its owner"),
    ] {
        let found = file(text);
        assert!(found.contains(message), "{text}: {found}");
    }
}

#[test]
fn name_is_relative_to_its_origin_unless_it_ends_with_a_dot() {
    for (text, expected) in [
        ("www", Ok("www.example.org.")),
        ("www.", Ok("www.")),
        ("@", Ok("example.org.")),
        (".", Ok(".")),
        (r"a\.b", Ok(r"a\.b.example.org.")),
        (r"\097", Ok("a.example.org.")),
        ("*.x", Ok("*.x.example.org.")),
        ("", Err("empty name")),
        ("a..b", Err("empty label")),
        (r"a\300", Err("bad escape")),
        (r"a\", Err("bad escape")),
        ("a b", Err("must be written as an escape")),
        ("b\u{fc}cher", Err("xn--")),
    ] {
        let found =
            Name::parse_in(text, &apex()).map(|name| name.to_string()).map_err(|error| error.to_string());
        match expected {
            Ok(name) => assert_eq!(found.as_deref(), Ok(name)),
            Err(part) => assert!(found.clone().unwrap_err().contains(part), "{text}: {found:?}"),
        }
    }
    assert!(Name::parse(&"a".repeat(64)).is_err());
    assert!(Name::parse(&"a.".repeat(128)).is_err());
    assert!(Name::parse(&"a.".repeat(127)).is_ok());
}
