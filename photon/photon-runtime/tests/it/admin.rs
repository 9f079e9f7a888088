//! The admin port: alive, ready or why not, and metrics.

use std::net::SocketAddr;

use photon_runtime::health::PROCESS_METADATA;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    cloud::{Cloud, client, soon},
    probe::WHO,
};

/// Status and body of a GET.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[tokio::test]
async fn readiness_names_every_condition_and_follows_it() {
    let cloud = Cloud::new();
    let process = cloud.start("readiness").await;
    let late = process.health().condition("late");
    let (status, body) = get(process.admin_address(), "/readyz").await;
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status, 503);
    assert_eq!(body["conditions"]["late"]["reason"], "not reported yet");
    assert_eq!(body["conditions"]["serving"]["ok"], true);
    assert_eq!(body["service"], "probe");
    assert_eq!(body["node"], "1");
    assert_eq!(body["grpc"], process.grpc_address().to_string());
    late.ok();
    soon("readiness", async { while get(process.admin_address(), "/readyz").await.0 != 200 {} }).await;
    assert_eq!(get(process.admin_address(), "/livez").await.0, 200);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn health_check_says_why_the_process_is_not_ready() {
    let cloud = Cloud::new();
    let process = cloud.start("why").await;
    process.health().condition("late").not_ready("it has not come – yet");
    let operator = client(&process, &cloud.operator()).await;
    let mut health = HealthClient::new(operator.0.clone());
    let answer = health.check(HealthCheckRequest::default()).await.unwrap();
    let report = answer.metadata().get_bin(PROCESS_METADATA).unwrap().to_bytes().unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(answer.get_ref().status(), ServingStatus::NotServing);
    assert_eq!(report["conditions"]["late"]["reason"], "it has not come – yet");
    assert_eq!((&report["service"], &report["node"]), (&Value::from("probe"), &Value::from("1")));
    process.stop().await.unwrap();
}

#[tokio::test]
async fn metrics_count_calls_by_rpc_and_code() {
    let cloud = Cloud::new();
    let process = cloud.start("metrics").await;
    let operator = client(&process, &cloud.operator()).await;
    operator.call(WHO).await.unwrap();
    let stranger = client(&process, &cloud.anonymous()).await;
    stranger.call(WHO).await.unwrap_err();
    stranger.call("/made/up").await.unwrap_err();
    let (_, text) = get(process.admin_address(), "/metrics").await;
    for line in [
        "probe_grpc_calls_total{rpc=\"/photon.test.Probe/Who\",code=\"Ok\"} 1\n",
        "probe_grpc_calls_total{rpc=\"/photon.test.Probe/Who\",code=\"Unauthenticated\"} 1\n",
        "probe_grpc_calls_total{rpc=\"unknown\",code=\"Unauthenticated\"} 1\n",
        "probe_grpc_connections 2\n",
        "probe_grpc_calls_in_flight 0\n",
    ] {
        assert!(text.contains(line), "{line} not in\n{text}");
    }
    process.stop().await.unwrap();
}
