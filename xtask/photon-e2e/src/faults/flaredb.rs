//! FlareDB under test: how its nodes are asked, and what only its clients and its faults know of.

mod eventual_cut;
mod feed;
mod load;
mod membership;
pub(super) mod replace;
mod strangers;
mod verdict;

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use flaredb_client::{ClientConfig, Error, RdbClient, Tls};
use flaredb_proto::v1::{CreateNamespaceRequest, NamespaceMode, StatusResponse};
use photon_runtime::client::ClientTls;

use super::{
    cluster::{Cluster, Disks, Folders, Member, Plan, SLOTS, url},
    nemesis::{Arena, Fault, Proof, name_of},
    subject::{Role, Standing, Subject},
    verdict::Verdict,
};

/// The namespace of compared writes.
const STRONG: &str = "strong";
/// The namespace of timestamped writes.
const EVENTUAL: &str = "eventual";

/// Much is cut from the log and much is kept of history, so that short absences need snapshots and every revision can
/// be read back.
const SMALL: &str = "[storage]\nlog_entries_kept = 200\ncheckpoint_interval_ms = 1000\n\
                       history_revisions_max = 10000000\nhistory_age_min_ms = 86400000\naudit_interval_ms = 5000\n";

/// The log is cut soon, so that a new node needs a snapshot; everything else is as users have it.
const LARGE: &str = "[storage]\nlog_entries_kept = 100\ncheckpoint_interval_ms = 1000\n";

const STATUS_TIMEOUT: Duration = Duration::from_millis(700);
const ADMIN_TIMEOUT: Duration = Duration::from_secs(20);
const CLOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// FlareDB.
#[derive(Debug)]
pub(super) struct Flaredb {
    plan: Plan,
    credentials: ClientTls,
    /// One client for each slot, which asks that node and no other.
    status: Vec<RdbClient>,
}

impl Subject for Flaredb {
    type Load = load::Load;

