//! Who may do what.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
};

use flashdns_proto::{FILE_DESCRIPTOR_SET, v1};
use photon_runtime::rpc_paths;
use tonic::{Code, Request, client::Grpc, codegen::http::uri::PathAndQuery};

use crate::node::{Node, wait_for};

#[tokio::test(flavor = "multi_thread")]
async fn every_rpc_answers_unauthenticated_without_credentials() {
    let node = Node::new().await;
    let rpcs = rpc_paths(FILE_DESCRIPTOR_SET).unwrap();
    assert!(rpcs.len() >= 11, "{rpcs:?}");
    for rpc in rpcs {
        let path = PathAndQuery::try_from(rpc.path()).unwrap();
        for token in [None, Some("Bearer ph_0000")] {
            let mut grpc = Grpc::new(node.channel());
            grpc.ready().await.unwrap();
            let mut request = Request::new(());
            if let Some(token) = token {
                request.metadata_mut().insert("authorization", token.parse().unwrap());
            }
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let status = grpc.unary(request, path.clone(), codec).await.unwrap_err();
            assert_eq!(status.code(), Code::Unauthenticated, "{path} with {token:?}: {status:?}");
        }
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn viewer_reads_everything_and_changes_nothing() {
    let node = Node::new().await;
    let request = v1::CreateZoneRequest { name: "example.org".to_owned(), ..Default::default() };
    let status = node.zones().create_zone(node.viewer(request)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    node.create_zone("example.org").await;
    let delete = v1::DeleteZoneRequest { name: "example.org".to_owned(), ..Default::default() };
    let status = node.zones().delete_zone(node.viewer(delete)).await.unwrap_err();
    assert_eq!(status.code(), Code::PermissionDenied);
    let request = v1::ListChangesRequest { zone: "example.org".to_owned(), ..Default::default() };
    let log = node.zones().list_changes(node.viewer(request)).await.unwrap().into_inner();
    assert_eq!(log.changes.len(), 1);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_tell_what_is_served_and_asked() {
    let node = Node::new().await;
    node.create_zone("example.org").await;
    node.dig("example.org", "SOA");
    for line in
        ["flashdns_zones 1", "flashdns_dns_queries_total{transport=\"udp\"} 1", "flashdns_stale_seconds "]
    {
        // A worker counts what it has answered.
        wait_for(line, || scrape(node.admin_address()).contains(line)).await;
    }
    node.stop().await;
}

fn scrape(admin: SocketAddr) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
