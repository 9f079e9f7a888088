//! Nodes that join, move and go.

use chainfire_proto::etcdserverpb::{
    MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest, MemberUpdateRequest,
};

use crate::cloud::{Cloud, Running, free_address, wait_for};

/// The members as (id, whether it votes, whether clients know where it is).
async fn members(node: &Running) -> Vec<(u64, bool, bool)> {
    let members =
        node.cluster().member_list(MemberListRequest { linearizable: true }).await.unwrap().into_inner();
    let members = members.members.into_iter();
    members.map(|member| (member.id, !member.is_learner, !member.client_ur_ls.is_empty())).collect()
}

async fn shows(node: &Running, expected: &[(u64, bool, bool)]) {
    wait_for("the members are these", async || (members(node).await == expected).then_some(())).await;
}

fn add(url: String, is_learner: bool) -> MemberAddRequest {
    MemberAddRequest { peer_ur_ls: vec![url], is_learner }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn node_that_is_added_votes_once_it_has_caught_up_and_can_be_removed() {
    let cloud = Cloud::new();
    let first = cloud.single().await;
    first.put("before", "1").await.unwrap();
    let address = free_address();
    let url = format!("https://{address}");
    let added = first.cluster().member_add(add(url.clone(), false)).await.unwrap().into_inner();
    let member = added.member.unwrap();
    assert!(member.is_learner && added.members.len() == 2);
    let again = first.cluster().member_add(add(url, false)).await.unwrap_err();
    assert_eq!(again.message(), "etcdserver: Peer URLs already exists");
    let second = cloud.start(cloud.config(member.id, address, &[])).await.unwrap();
    second.ready().await;
    shows(&first, &[(1, true, true), (member.id, true, true)]).await;
    assert_eq!(second.get("before").await.as_deref(), Some("1"));
    second.put("through the new one", "1").await.unwrap();
    // Asked of the one that does not lead.
    let removed = second.cluster().member_remove(MemberRemoveRequest { id: member.id }).await.unwrap();
    assert_eq!(removed.into_inner().members.len(), 1);
    shows(&first, &[(1, true, true)]).await;
    first.put("after", "1").await.unwrap();
    second.stop().await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn leader_can_be_asked_to_remove_itself() {
    let cloud = Cloud::new();
    let mut nodes = cloud.three().await;
    let leader = nodes.remove(0);
    let id = leader.config.node.id;
    let left = leader.cluster().member_remove(MemberRemoveRequest { id }).await.unwrap().into_inner().members;
    assert_eq!(left.len(), 2);
    nodes[0].put("after", "1").await.unwrap();
    assert!(members(&nodes[1]).await.iter().all(|(member, ..)| *member != id));
    for node in nodes.into_iter().chain([leader]) {
        node.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn learner_stays_one_until_it_is_promoted_and_members_are_named_as_etcd_does() {
    let cloud = Cloud::new();
    let first = cloud.single().await;
    let address = free_address();
    let added = first.cluster().member_add(add(format!("https://{address}"), true)).await.unwrap();
    let id = added.into_inner().member.unwrap().id;
    let early = first.cluster().member_promote(MemberPromoteRequest { id }).await.unwrap_err();
    assert_eq!(early.message(), "etcdserver: can only promote a learner member which is in sync with leader");
    let second = cloud.start(cloud.config(id, address, &[])).await.unwrap();
    second.ready().await;
    shows(&first, &[(1, true, true), (id, false, true)]).await;
    second.cluster().member_promote(MemberPromoteRequest { id }).await.unwrap();
    shows(&first, &[(1, true, true), (id, true, true)]).await;
    let mut cluster = first.cluster();
    let refused = [
        cluster.member_promote(MemberPromoteRequest { id }).await.unwrap_err(),
        cluster.member_remove(MemberRemoveRequest { id: 99 }).await.unwrap_err(),
        cluster
            .member_update(MemberUpdateRequest { id, peer_ur_ls: vec!["nowhere".to_owned()] })
            .await
            .unwrap_err(),
    ];
    let expected = [
        "etcdserver: can only promote a learner member",
        "etcdserver: member not found",
        "etcdserver: given peer URLs are invalid",
    ];
    assert_eq!(refused.map(|status| status.message().to_owned()), expected.map(str::to_owned));
    second.stop().await;
    first.stop().await;
}
