//! Stores that speak etcd's v3 API under test: how they are asked is the same for each, how a node is started is the
//! program's.

mod chainfire;
mod etcd;
mod feed;
mod load;
mod membership;
mod verdict;

use std::{fmt::Debug, process::ExitStatus, time::Duration};

use anyhow::{Context as _, Result, ensure};
use chainfire_client::{Client, ClientConfig};
use chainfire_proto::etcdserverpb::{
    Compare, Member as Listed, MoveLeaderRequest, PutRequest, RangeRequest, RequestOp, StatusRequest,
    StatusResponse, TxnRequest, compare, maintenance_client::MaintenanceClient, request_op,
};
use tonic::transport::{Channel, Endpoint};

pub(super) use self::{chainfire::Chainfire, etcd::Etcd};
use super::{
    cluster::{Cluster, Disks, Folders, Member, SLOTS},
    nemesis::{Arena, Fault},
    subject::{Role, Standing, Subject},
    verdict::Verdict,
};

const STATUS_TIMEOUT: Duration = Duration::from_millis(700);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);
const CONNECT_AT_MOST: Duration = Duration::from_millis(500);
/// A connection on which nothing comes for so long is asked whether it lives, and has as long to say so.
const PING_EVERY: Duration = Duration::from_secs(1);

/// A program that speaks the API.
pub(super) trait Program: Debug + Sized + 'static {
    /// The words after `cargo xtask e2e` that choose it.
    const NAME: &'static str;
    /// The faults that it is put to.
    const FAULTS: &'static [Fault];
    /// As [`Subject::KEPT`].
    const KEPT: Option<&'static str>;

    /// As [`Subject::ended_well`].
    fn ended_well(status: ExitStatus) -> bool {
        status.success()
    }

    /// Makes what all nodes have in common.
    ///
    /// # Errors
    /// When something that is needed is missing.
    fn new(folders: &Folders) -> Result<Self>;

    /// As [`Subject::prepare`].
    ///
    /// # Errors
    /// When a file that the node needs cannot be written.
    fn prepare(&self, folders: &Folders, node: Member, members: &[Member]) -> Result<Vec<String>>;

    /// As [`Subject::snapshots`].
    ///
    /// # Errors
    /// When the node does not answer.
    fn snapshots(cluster: &Cluster<V3<Self>>, slot: usize) -> Result<Option<u64>>;

    /// Where clients reach the node in a slot.
    fn url(slot: usize) -> String;

    /// Where its peers do.
    fn peer_url(slot: usize) -> String;

    /// The id of a node that was just added to the members; `next` is free.
    fn id_of_new(listed: &Listed, next: u64) -> u64;

    /// Whether that member is the node with this id.
    fn is_node(listed: &Listed, id: u64) -> bool;
}

/// A store that speaks etcd's v3 API.
#[derive(Debug)]
pub(super) struct V3<P> {
    program: P,
    /// One connection for each slot, for asking the node about itself.
    status: Vec<Channel>,
}

impl<P: Program> Subject for V3<P> {
    type Load = load::Load;

    const NAME: &'static str = P::NAME;
    const FAULTS: &'static [Fault] = P::FAULTS;
    const KEPT: Option<&'static str> = P::KEPT;

    fn ended_well(status: ExitStatus) -> bool {
        P::ended_well(status)
    }

    fn new(folders: &Folders, disks: Disks) -> Result<Self> {
        ensure!(disks == Disks::Small, "{} is tested with small disks only", P::NAME);
        let status = (0..SLOTS).map(|slot| channel::<P>(slot, STATUS_TIMEOUT)).collect::<Result<_>>()?;
        Ok(Self { program: P::new(folders)?, status })
    }

    fn prepare(&self, folders: &Folders, node: Member, members: &[Member]) -> Result<Vec<String>> {
        self.program.prepare(folders, node, members)
    }

    async fn furnish(_cluster: &Cluster<Self>) -> Result<()> {
        Ok(())
    }

    async fn doubts(&self, slot: usize) -> Result<String> {
        let status = self.status(slot).await?;
        if status.leader == 0 {
            return Ok("it knows no leader".to_owned());
        }
        if !status.errors.is_empty() {
            return Ok(status.errors.join("; "));
        }
        let read = client(&[P::url(slot)], STATUS_TIMEOUT)?.range(one("probe")).await;
        Ok(read.err().map(|error| format!("it does not answer reads: {}", chain(&error))).unwrap_or_default())
    }

    async fn standing(&self, slot: usize) -> Result<Standing> {
        let status = self.status(slot).await?;
        let own = status.header.context("a status without a header")?.member_id;
        let role = match status.leader {
            0 => Role::Other,
            leader if leader == own => Role::Leader,
            _ => Role::Follower,
        };
        Ok(Standing {
            role,
            term: status.raft_term,
            last_log_index: status.raft_index,
            purged_index: None,
            committed_index: status.raft_index,
            applied_index: status.raft_applied_index,
        })
    }

