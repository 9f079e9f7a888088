//! Asks one process: a health check, and of FlareDB and ChainFire what its node sees of the cluster.

use std::time::Duration;

use chainfire_proto::etcdserverpb;
use flaredb_proto::v1::{RegionStatus, StatusRequest, cluster_client::ClusterClient};
use photon_runtime::health::PROCESS_METADATA;
use tonic::{Response, Status};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus,
    health_client::HealthClient,
};

use super::{Health, ProcessRow, report::Report};
use crate::{
    connect::{Caller, Credentials, request},
    failure::status_words,
};

/// What a process is, as the context or another process says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    ChainFire,
    FlareDb,
    FlashDns,
}

/// What a node of a cluster sees of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Leader, follower or learner.
    pub(super) role: String,
    /// Log entries that it has applied.
    pub(super) applied: u64,
    /// Log entries that it knows to be committed.
    pub(super) committed: u64,
    /// Where the members of its cluster are asked.
    pub(super) members: Vec<String>,
}

/// What a process answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// What it says about itself.
    pub(super) report: Option<Report>,
    /// Whether it serves, or why it did not answer.
    pub(super) serving: Result<bool, String>,
    /// What a node of a cluster sees of it, or why it did not say.
    pub(super) cluster: Option<Result<Seen, String>>,
}

/// Asks one process everything.
pub(super) async fn ask(credentials: &Credentials, kind: Kind, endpoint: &str, timeout: Duration) -> Answer {
    let caller = match credentials.caller(endpoint) {
        Ok(caller) => caller,
        Err(error) => return Answer { report: None, serving: Err(error.to_string()), cluster: None },
    };
    let health = check(caller.clone(), timeout).await;
    let cluster = match (&health, kind) {
        (Ok(_), Kind::FlareDb) => Some(flaredb(caller, timeout).await),
        (Ok(_), Kind::ChainFire) => Some(chainfire(caller, timeout).await),
        _ => None,
    };
    let report = health.as_ref().ok().and_then(report);
    let serving = health.map(|answer| answer.get_ref().status() == ServingStatus::Serving);
    Answer { report, serving, cluster: cluster.map(|seen| seen.map_err(|status| status_words(&status))) }
}

async fn check(caller: Caller, timeout: Duration) -> Result<Response<HealthCheckResponse>, String> {
    let answer = HealthClient::new(caller).check(request(HealthCheckRequest::default(), timeout)).await;
    answer.map_err(|status| status_words(&status))
}

async fn flaredb(caller: Caller, timeout: Duration) -> Result<Seen, Status> {
    let status = ClusterClient::new(caller).status(request(StatusRequest {}, timeout)).await?.into_inner();
    // There is one region; with several, the first is the one that knows the cluster's members.
    Ok(status.regions.into_iter().next().map(of_region).unwrap_or_default())
}

fn of_region(region: RegionStatus) -> Seen {
    Seen {
        role: region.role,
        applied: region.applied_index,
        committed: region.committed_index,
        members: region.members.into_iter().map(|member| member.endpoint).collect(),
    }
}

async fn chainfire(caller: Caller, timeout: Duration) -> Result<Seen, Status> {
    let mut maintenance = etcdserverpb::maintenance_client::MaintenanceClient::new(caller.clone());
    let status = maintenance.status(request(etcdserverpb::StatusRequest {}, timeout)).await?.into_inner();
    // What this node knows itself is enough, and there also when nobody leads.
    let list = etcdserverpb::MemberListRequest { linearizable: false };
    let mut cluster = etcdserverpb::cluster_client::ClusterClient::new(caller);
    let members = cluster.member_list(request(list, timeout)).await?.into_inner().members;
    Ok(Seen {
        role: role_in_chainfire(&status).to_owned(),
        applied: status.raft_applied_index,
        committed: status.raft_index,
        members: members.into_iter().flat_map(|member| member.client_ur_ls).collect(),
    })
}

/// What a ChainFire node is in its cluster, by its own status.
pub(crate) fn role_in_chainfire(status: &etcdserverpb::StatusResponse) -> &'static str {
    let own = status.header.as_ref().map(|header| header.member_id);
    match own {
        _ if status.is_learner => "learner",
        Some(own) if own == status.leader => "leader",
        _ => "follower",
    }
}

fn report(answer: &Response<HealthCheckResponse>) -> Option<Report> {
    let bytes = answer.metadata().get_bin(PROCESS_METADATA)?.to_bytes().ok()?;
    Report::parse(&bytes)
}

impl Answer {
    fn seen(&self) -> Option<&Seen> {
        self.cluster.as_ref()?.as_ref().ok()
    }

    /// Where the members of this node's cluster are asked.
    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.seen().into_iter().flat_map(|seen| &seen.members).map(String::as_str)
    }

    /// How far the cluster is, as far as this node knows.
    pub(super) fn committed(&self) -> Option<u64> {
        self.seen().map(|seen| seen.committed)
    }

    /// The row of this process; `committed` is how far the furthest node of the cluster is.
    pub(super) fn row(&self, kind: Kind, endpoint: &str, committed: Option<u64>) -> ProcessRow {
        let seen = self.seen();
        let applied = seen.map(|seen| seen.applied);
        ProcessRow {
            process: self.process(kind),
            endpoint: endpoint.to_owned(),
            role: seen.map_or_else(|| role(kind).to_owned(), |seen| seen.role.clone()),
            health: self.health(),
            version: self.report.as_ref().map_or_else(|| "-".to_owned(), |report| report.version.clone()),
            applied,
            lag: committed.zip(applied).map(|(committed, applied)| committed.saturating_sub(applied)),
            why: self.why(),
        }
    }

    fn process(&self, kind: Kind) -> String {
        match (&self.report, kind) {
            (Some(report), _) if report.node.is_empty() => report.service.clone(),
            (Some(report), _) => format!("{}/{}", report.service, report.node),
            (None, Kind::ChainFire) => "chainfire".to_owned(),
            (None, Kind::FlareDb) => "flaredb".to_owned(),
            (None, Kind::FlashDns) => "flashdns".to_owned(),
        }
    }

    fn health(&self) -> Health {
        match &self.serving {
            Ok(_) if self.report.as_ref().is_some_and(|report| report.draining) => Health::Draining,
            Ok(true) => Health::Ready,
            Ok(false) => Health::NotReady,
            Err(_) => Health::NoAnswer,
        }
    }

    fn why(&self) -> String {
        let own = match &self.serving {
            Err(why) => why.clone(),
            Ok(_) => self.report.as_ref().map(Report::why).unwrap_or_default(),
        };
        let cluster = self.cluster.as_ref().and_then(|answer| answer.as_ref().err());
        let cluster = cluster.map(|why| format!("the cluster's status: {why}"));
        [Some(own), cluster]
            .into_iter()
            .flatten()
            .filter(|words| !words.is_empty())
            .collect::<Vec<_>>()
            .join("; ")
    }
}

/// The role of a process that has no other, or of which nothing else is known.
fn role(kind: Kind) -> &'static str {
    match kind {
        Kind::ChainFire => "coordination",
        Kind::FlareDb => "database",
        Kind::FlashDns => "dns",
    }
}
