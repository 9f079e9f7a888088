//! Who may do what, over every RPC that there is.

use flaredb_proto::v1::{
    CasRequest, CreateNamespaceRequest, DeleteNamespaceRequest, GetRequest, ListNamespacesRequest,
    NamespaceMode, RemoveMemberRequest, SaveSnapshotRequest, StatusRequest, cluster_client::ClusterClient,
    kv_cas_client::KvCasClient, maintenance_client::MaintenanceClient, namespaces_client::NamespacesClient,
};
use photon_runtime::{RpcPath, rpc_paths};
use tonic::{Code, Request, Status, client::Grpc, codegen::http::uri::PathAndQuery};
use tonic_prost::ProstCodec;

use crate::cloud::{Caller, Cloud, create};

fn every_rpc() -> Vec<RpcPath> {
    let sets = [
        flaredb_proto::FILE_DESCRIPTOR_SET,
        flaredb_raft::FILE_DESCRIPTOR_SET,
        flaredb_node::FILE_DESCRIPTOR_SET,
    ];
    let rpcs: Vec<RpcPath> = sets.iter().flat_map(|set| rpc_paths(set).unwrap()).collect();
    assert!(rpcs.len() > 20, "the descriptors list {} RPCs", rpcs.len());
    rpcs
}

/// Calls an RPC with an empty message.
async fn call(caller: &Caller, rpc: &RpcPath) -> Status {
    let mut grpc = Grpc::new(caller.clone());
    grpc.ready().await.unwrap();
    let path = PathAndQuery::try_from(rpc.path()).unwrap();
    let codec = ProstCodec::<(), ()>::default();
    match grpc.server_streaming(Request::new(()), path, codec).await {
        Ok(response) => response.into_inner().message().await.err().unwrap_or_else(|| Status::ok("answered")),
        Err(status) => status,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_rpc_answers_without_credentials() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let caller = node.caller(&cloud.anonymous()).await;
    for rpc in every_rpc() {
        assert_eq!(call(&caller, &rpc).await.code(), Code::Unauthenticated, "{}", rpc.path());
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_node_speaks_to_the_log_and_hears_of_audits() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    let of_nodes =
        |rpc: &RpcPath| ["photon.raft.", "photon.node."].iter().any(|of| rpc.service.starts_with(of));
    let peers_only: Vec<RpcPath> = every_rpc().into_iter().filter(of_nodes).collect();
    assert_eq!(peers_only.len(), 9);
    for credentials in [cloud.operator(), cloud.service("flashdns")] {
        let caller = node.caller(&credentials).await;
        for rpc in &peers_only {
            assert_eq!(call(&caller, rpc).await.code(), Code::PermissionDenied, "{}", rpc.path());
        }
    }
    node.stop().await;
}

fn put(namespace: &str) -> CasRequest {
    CasRequest {
        namespace: namespace.to_owned(),
        key: "k".into(),
        value: "v".into(),
        ..CasRequest::default()
    }
}

fn get(namespace: &str) -> GetRequest {
    GetRequest { namespace: namespace.to_owned(), key: "k".into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn service_touches_its_own_namespace_and_no_other() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    create(&cloud.client([&node]), "flashdns", NamespaceMode::Strong).await;
    let fiberlb = node.caller(&cloud.service("fiberlb")).await;
    let mut namespaces = NamespacesClient::new(fiberlb.clone());
    let mode = NamespaceMode::Strong.into();
    let own =
        CreateNamespaceRequest { name: "fiberlb".to_owned(), mode, ..CreateNamespaceRequest::default() };
    namespaces.create_namespace(own.clone()).await.unwrap();
    let mut cas = KvCasClient::new(fiberlb.clone());
    assert!(cas.compare_and_swap(put("fiberlb")).await.unwrap().into_inner().success);
    assert!(cas.get(get("fiberlb")).await.unwrap().into_inner().found);
    for refused in [
        cas.compare_and_swap(put("flashdns")).await.map(drop),
        cas.get(get("flashdns")).await.map(drop),
        cas.get(get("fiberlb2")).await.map(drop),
        namespaces
            .create_namespace(CreateNamespaceRequest { name: "fiberlb2".to_owned(), ..own })
            .await
            .map(drop),
        namespaces.delete_namespace(DeleteNamespaceRequest { name: "flashdns".to_owned() }).await.map(drop),
        MaintenanceClient::new(fiberlb.clone()).save_snapshot(SaveSnapshotRequest {}).await.map(drop),
        ClusterClient::new(fiberlb.clone()).remove_member(RemoveMemberRequest { node_id: 1 }).await.map(drop),
    ] {
        assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    }
    let listed = namespaces.list_namespaces(ListNamespacesRequest {}).await.unwrap().into_inner();
    let names: Vec<&str> = listed.namespaces.iter().map(|namespace| namespace.name.as_str()).collect();
    assert_eq!(names, ["fiberlb"]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewer_reads_everything_and_writes_nothing() {
    let cloud = Cloud::new();
    let node = cloud.single().await;
    create(&cloud.client([&node]), "notes", NamespaceMode::Strong).await;
    let viewer = node.caller(&cloud.viewer()).await;
    let mut cas = KvCasClient::new(viewer.clone());
    assert!(!cas.get(get("notes")).await.unwrap().into_inner().found);
    ClusterClient::new(viewer).status(StatusRequest {}).await.unwrap();
    assert_eq!(cas.compare_and_swap(put("notes")).await.unwrap_err().code(), Code::PermissionDenied);
    node.stop().await;
}
