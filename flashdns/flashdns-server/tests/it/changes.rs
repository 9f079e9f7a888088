//! What a change promises: one step of the serial, all or nothing, and a log from which the zone can be made again.

use std::collections::{BTreeMap, BTreeSet};

use flashdns_proto::v1::{self, record_set_change::Precondition};
use futures::future::join_all;
use tonic::Code;

use crate::node::{Node, set};

/// What the log leads to when it is replayed from nothing.
fn replay(log: &[v1::Change]) -> BTreeMap<(String, String), Vec<String>> {
    let mut zone = BTreeMap::new();
    let key = |set: &v1::RecordSet| (set.name.to_lowercase(), set.r#type.clone());
    for change in log {
        for set in &change.removed {
            assert_eq!(zone.remove(&key(set)), Some(set.data.clone()), "{change:?}");
        }
        for set in &change.added {
            assert_eq!(zone.insert(key(set), set.data.clone()), None, "{change:?}");
        }
    }
    // Every change changes the serial; only those of the rest of the SOA are listed.
    zone.remove(&("example.org.".to_owned(), "SOA".to_owned()));
    zone
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writers_never_share_a_serial_and_the_log_replays_to_what_is_served() {
    let node = Node::new().await;
    let zone = node.create_zone("example.org").await;
    let writers = (0..8_usize).map(|writer| {
        let node = &node;
        async move {
            let mut serials = Vec::new();
            for round in 0..12_usize {
                let name = format!("host{}", (writer + round * 3) % 5);
                let address = format!("192.0.2.{}", writer * 12 + round);
                let data: &[&str] = if round % 4 == 3 { &[] } else { &[&address] };
                let changes =
                    vec![set(&name, "A", data), set("all", "TXT", &[&format!("\"{writer}-{round}\"")])];
                serials.push(node.change("example.org", changes).await.unwrap().serial);
            }
            serials
        }
    });
    let serials: Vec<u32> = join_all(writers).await.into_iter().flatten().collect();
    let distinct: BTreeSet<u32> = serials.iter().copied().collect();
    assert_eq!(distinct.len(), serials.len(), "every change has a serial of its own");
    let log = node.log("example.org").await;
    let logged: Vec<u32> = log.iter().map(|change| change.serial).collect();
    assert_eq!(logged, (zone.serial..=zone.serial + 96).collect::<Vec<_>>());
    assert!(log.iter().all(|change| change.actor == "admin"));
    let replayed = replay(&log);
    let listed = node.list("example.org", 3).await.into_iter().filter(|set| set.r#type != "SOA");
    let listed: BTreeMap<_, _> = listed.map(|set| ((set.name, set.r#type), set.data)).collect();
    assert_eq!(replayed, listed);
    for ((name, rtype), data) in replayed {
        assert_eq!(node.dig(&name, &rtype), data, "{name} {rtype}");
    }
    assert_eq!(node.zone("example.org").await.record_sets, listed.len() as u64 + 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn change_whose_precondition_does_not_hold_changes_nothing() {
    let node = Node::new().await;
    node.create_zone("example.org").await;
    let made = node.change("example.org", vec![set("www", "A", &["192.0.2.1"])]).await.unwrap();
    let before = (node.zone("example.org").await, node.list("example.org", 100).await);
    let with = |precondition: Precondition, version, name: &str| v1::RecordSetChange {
        precondition: precondition.into(),
        version,
        ..set(name, "A", &["192.0.2.9"])
    };
    let other = || set("other", "A", &["192.0.2.8"]);
    for (code, change) in [
        (Code::FailedPrecondition, with(Precondition::Absent, 0, "www")),
        (Code::FailedPrecondition, with(Precondition::Present, 0, "missing")),
        (Code::Aborted, with(Precondition::Present, made.version - 1, "www")),
        (Code::Aborted, with(Precondition::None, made.version + 1, "www")),
        (Code::InvalidArgument, with(Precondition::Absent, 3, "www")),
        (Code::InvalidArgument, set("www", "CNAME", &["else"])),
        (Code::InvalidArgument, set("@", "NS", &[])),
        (Code::InvalidArgument, set("@", "SOA", &["a. b. 1 2 3 4 5"])),
        (Code::InvalidArgument, set("www.example.net.", "A", &["192.0.2.9"])),
        (Code::InvalidArgument, set("www", "A", &["192.0.2"])),
    ] {
        let status = node.change("example.org", vec![other(), change.clone()]).await.unwrap_err();
        assert_eq!(status.code(), code, "{change:?}: {status:?}");
        assert!(!status.message().is_empty());
    }
    assert_eq!((node.zone("example.org").await, node.list("example.org", 100).await), before);
    assert!(node.dig("other.example.org", "A").is_empty());
    let right = with(Precondition::Present, made.version, "www");
    node.change("example.org", vec![right]).await.unwrap();
    assert_eq!(node.dig("www.example.org", "A"), ["192.0.2.9"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn change_sent_twice_under_one_id_happens_once() {
    let node = Node::new().await;
    node.create_zone("example.org").await;
    let request = |address: &str| v1::ChangeRecordSetsRequest {
        zone: "example.org".to_owned(),
        changes: vec![v1::RecordSetChange {
            precondition: Precondition::Absent.into(),
            ..set("www", "A", &[address])
        }],
        idempotency_id: "Once".to_owned(),
        ..Default::default()
    };
    let send = |address| {
        let request = node.admin(request(address));
        async { node.record_sets().change_record_sets(request).await }
    };
    let first = send("192.0.2.1").await.unwrap().into_inner();
    assert_eq!(send("192.0.2.1").await.unwrap().into_inner(), first);
    let status = send("192.0.2.2").await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert_eq!(node.log("example.org").await.len(), 2);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn change_that_is_already_so_takes_no_serial() {
    let node = Node::new().await;
    node.create_zone("example.org").await;
    let first = node.change("example.org", vec![set("www", "A", &["192.0.2.1", "192.0.2.2"])]).await.unwrap();
    let again = node.change("example.org", vec![set("www", "A", &["192.0.2.2", "192.0.2.1"])]).await.unwrap();
    assert_eq!(again.serial, first.serial);
    node.stop().await;
}
