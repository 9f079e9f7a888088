//! Who may connect where.

use chainfire_proto::etcdserverpb::{
    MemberListRequest, StatusRequest, cluster_client::ClusterClient, maintenance_client::MaintenanceClient,
};
use photon_runtime::OpenTls;
use tonic::Code;

use crate::cloud::{Cloud, free_address};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn etcds_port_lets_in_whom_its_configuration_says() {
    let cloud = Cloud::new();
    for (tls, anonymous_may) in [(OpenTls::Off, true), (OpenTls::Server, true), (OpenTls::Mutual, false)] {
        let address = free_address();
        let mut config = cloud.config(1, address, &[address]);
        config.client.tls = tls;
        config.node.data_dir = cloud.path(&format!("{tls:?}"));
        let node = cloud.start(config.clone()).await.unwrap();
        node.ready().await;
        let anonymous =
            MaintenanceClient::new(cloud.channel(&config, &cloud.anonymous())).status(StatusRequest {}).await;
        assert_eq!(anonymous.is_ok(), anonymous_may, "{tls:?}: {anonymous:?}");
        node.maintenance().status(StatusRequest {}).await.unwrap();
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_the_nodes_are_for_nodes_alone() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let service = cloud.member().endpoint(&node.config.node.endpoint).unwrap().connect_lazy();
    let refused = ClusterClient::new(service).member_list(MemberListRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    node.stop().await;
}
