//! What is special about UDP and TCP.

use std::{
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use domain::base::iana::Rcode;
use flashdns_server::{Config, DnsConfig};

use crate::{
    dns::{self, Tcp, query},
    node::{Home, Node, set},
};

async fn node_with(change: impl FnOnce(&mut DnsConfig)) -> Node {
    let home = Home::new();
    let mut config = home.config();
    change(&mut config.dns);
    let node = home.start(config).await;
    node.ready().await;
    node.create_zone("example.org").await;
    node
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_too_large_for_udp_is_truncated_and_whole_over_tcp() {
    let node = node_with(|_dns| ()).await;
    let texts: Vec<String> = (0..40).map(|number| format!("\"{number:0>100}\"")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    node.change("example.org", vec![set("big", "TXT", &texts)]).await.unwrap();
    let over_udp = dns::udp(node.home.dns, "big.example.org", "TXT");
    assert!(over_udp.truncated && over_udp.rcode == Rcode::NOERROR, "{over_udp:?}");
    let over_tcp = Tcp::connect(node.home.dns).ask("big.example.org", "TXT");
    assert_eq!(
        (over_tcp.truncated, over_tcp.data),
        (false, texts.iter().map(|text| (*text).to_owned()).collect())
    );
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn reply_leaves_from_the_address_that_was_asked() {
    let home = Home::new();
    let asked = home.dns;
    let config = home.config();
    // A wildcard takes every loopback address; another port keeps it off the other tests.
    let port = 5301 + u16::try_from(std::process::id() % 20_000).unwrap();
    let dns =
        DnsConfig { listen: vec![SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))], ..config.dns.clone() };
    let node = home.start(Config { dns, ..config }).await;
    node.ready().await;
    node.create_zone("example.org").await;
    // The client's socket is connected: a reply from 127.0.0.1 would never reach it.
    let reply = dns::udp(SocketAddr::from((asked.ip(), port)), "example.org", "NS");
    assert_eq!(reply.data, ["ns1.example.org."]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_queries_are_answered_in_order() {
    let node = node_with(|_dns| ()).await;
    let mut tcp = Tcp::connect(node.home.dns);
    for id in 0..500 {
        tcp.send(&query(id, "example.org", "SOA"));
    }
    for id in 0..500_u16 {
        assert_eq!(tcp.receive().unwrap()[..2], id.to_be_bytes());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connection_ends_when_idle_slow_or_without_a_query() {
    let node = node_with(|dns| (dns.tcp_idle_timeout_ms, dns.tcp_message_timeout_ms) = (300, 300)).await;
    let opened = Instant::now();
    let mut idle = Tcp::connect(node.home.dns);
    let mut slow = Tcp::connect(node.home.dns);
    slow.0.write_all(&[0, 30, 1]).unwrap();
    assert_eq!(idle.receive(), None);
    assert_eq!(slow.receive(), None);
    assert!(opened.elapsed() < Duration::from_secs(5));
    let mut garbage = Tcp::connect(node.home.dns);
    garbage.send(&[0xff; 40]);
    assert_eq!(garbage.receive(), None);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_beyond_the_limit_wait_for_their_turn() {
    let node = node_with(|dns| dns.tcp_connections_max = 4).await;
    let mut taken: Vec<Tcp> = (0..4).map(|_| Tcp::connect(node.home.dns)).collect();
    for tcp in &mut taken {
        assert_eq!(tcp.ask("example.org", "SOA").rcode, Rcode::NOERROR);
    }
    let mut waiting = Tcp::connect(node.home.dns);
    waiting.send(&query(3, "example.org", "SOA"));
    waiting.0.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let early = std::io::Read::read(&mut waiting.0, &mut [0; 2]).map_err(|error| error.kind());
    assert_eq!(early, Err(std::io::ErrorKind::WouldBlock));
    drop(taken.pop());
    waiting.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(waiting.receive().unwrap()[..2], [0, 3]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_query_gets_no_answer_and_harms_nobody() {
    let node = node_with(|_dns| ()).await;
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket.connect(node.home.dns).unwrap();
    let mut response = query(1, "example.org", "SOA");
    response[2] |= 0x80;
    for packet in [&response[..], &[0; 3], &[0xff; 700]] {
        socket.send(packet).unwrap();
    }
    socket.send(&query(2, "example.org", "SOA")).unwrap();
    let mut buffer = [0; 512];
    socket.recv(&mut buffer).unwrap();
    assert_eq!(buffer[..2], [0, 2], "the only answer is to the only query");
    node.stop().await;
}