    async fn read(_cluster: &Cluster<Self>, slot: usize, timeout: Duration) -> Result<()> {
        client(&[P::url(slot)], timeout)?.range(one("probe")).await?;
        Ok(())
    }

    async fn refused_for_space(cluster: &Cluster<Self>, timeout: Duration) -> Option<String> {
        let urls: Vec<_> = cluster.members().into_iter().map(P::url).collect();
        // It creates nothing even if there is room: the key is never at this revision.
        match client(&urls, timeout).ok()?.txn(swap("probe", i64::MAX, put("probe", "probe"))).await {
            Err(chainfire_client::Error::NoSpace { message }) => Some(message),
            _ => None,
        }
    }

    async fn clock_ms(_cluster: &Cluster<Self>, _slot: usize) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn snapshots(cluster: &Cluster<Self>, slot: usize) -> Result<Option<u64>> {
        P::snapshots(cluster, slot)
    }

    async fn hand_over(cluster: &Cluster<Self>, slot: usize) -> Result<()> {
        let (leader, _) = cluster.leader().await?;
        let status = cluster.subject().status(slot).await?;
        let target_id = status.header.context("a status without a header")?.member_id;
        let channel = channel::<P>(leader, ADMIN_TIMEOUT)?;
        MaintenanceClient::new(channel).move_leader(MoveLeaderRequest { target_id }).await?;
        Ok(())
    }

    async fn welcome(cluster: &mut Cluster<Self>, slot: usize) -> Result<u64> {
        membership::welcome(cluster, slot).await
    }

    async fn promote(cluster: &Cluster<Self>, id: u64) -> Result<()> {
        membership::promote(cluster, id).await
    }

    async fn remove(cluster: &Cluster<Self>, id: u64) -> Result<()> {
        membership::remove(cluster, id).await
    }

    async fn voters(cluster: &Cluster<Self>) -> Result<Vec<u64>> {
        membership::voters(cluster).await
    }

    async fn judge(arena: &mut Arena<Self>) -> Result<Verdict> {
        verdict::judge(arena).await
    }
}

impl<P> V3<P> {
    async fn status(&self, slot: usize) -> Result<StatusResponse> {
        let channel = self.status.get(slot).context("there is no such slot")?.clone();
        let status = MaintenanceClient::new(channel).status(StatusRequest {}).await;
        Ok(status.with_context(|| format!("slot {slot} does not tell its status"))?.into_inner())
    }
}

/// A connection to a slot, made with its first call.
fn channel<P: Program>(slot: usize, timeout: Duration) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(P::url(slot))?;
    let endpoint = endpoint.timeout(timeout).connect_timeout(CONNECT_AT_MOST);
    let endpoint = endpoint.http2_keep_alive_interval(PING_EVERY).keep_alive_timeout(PING_EVERY);
    Ok(endpoint.connect_lazy())
}

/// A client of these nodes.
fn client(urls: &[String], timeout: Duration) -> Result<Client> {
    let config = ClientConfig {
        endpoints: urls.to_vec(),
        request_timeout: timeout,
        connect_timeout: CONNECT_AT_MOST,
        ..ClientConfig::default()
    };
    Ok(Client::new(config)?)
}

/// A client of every slot.
fn client_of_all<P: Program>(timeout: Duration) -> Result<Client> {
    client(&(0..SLOTS).map(P::url).collect::<Vec<_>>(), timeout)
}

/// An error with its causes.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        words = format!("{words}: {cause}");
        next = cause.source();
    }
    words
}

/// Reads one key.
fn one(key: &str) -> RangeRequest {
    RangeRequest { key: key.to_owned().into(), ..RangeRequest::default() }
}

fn put(key: &str, value: &str) -> RequestOp {
    let put =
        PutRequest { key: key.to_owned().into(), value: value.to_owned().into(), ..PutRequest::default() };
    RequestOp { request: Some(request_op::Request::RequestPut(put)) }
}

/// Does it if the key was last changed by this revision (0: it is not there), and reads the key if not.
fn swap(key: &str, mod_revision: i64, then: RequestOp) -> TxnRequest {
    let compare = Compare {
        result: compare::CompareResult::Equal.into(),
        target: compare::CompareTarget::Mod.into(),
        key: key.to_owned().into(),
        target_union: Some(compare::TargetUnion::ModRevision(mod_revision)),
        ..Compare::default()
    };
    let read = RequestOp { request: Some(request_op::Request::RequestRange(one(key))) };
    TxnRequest { compare: vec![compare], success: vec![then], failure: vec![read] }
}
