//! What a person does first: makes a zone, edits it, asks, deletes it.

use domain::base::iana::Rcode;
use flashdns_proto::v1;
use tonic::Code;

use crate::{
    dns::{self, Tcp},
    node::{Node, set},
};

#[tokio::test(flavor = "multi_thread")]
async fn zone_and_records_are_answered_over_udp_and_tcp_when_the_call_returns() {
    let node = Node::new().await;
    assert_eq!(dns::udp(node.home.dns, "www.example.org", "A").rcode, Rcode::REFUSED);
    let zone = node.create_zone("Example.org").await;
    assert_eq!(zone.name, "example.org.");
    assert!(zone.conditions.iter().any(|condition| condition.r#type == "Served" && condition.ok), "{zone:?}");
    let changes = vec![set("www", "A", &["192.0.2.1", "192.0.2.2"]), set("*.dyn", "TXT", &["\"any\""])];
    let changed = node.change("example.org.", changes).await.unwrap();
    assert_eq!(changed.serial, zone.serial + 1);
    assert_eq!(node.dig("WWW.example.org", "A"), ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(node.dig("x.dyn.example.org", "TXT"), ["\"any\""]);
    let mut tcp = Tcp::connect(node.home.dns);
    assert_eq!(tcp.ask("www.example.org", "A").data, ["192.0.2.1", "192.0.2.2"]);
    assert_eq!(tcp.ask("missing.example.org", "A").rcode, Rcode::NXDOMAIN);
    let soa = tcp.ask("example.org", "SOA").data.remove(0);
    assert!(soa.contains(&format!(" {} ", changed.serial)), "{soa}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_names_and_zones_are_gone_when_the_call_returns() {
    let node = Node::new().await;
    node.create_zone("example.org").await;
    for round in 0..20 {
        let address = format!("192.0.2.{round}");
        node.change("example.org", vec![set("www.deep", "A", &[&address])]).await.unwrap();
        assert_eq!(node.dig("www.deep.example.org", "A"), [address]);
        node.change("example.org", vec![set("www.deep", "A", &[])]).await.unwrap();
        // The empty name above it is gone as well.
        for name in ["www.deep.example.org", "deep.example.org"] {
            assert_eq!(dns::udp(node.home.dns, name, "A").rcode, Rcode::NXDOMAIN);
        }
    }
    let request = v1::DeleteZoneRequest { name: "example.org".to_owned(), ..Default::default() };
    node.zones().delete_zone(node.admin(request)).await.unwrap();
    assert_eq!(dns::udp(node.home.dns, "example.org", "SOA").rcode, Rcode::REFUSED);
    let request = v1::GetZoneRequest { name: "example.org".to_owned() };
    let status = node.zones().get_zone(node.admin(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::NotFound);
    let before = node.create_zone("example.org").await;
    assert_eq!(before.record_sets, 2, "a zone of the same name starts anew");
    assert_eq!(node.log("example.org").await.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_have_pages_and_tokens_of_one_list_do_not_serve_another() {
    let node = Node::new().await;
    for name in ["b.example", "a.example", "c.example"] {
        node.create_zone(name).await;
    }
    let request = v1::ListZonesRequest { page_size: 2, ..Default::default() };
    let first = node.zones().list_zones(node.viewer(request)).await.unwrap().into_inner();
    let names =
        |page: &v1::ListZonesResponse| page.zones.iter().map(|zone| zone.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&first), ["a.example.", "b.example."]);
    let token = first.next_page_token;
    let request = v1::ListZonesRequest { page_size: 2, page_token: token.clone() };
    let second = node.zones().list_zones(node.viewer(request)).await.unwrap().into_inner();
    assert_eq!((names(&second), second.next_page_token.as_str()), (vec!["c.example.".to_owned()], ""));
    let request =
        v1::ListRecordSetsRequest { zone: "a.example".to_owned(), page_token: token, ..Default::default() };
    let status = node.record_sets().list_record_sets(node.viewer(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    for size in [1, 2, 1000] {
        let sets = node.list("a.example", size).await;
        assert_eq!(sets.iter().map(|set| set.r#type.as_str()).collect::<Vec<_>>(), ["SOA", "NS"]);
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn updated_start_of_authority_is_served_and_kept_where_nothing_was_said() {
    let node = Node::new().await;
    let before = node.create_zone("example.org").await;
    let soa = v1::Soa { minimum_s: 7, primary: "ns9".to_owned(), ..Default::default() };
    let request = v1::UpdateZoneRequest {
        name: "example.org".to_owned(),
        soa: Some(soa),
        expected_version: before.version,
        comment: "shorter".to_owned(),
    };
    let after = node.zones().update_zone(node.admin(request.clone())).await.unwrap().into_inner();
    assert_eq!(after.serial, before.serial + 1);
    let (mut expected, found) = (before.soa.unwrap(), after.soa.unwrap());
    (expected.minimum_s, expected.primary) = (7, "ns9.example.org.".to_owned());
    assert_eq!(found, expected);
    assert!(node.dig("example.org", "SOA")[0].starts_with("ns9.example.org. "));
    let status = node.zones().update_zone(node.admin(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::Aborted, "the version is one that has passed: {status:?}");
    node.stop().await;
}
