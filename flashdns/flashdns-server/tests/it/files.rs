//! Zone files, in and out.

use std::fmt::Write as _;

use domain::base::iana::Rcode;
use flashdns_proto::v1;
use tonic::Code;

use crate::{
    dns,
    node::{Node, set, wait_for},
};

const FILE: &str = r#"$ORIGIN example.org.
$TTL 300
@        3600 IN SOA ns1 hostmaster 2024010101 7200 900 1209600 300
@             IN NS  ns1
@             IN NS  ns2.example.net.
ns1           IN A   192.0.2.53
@             IN MX  10 mail
Mail          IN AAAA 2001:db8::25
*.dyn     60  IN TXT "a;b" "say \"hi\""
_sip._tcp     IN SRV 0 5 5060 sip.example.net.
@             IN CAA 0 issue "ca.example.net"
odd           IN TYPE65280 \# 3 abcdef
alias         IN CNAME mail
"#;

/// Record lines without comments, sorted.
fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.starts_with(';')).map(str::to_owned).collect();
    lines.sort();
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_zone_is_exported_as_it_is_served() {
    let node = Node::new().await;
    let imported = node.import("example.org", FILE).await.unwrap();
    assert_eq!((imported.records, imported.zone.as_ref().map(|zone| zone.serial)), (11, Some(2_024_010_101)));
    assert_eq!(node.dig("mail.example.org", "AAAA"), ["2001:db8::25"]);
    assert_eq!(node.dig("x.dyn.example.org", "TXT").len(), 1);
    let exported = node.export("example.org").await;
    assert!(exported.contains("\nMail.example.org. 300 IN AAAA 2001:db8::25\n"), "{exported}");
    let again =
        node.import("copy.example", &exported.replace("example.org.", "copy.example.")).await.unwrap();
    assert_eq!(again.records, 11);
    let copied = node.export("copy.example").await.replace("copy.example.", "example.org.");
    assert_eq!(lines(&copied), lines(&exported));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn import_replaces_the_zone_in_one_step_and_logs_what_differs() {
    let node = Node::new().await;
    let before = node.create_zone("example.org").await;
    node.change("example.org", vec![set("old", "A", &["192.0.2.1"])]).await.unwrap();
    let older = FILE.replace("2024010101", "1");
    let imported = node.import("example.org", &older).await.unwrap().zone.unwrap();
    assert_eq!(imported.serial, before.serial + 2, "the file's serial is older than the zone's");
    assert_eq!(dns::udp(node.home.dns, "old.example.org", "A").rcode, Rcode::NXDOMAIN);
    let log = node.log("example.org").await;
    let last = log.last().unwrap();
    assert_eq!((last.comment.as_str(), last.unlisted), ("imported", false));
    assert!(last.removed.iter().any(|set| set.name == "old.example.org."));
    assert_eq!(last.added.len(), 10, "{last:?}");
    let changed = node.change("example.org", vec![set("new", "A", &["192.0.2.2"])]).await.unwrap();
    assert_eq!(changed.serial, imported.serial + 1);
    assert_eq!(node.dig("new.example.org", "A"), ["192.0.2.2"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_that_is_no_zone_is_refused_with_its_line_and_changes_nothing() {
    let node = Node::new().await;
    let before = node.create_zone("example.org").await;
    for (file, told) in [
        (format!("{FILE}bad IN A 192.0.2\n"), "line"),
        (format!("{FILE}www.example.net. IN A 192.0.2.1\n"), "not in zone"),
        (format!("{FILE}alias IN A 192.0.2.1\n"), "CNAME"),
        ("@ 60 IN NS ns1\n".to_owned(), "SOA"),
        (format!("{FILE}$INCLUDE /etc/passwd\n"), "$ORIGIN"),
    ] {
        let status = node.import("example.org", &file).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(told), "{told}: {status:?}");
    }
    assert_eq!(node.zone("example.org").await, before);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_zone_appears_and_disappears_whole() {
    const HOSTS: usize = 100_000;
    let node = Node::new().await;
    let mut file = "@ 60 IN SOA ns1 h 1 2 3 4 5\n@ 60 IN NS ns1\n".to_owned();
    for host in 0..HOSTS {
        writeln!(file, "h{host} 60 IN A 10.{}.{}.{}", host >> 16, host >> 8 & 255, host & 255).unwrap();
    }
    let importing = node.import("large.example", &file);
    let server = node.home.dns;
    let watching = tokio::task::spawn_blocking(move || {
        // Refused as long as nothing is there; the first answer is of the whole zone.
        while dns::udp(server, "h0.large.example", "A").rcode == Rcode::REFUSED {}
        dns::udp(server, &format!("h{}.large.example", HOSTS - 1), "A").rcode
    });
    let (imported, seen) = tokio::join!(importing, watching);
    assert_eq!(imported.unwrap().records, HOSTS as u64 + 2);
    assert_eq!(seen.unwrap(), Rcode::NOERROR);
    assert!(node.log("large.example").await[0].unlisted);
    assert_eq!(node.export("large.example").await.lines().count(), HOSTS + 3);
    let request = v1::DeleteZoneRequest { name: "large.example".to_owned(), ..Default::default() };
    node.zones().delete_zone(node.admin(request)).await.unwrap();
    wait_for("the deleted zone is gone", || {
        dns::udp(server, "h0.large.example", "A").rcode == Rcode::REFUSED
    })
    .await;
    assert_eq!(dns::udp(server, &format!("h{}.large.example", HOSTS - 1), "A").rcode, Rcode::REFUSED);
    node.stop().await;
}
