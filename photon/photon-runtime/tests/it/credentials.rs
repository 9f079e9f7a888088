//! Nobody is answered who is not known, by any RPC.

use photon_runtime::{ClientTls, Token, pki, rpc_paths};
use tonic::Code;

use crate::{
    cloud::{Client, Cloud, client, endpoint, leaf},
    probe::{COUNT, LAST, WAIT, WHO},
};

/// Every RPC of the process: the probe's, and those that the runtime adds.
fn every_rpc() -> Vec<&'static str> {
    let added = [tonic_health::pb::FILE_DESCRIPTOR_SET, tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET];
    let added = added.into_iter().flat_map(|set| rpc_paths(set).unwrap()).map(|rpc| &*rpc.path().leak());
    added.chain([WHO, WAIT, COUNT, LAST, "/photon.test.Probe/None", "/nothing"]).collect()
}

async fn codes(client: &Client) -> Vec<Code> {
    let mut codes = Vec::new();
    for path in every_rpc() {
        codes.push(client.call(path).await.unwrap_err().code());
    }
    codes
}

#[tokio::test]
async fn every_rpc_without_credentials_is_unauthenticated() {
    let cloud = Cloud::new();
    let process = cloud.start("anonymous").await;
    let stranger = client(&process, &cloud.anonymous()).await;
    assert_eq!(codes(&stranger).await, vec![Code::Unauthenticated; every_rpc().len()]);
    assert_eq!(every_rpc().len(), 9);
    process.stop().await.unwrap();
}

#[tokio::test]
async fn every_rpc_with_a_wrong_token_is_unauthenticated_even_on_a_good_certificate() {
    let cloud = Cloud::new();
    let process = cloud.start("wrong-token").await;
    let good = cloud.holder(&leaf(&cloud.ca, "photon", "flashdns"));
    for base in [cloud.anonymous(), good] {
        let wrong = client(&process, &ClientTls { token: Some(Token::generate()), ..base }).await;
        assert_eq!(codes(&wrong).await, vec![Code::Unauthenticated; every_rpc().len()]);
    }
    process.stop().await.unwrap();
}

#[tokio::test]
async fn caller_is_who_the_token_or_the_certificate_says() {
    let cloud = Cloud::new();
    let process = cloud.start("known").await;
    let service = cloud.holder(&leaf(&cloud.ca, "photon", "flashdns"));
    let both = ClientTls { token: Some(cloud.token.clone()), ..service.clone() };
    for (credentials, expected) in
        [(cloud.operator(), "admin ada"), (service, "service flashdns/1"), (both, "admin ada")]
    {
        let client = client(&process, &credentials).await;
        assert_eq!(client.call(WHO).await.unwrap(), expected);
    }
    process.stop().await.unwrap();
}

#[tokio::test]
async fn certificate_of_another_cluster_by_the_same_ca_is_nobody() {
    let cloud = Cloud::new();
    let process = cloud.start("other-cluster").await;
    let other = client(&process, &cloud.holder(&leaf(&cloud.ca, "proton", "flashdns"))).await;
    let refused = other.call(WHO).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    expect_test::expect![
        "the certificate identifies nobody here: it is spiffe://proton/flashdns/1, of another cluster than photon"
    ]
    .assert_eq(refused.message());
    process.stop().await.unwrap();
}

#[tokio::test]
async fn certificate_of_another_ca_does_not_get_through_the_handshake() {
    let cloud = Cloud::new();
    let process = cloud.start("other-ca").await;
    let foreign = pki::create_ca("photon", pki::Validity::days(1).unwrap()).unwrap();
    let credentials = cloud.holder(&leaf(&foreign, "photon", "flashdns"));
    // In TLS 1.3 the client's part of the handshake ends before the server has judged it.
    if let Ok(channel) = endpoint(&process, &credentials).connect().await {
        let client =
            Client(tonic::service::interceptor::InterceptedService::new(channel, credentials.bearer()));
        assert_eq!(client.call(WHO).await.unwrap_err().code(), Code::Unknown);
    }
    process.stop().await.unwrap();
}

#[tokio::test]
async fn unknown_rpc_is_unimplemented_for_whoever_is_known() {
    let cloud = Cloud::new();
    let process = cloud.start("unknown-rpc").await;
    let operator = client(&process, &cloud.operator()).await;
    let refused = operator.call("/photon.test.Probe/None").await.unwrap_err();
    assert_eq!(
        (refused.code(), refused.message()),
        (Code::Unimplemented, "no RPC /photon.test.Probe/None here")
    );
    process.stop().await.unwrap();
}
