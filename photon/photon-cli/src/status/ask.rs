//! Asks one process: a health check, and of FlareDB what its node sees of the cluster.

use std::time::Duration;

use flaredb_proto::v1::{RegionStatus, StatusRequest, StatusResponse, cluster_client::ClusterClient};
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
    FlareDb,
    FlashDns,
}

/// What a process answered.
#[derive(Debug)]
pub(super) struct Answer {
    /// What it says about itself.
    pub(super) report: Option<Report>,
    /// Whether it serves, or why it did not answer.
    pub(super) serving: Result<bool, String>,
    /// What a FlareDB node sees of its cluster, or why it did not say.
    pub(super) database: Option<Result<StatusResponse, String>>,
}

/// Asks one process everything.
pub(super) async fn ask(credentials: &Credentials, kind: Kind, endpoint: &str, timeout: Duration) -> Answer {
    let caller = match credentials.caller(endpoint) {
        Ok(caller) => caller,
        Err(error) => return Answer { report: None, serving: Err(error.to_string()), database: None },
    };
    let health = check(caller.clone(), timeout).await;
    let database = match (&health, kind) {
        (Ok(_), Kind::FlareDb) => Some(cluster(caller, timeout).await),
        _ => None,
    };
    let report = health.as_ref().ok().and_then(report);
    let serving = health.map(|answer| answer.get_ref().status() == ServingStatus::Serving);
    Answer { report, serving, database }
}

async fn check(caller: Caller, timeout: Duration) -> Result<Response<HealthCheckResponse>, String> {
    let answer = HealthClient::new(caller).check(request(HealthCheckRequest::default(), timeout)).await;
    answer.map_err(|status| words(&status))
}

async fn cluster(caller: Caller, timeout: Duration) -> Result<StatusResponse, String> {
    let answer = ClusterClient::new(caller).status(request(StatusRequest {}, timeout)).await;
    answer.map(Response::into_inner).map_err(|status| words(&status))
}

fn words(status: &Status) -> String {
    status_words(status)
}

fn report(answer: &Response<HealthCheckResponse>) -> Option<Report> {
    let bytes = answer.metadata().get_bin(PROCESS_METADATA)?.to_bytes().ok()?;
    Report::parse(&bytes)
}

impl Answer {
    fn region(&self) -> Option<&RegionStatus> {
        // There is one region; with several, the first is the one that knows the cluster's members.
        self.database.as_ref()?.as_ref().ok()?.regions.first()
    }

    /// Endpoints of the FlareDB nodes that this one knows.
    pub(super) fn members(&self) -> impl Iterator<Item = &str> {
        self.region().into_iter().flat_map(|region| &region.members).map(|member| member.endpoint.as_str())
    }

    /// How far the cluster is, as far as this node knows.
    pub(super) fn committed(&self) -> Option<u64> {
        self.region().map(|region| region.committed_index)
    }

    /// The row of this process; `committed` is how far the furthest node of the cluster is.
    pub(super) fn row(&self, kind: Kind, endpoint: &str, committed: Option<u64>) -> ProcessRow {
        let region = self.region();
        let applied = region.map(|region| region.applied_index);
        ProcessRow {
            process: self.process(kind),
            endpoint: endpoint.to_owned(),
            role: region.map_or_else(|| role(kind).to_owned(), |region| region.role.clone()),
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
        let database = self.database.as_ref().and_then(|answer| answer.as_ref().err());
        let database = database.map(|why| format!("the cluster's status: {why}"));
        [Some(own), database]
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
        Kind::FlareDb => "database",
        Kind::FlashDns => "dns",
    }
}
