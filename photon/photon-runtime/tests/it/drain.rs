//! The end of a process: nothing new is taken, what is in flight is finished, and it is bounded.

use photon_runtime::{Process, StopError};
use tokio::net::TcpStream;
use tonic::Code;
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    cloud::{Client, Cloud, client, soon},
    probe::{FINISH, LAST, Probe, WAIT, gate},
};

async fn entered(name: &str) {
    gate(name).entered.acquire().await.unwrap().forget();
}

fn waiting(client: &Client) -> impl Future<Output = Result<String, tonic::Status>> + use<> {
    let client = client.clone();
    async move { client.call(WAIT).await }
}

#[tokio::test]
async fn drain_finishes_calls_in_flight_and_takes_no_new_connections() {
    let cloud = Cloud::new();
    let process = cloud.start("drain").await;
    let address = process.grpc_address();
    let client = client(&process, &cloud.operator()).await;
    let call = waiting(&client);
    let driver = async {
        entered("drain").await;
        let draining = process.shutdown().draining();
        let stop = process.stop();
        let check = async {
            draining.cancelled().await;
            soon("the port", async { while TcpStream::connect(address).await.is_ok() {} }).await;
            gate("drain").open.add_permits(1);
        };
        tokio::join!(stop, check).0
    };
    let (answer, stopped) = soon("the drain", async { tokio::join!(call, driver) }).await;
    assert_eq!(answer.unwrap(), "");
    stopped.unwrap();
}

#[tokio::test]
async fn stream_that_lasts_ends_with_unavailable_when_the_process_drains() {
    let cloud = Cloud::new();
    let process = cloud.start("stream").await;
    let client = client(&process, &cloud.operator()).await;
    let mut stream = client.stream(LAST).await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("first"));
    let (ended, stopped) = soon("the drain", async { tokio::join!(stream.message(), process.stop()) }).await;
    assert_eq!(ended.unwrap_err().code(), Code::Unavailable);
    stopped.unwrap();
}

#[tokio::test]
async fn stream_that_finishes_by_itself_is_not_cut_when_the_process_drains() {
    let cloud = Cloud::new();
    let process = cloud.start("finish").await;
    let client = client(&process, &cloud.operator()).await;
    let mut stream = client.stream(FINISH).await.unwrap();
    assert_eq!(stream.message().await.unwrap().as_deref(), Some("first"));
    let draining = process.shutdown().draining();
    let rest = async {
        draining.cancelled().await;
        gate("finish").open.add_permits(1);
        (stream.message().await, stream.message().await)
    };
    let ((last, end), stopped) = soon("the drain", async { tokio::join!(rest, process.stop()) }).await;
    assert_eq!(last.unwrap().as_deref(), Some("last"));
    assert_eq!(end.unwrap(), None);
    stopped.unwrap();
}

#[tokio::test]
async fn health_says_not_serving_before_the_stream_ends() {
    let cloud = Cloud::new();
    let process = cloud.start("health").await;
    let client = client(&process, &cloud.operator()).await;
    let mut health = HealthClient::new(client.0.clone());
    let request = HealthCheckRequest { service: "photon.test.Probe".to_owned() };
    let mut watch = health.watch(request).await.unwrap().into_inner();
    while watch.message().await.unwrap().unwrap().status() != ServingStatus::Serving {}
    process.shutdown().request();
    let (next, stopped) = soon("the drain", async { tokio::join!(watch.message(), process.wait()) }).await;
    assert_eq!(next.unwrap().unwrap().status(), ServingStatus::NotServing);
    assert_eq!(watch.message().await.unwrap_err().code(), Code::Unavailable);
    stopped.unwrap();
}

#[tokio::test]
async fn drain_is_over_in_bounded_time_whatever_a_call_does() {
    let cloud = Cloud::new();
    let mut config = cloud.config("bound");
    config.server.drain_timeout_ms = 200;
    let process = Process::start::<Probe>(config).await.unwrap();
    let client = client(&process, &cloud.operator()).await;
    let call = waiting(&client);
    let driver = async {
        entered("bound").await;
        process.stop().await
    };
    let (answer, stopped) = soon("the drain", async { tokio::join!(call, driver) }).await;
    assert!(answer.is_err());
    assert!(!matches!(stopped, Err(StopError::Task { .. })), "{stopped:?}");
}
