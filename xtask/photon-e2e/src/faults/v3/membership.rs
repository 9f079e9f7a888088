//! Members by etcd's API: a node is added as a learner before it starts, gets a vote when the leader finds that it has
//! caught up, and is removed by the id that the cluster gave it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use chainfire_proto::etcdserverpb::{
    Member as Listed, MemberAddRequest, MemberListRequest, MemberPromoteRequest, MemberRemoveRequest,
    cluster_client::ClusterClient,
};
use tonic::{Status, transport::Channel};

use super::{Program, V3, channel};
use crate::{
    faults::{
        cluster::{Cluster, Member},
        nemesis::CHANGED_AT_MOST,
    },
    wait::wait_for,
};

/// How long one call may take before another node is asked.
const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// Adds a learner at the slot's address, and starts the node.
pub(super) async fn welcome<P: Program>(cluster: &mut Cluster<V3<P>>, slot: usize) -> Result<u64> {
    let url = P::peer_url(slot);
    let is_there = |listed: &[Listed]| listed.iter().any(|member| member.peer_ur_ls.contains(&url));
    let request = MemberAddRequest { peer_ur_ls: vec![url.clone()], is_learner: true };
    changed(cluster, is_there, async |mut asked: ClusterClient<Channel>, _| {
        asked.member_add(request.clone()).await.map(drop)
    })
    .await?;
    let listed = members(cluster).await?;
    let own = listed.iter().find(|member| member.peer_ur_ls.contains(&url)).context("it is no member")?;
    let id = P::id_of_new(own, cluster.next_id());
    let mut nodes = vec![Member { id, slot }];
    for slot in cluster.members() {
        nodes.push(Member { id: cluster.id(slot)?, slot });
    }
    cluster.settle_as(id, slot, &nodes)?;
    Ok(id)
}

pub(super) async fn promote<P: Program>(cluster: &Cluster<V3<P>>, id: u64) -> Result<()> {
    let votes = |listed: &[Listed]| listed.iter().any(|member| P::is_node(member, id) && !member.is_learner);
    changed(cluster, votes, async |mut asked: ClusterClient<Channel>, listed| match number::<P>(listed, id) {
        Some(id) => asked.member_promote(MemberPromoteRequest { id }).await.map(drop),
        None => Err(Status::not_found("it has not told its name yet")),
    })
    .await
}

pub(super) async fn remove<P: Program>(cluster: &Cluster<V3<P>>, id: u64) -> Result<()> {
    let is_gone = |listed: &[Listed]| !listed.iter().any(|member| P::is_node(member, id));
    changed(cluster, is_gone, async |mut asked: ClusterClient<Channel>, listed| {
        match number::<P>(listed, id) {
            Some(id) => asked.member_remove(MemberRemoveRequest { id }).await.map(drop),
            None => Ok(()),
        }
    })
    .await
}

/// The ids of those of our nodes that vote.
pub(super) async fn voters<P: Program>(cluster: &Cluster<V3<P>>) -> Result<Vec<u64>> {
    let listed = members(cluster).await?;
    let mut voters = Vec::new();
    for slot in cluster.members() {
        let id = cluster.id(slot)?;
        if listed.iter().any(|member| P::is_node(member, id) && !member.is_learner) {
            voters.push(id);
        }
    }
    ensure!(
        voters.len() == listed.iter().filter(|member| !member.is_learner).count(),
        "not all are ours: {listed:?}"
    );
    Ok(voters)
}

fn number<P: Program>(listed: &[Listed], id: u64) -> Option<u64> {
    listed.iter().find(|member| P::is_node(member, id)).map(|member| member.id)
}

/// The members that the leader knows.
async fn members<P: Program>(cluster: &Cluster<V3<P>>) -> Result<Vec<Listed>> {
    let (leader, _) = cluster.leader().await?;
    let mut client = ClusterClient::new(channel::<P>(leader, CALL_TIMEOUT)?);
    list(&mut client).await.context("the members are not told")
}

async fn list(asked: &mut ClusterClient<Channel>) -> Result<Vec<Listed>, Status> {
    Ok(asked.member_list(MemberListRequest { linearizable: true }).await?.into_inner().members)
}

/// Makes a change until the members are as wanted: what is refused for now, or of unknown outcome, is looked at and
/// asked for again, of one node after the other.
async fn changed<P: Program>(
    cluster: &Cluster<V3<P>>,
    is_wanted: impl Fn(&[Listed]) -> bool,
    change: impl AsyncFn(ClusterClient<Channel>, &[Listed]) -> Result<(), Status>,
) -> Result<()> {
    let channels: Vec<Channel> =
        cluster.members().into_iter().map(|slot| channel::<P>(slot, CALL_TIMEOUT)).collect::<Result<_>>()?;
    let mut turns = channels.iter().cycle();
    let mut last = None;
    let done = wait_for("the members to change", CHANGED_AT_MOST, async || {
        let mut asked = ClusterClient::new(turns.next()?.clone());
        let listed = list(&mut asked).await.inspect_err(|status| last = Some(status.clone())).ok()?;
        if is_wanted(&listed) {
            return Some(());
        }
        change(asked, &listed).await.inspect_err(|status| last = Some(status.clone())).ok()?;
        None
    })
    .await;
    done.with_context(|| format!("the last refusal was {last:?}"))
}