    const NAME: &'static str = "flaredb";
    const FAULTS: &'static [Fault] = &[
        Fault::KillLeader,
        Fault::KillAny,
        Fault::KillAll,
        Fault::PauseLeader,
        Fault::IsolateLeader,
        Fault::OneWay,
        Fault::Loss,
        Fault::DiskFullOne,
        Fault::DiskFullAll,
        Fault::SyncError,
        Fault::SlowDisk,
        Fault::TornTail,
        Fault::LostTail,
        Fault::Clock,
        Fault::RollingRestart,
        Fault::SnapshotCatchUp,
        Fault::ForeignNode,
        Fault::TwinNode,
        Fault::Membership,
        Fault::LaggingLearner,
        Fault::EventualCut,
    ];
    const KEPT: Option<&'static str> = Some("node/state/LOG");

    fn new(folders: &Folders, disks: Disks) -> Result<Self> {
        let storage: fn(Member) -> String = match disks {
            Disks::Small => |_| SMALL.to_owned(),
            Disks::Large => |_| LARGE.to_owned(),
        };
        let plan = Plan::new(folders, "flaredb", storage)?;
        let credentials = plan.credentials()?;
        let client = |slot| connect(&credentials, vec![url(slot)], STATUS_TIMEOUT);
        let status = (0..SLOTS).map(client).collect::<Result<_>>()?;
        Ok(Self { plan, credentials, status })
    }

    fn prepare(&self, _folders: &Folders, node: Member, members: &[Member]) -> Result<Vec<String>> {
        self.plan.prepare(node, members)
    }

    /// Creates the two namespaces.
    async fn furnish(cluster: &Cluster<Self>) -> Result<()> {
        let namespaces = cluster.admin()?.namespaces();
        for (name, mode) in [(STRONG, NamespaceMode::Strong), (EVENTUAL, NamespaceMode::Eventual)] {
            let wanted =
                CreateNamespaceRequest { name: name.to_owned(), mode: mode.into(), ..Default::default() };
            namespaces.create(wanted).await.with_context(|| format!("namespace {name} was not created"))?;
        }
        Ok(())
    }

    async fn doubts(&self, slot: usize) -> Result<String> {
        let status = self.status(slot).await?;
        let doubts: Vec<_> = status.conditions.iter().filter(|condition| !condition.ok).collect();
        Ok(if doubts.is_empty() { String::new() } else { format!("{doubts:?}") })
    }

    async fn standing(&self, slot: usize) -> Result<Standing> {
        let region =
            self.status(slot).await?.regions.into_iter().next().context("a node without a region")?;
        let role = match region.role.as_str() {
            "leader" => Role::Leader,
            "follower" => Role::Follower,
            _ => Role::Other,
        };
        Ok(Standing {
            role,
            term: region.term,
            last_log_index: region.last_log_index,
            purged_index: Some(region.purged_index),
            committed_index: region.committed_index,
            applied_index: region.applied_index,
        })
    }

    async fn read(cluster: &Cluster<Self>, slot: usize, timeout: Duration) -> Result<()> {
        cluster.client(&[slot], timeout)?.get(STRONG, "probe").await.map(drop).map_err(Into::into)
    }

    async fn refused_for_space(cluster: &Cluster<Self>, timeout: Duration) -> Option<String> {
        let client = cluster.client(&cluster.members(), timeout).ok()?;
        // It creates nothing even if there is room: the key is never at this version.
        match client.cas_put(STRONG, "probe", "probe", u64::MAX - 1).await {
            Err(Error::NoSpace { message, .. }) => Some(message),
            _ => None,
        }
    }

    async fn clock_ms(cluster: &Cluster<Self>, slot: usize) -> Result<Option<u64>> {
        Ok(Some(cluster.client(&[slot], CLOCK_TIMEOUT)?.maintenance().examine().await?.clock_ms))
    }

    /// What a leader has purged proves it.
    async fn snapshots(_cluster: &Cluster<Self>, _slot: usize) -> Result<Option<u64>> {
        Ok(None)
    }

    async fn hand_over(cluster: &Cluster<Self>, slot: usize) -> Result<()> {
        cluster.admin()?.cluster().transfer_leader(cluster.id(slot)?).await?;
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
        let members = cluster.admin()?.cluster().members().await.context("the members are not told")?;
        Ok(members.into_iter().filter(|member| member.voter).map(|member| member.node_id).collect())
    }

    async fn suffer(arena: &mut Arena<Self>, fault: Fault) -> Result<Proof> {
        match fault {
            Fault::ForeignNode => arena.foreign_node().await,
            Fault::TwinNode => arena.twin_node().await,
            Fault::LaggingLearner => arena.lagging_learner().await,
            Fault::EventualCut => arena.eventual_cut().await,
            _ => bail!("{} has no {} of its own", Self::NAME, name_of(fault)),
        }
    }

    async fn judge(arena: &mut Arena<Self>) -> Result<Verdict> {
        verdict::judge(arena).await
    }
}

impl Flaredb {
    /// What a slot's node says of itself.
    async fn status(&self, slot: usize) -> Result<StatusResponse> {
        let client = self.status.get(slot).context("there is no such slot")?;
        let status = client.cluster().status().await;
        status.with_context(|| format!("slot {slot} does not tell its status"))
    }
}

impl Cluster<Flaredb> {
    /// A client of these slots.
    ///
    /// # Errors
    /// When its configuration is refused.
    fn client(&self, slots: &[usize], timeout: Duration) -> Result<RdbClient> {
        connect(self.credentials(), slots.iter().map(|&slot| url(slot)).collect(), timeout)
    }

    /// A client for changes of the cluster.
    ///
    /// # Errors
    /// When its configuration is refused.
    fn admin(&self) -> Result<RdbClient> {
        self.client(&self.members(), ADMIN_TIMEOUT)
    }

    /// The operator's credentials.
    fn credentials(&self) -> &ClientTls {
        &self.subject().credentials
    }
}

fn connect(credentials: &ClientTls, endpoints: Vec<String>, timeout: Duration) -> Result<RdbClient> {
    let ca = credentials.ca_pem().context("there is no CA")?.to_vec();
    let config = ClientConfig {
        endpoints,
        tls: Some(Tls { ca, identity: None }),
        token: credentials.token().map(str::to_owned),
        request_timeout: timeout,
        connect_timeout: Duration::from_millis(500),
        ..ClientConfig::default()
    };
    Ok(RdbClient::new(config)?)
}
