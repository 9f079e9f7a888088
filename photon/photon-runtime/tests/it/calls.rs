//! The bounds of a call: its deadline, the number in flight, the number of connections.

use std::time::Duration;

use photon_runtime::Process;
use tonic::{Code, Request};

use crate::{
    cloud::{Cloud, client, endpoint, soon},
    probe::{COUNT, LAST, Probe, VITAL, WAIT, WHO, gate},
};

#[tokio::test]
async fn call_that_takes_longer_than_the_servers_limit_is_given_up() {
    let cloud = Cloud::new();
    let mut config = cloud.config("limit");
    config.server.request_timeout_ms = 50;
    let process = Process::start::<Probe>(config).await.unwrap();
    let client = client(&process, &cloud.operator()).await;
    assert_eq!(client.call(WAIT).await.unwrap_err().code(), Code::DeadlineExceeded);
    let mut counted = client.stream(COUNT).await.unwrap();
    assert_eq!(counted.message().await.unwrap().as_deref(), Some("first"));
    assert_eq!(soon("the stream", counted.message()).await.unwrap_err().code(), Code::DeadlineExceeded);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn callers_own_deadline_counts_when_it_is_sooner() {
    let cloud = Cloud::new();
    let process = cloud.start("sooner").await;
    let client = client(&process, &cloud.operator()).await;
    let mut request = Request::new(String::new());
    request.metadata_mut().insert("grpc-timeout", "20m".parse().unwrap());
    let late = soon("the call", client.request(WAIT, request)).await.unwrap_err();
    assert!(matches!(late.code(), Code::DeadlineExceeded | Code::Cancelled), "{late}");
    let mut request = Request::new(String::new());
    request.metadata_mut().insert("grpc-timeout", "soon".parse().unwrap());
    assert_eq!(client.request(WHO, request).await.unwrap_err().code(), Code::InvalidArgument);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn calls_beyond_the_limit_are_refused_and_streams_are_not_counted() {
    let cloud = Cloud::new();
    let mut config = cloud.config("full");
    config.server.requests_max = 1;
    let process = Process::start::<Probe>(config).await.unwrap();
    let client = client(&process, &cloud.operator()).await;
    let _stream = client.stream(LAST).await.unwrap();
    let waiting = client.call(WAIT);
    tokio::pin!(waiting);
    let entered = gate("full");
    tokio::select! {
        ended = &mut waiting => panic!("{ended:?}"),
        permit = entered.entered.acquire() => permit.unwrap().forget(),
    }
    assert_eq!(client.call(WHO).await.unwrap_err().code(), Code::ResourceExhausted);
    assert!(client.call(VITAL).await.is_ok());
    entered.open.add_permits(1);
    assert!(waiting.await.is_ok());
    assert!(client.call(WHO).await.is_ok());
    process.stop().await.unwrap();
}

#[tokio::test]
async fn connection_beyond_the_limit_is_closed_on_arrival() {
    let cloud = Cloud::new();
    let mut config = cloud.config("connections");
    config.server.connections_max = 1;
    let process = Process::start::<Probe>(config).await.unwrap();
    let first = client(&process, &cloud.operator()).await;
    assert!(first.call(WHO).await.is_ok());
    let second = endpoint(&process, &cloud.operator()).connect_timeout(Duration::from_secs(10));
    assert!(second.connect().await.is_err());
    assert!(first.call(WHO).await.is_ok());
    process.stop().await.unwrap();
}
