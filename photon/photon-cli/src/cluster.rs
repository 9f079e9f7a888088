//! `photon cluster`: who belongs to ChainFire's cluster.
//!
//! The members are what the cluster itself has agreed on; each is then asked how it is, all at once. One that does not
//! answer is a row that says so.

use anyhow::{Context as _, Result};
use chainfire_proto::etcdserverpb::{
    Member, MemberListRequest, StatusRequest, StatusResponse, cluster_client::ClusterClient,
    maintenance_client::MaintenanceClient,
};
use clap::Subcommand;
use futures::future::join_all;
use serde::Serialize;
use std::time::Duration;
use tonic::Status;

use crate::{
    connect::{Credentials, request},
    context,
    failure::{Misuse, status_words},
    output::{Output, Row},
    status::role_in_chainfire,
};

/// Verbs on the cluster.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// List the members of ChainFire's cluster, and how each of them is.
    Members,
}

/// One member.
#[derive(Debug, Serialize)]
struct MemberRow {
    /// Sixteen hexadecimal digits, as `etcdctl` writes them.
    id: String,
    name: String,
    role: String,
    client_urls: Vec<String>,
    peer_urls: Vec<String>,
    version: String,
    why: String,
}

impl Row for MemberRow {
    const COLUMNS: &'static [&'static str] =
        &["ID", "NAME", "ROLE", "CLIENT URLS", "PEER URLS", "VERSION", "WHY"];

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.name.clone(),
            self.role.clone(),
            self.client_urls.join(","),
            self.peer_urls.join(","),
            self.version.clone(),
            self.why.clone(),
        ]
    }
}

/// Carries out a verb on the cluster.
///
/// # Errors
/// When no node of the context answers, or the context cannot be used.
pub(crate) async fn run(verb: Verb, context: Option<&str>, output: Output, timeout_s: u64) -> Result<()> {
    let context = context::load(context)?;
    let credentials = Credentials::read(&context)?;
    let timeout = Duration::from_secs(timeout_s);
    match verb {
        Verb::Members => {
            let members = members(&credentials, &context.chainfire_endpoints, timeout).await?;
            let rows = members.into_iter().map(async |member| row(&credentials, member, timeout).await);
            Ok(output.rows(&join_all(rows).await)?)
        }
    }
}

/// What the first node that answers knows.
async fn members(credentials: &Credentials, endpoints: &[String], timeout: Duration) -> Result<Vec<Member>> {
    let mut failed = None;
    for endpoint in endpoints {
        let mut cluster = ClusterClient::new(credentials.caller(endpoint)?);
        // What one node knows is there also when nobody leads, which is when people ask.
        let asked = cluster.member_list(request(MemberListRequest { linearizable: false }, timeout)).await;
        match asked {
            Ok(answer) => return Ok(answer.into_inner().members),
            Err(status) => failed = Some((status, endpoint)),
        }
    }
    let Some((status, endpoint)) = failed else {
        return Err(Misuse(
            "the context has no ChainFire: add --chainfire-endpoint to photon context set".to_owned(),
        )
        .into());
    };
    Err(status).with_context(|| format!("no node of ChainFire answered; the last one asked was {endpoint}"))
}

async fn row(credentials: &Credentials, member: Member, timeout: Duration) -> MemberRow {
    let status = match member.client_ur_ls.first() {
        Some(endpoint) => ask(credentials, endpoint, timeout).await,
        None => Err("it has not been started yet".to_owned()),
    };
    let role = match &status {
        Ok(status) => role_in_chainfire(status),
        Err(_) if member.is_learner => "learner",
        Err(_) => "voter",
    };
    MemberRow {
        id: format!("{:016x}", member.id),
        name: member.name,
        role: role.to_owned(),
        client_urls: member.client_ur_ls,
        peer_urls: member.peer_ur_ls,
        version: status.as_ref().map_or_else(|_| "-".to_owned(), |status| status.version.clone()),
        why: status.map_or_else(|why| why, |status| status.errors.join("; ")),
    }
}

async fn ask(credentials: &Credentials, endpoint: &str, timeout: Duration) -> Result<StatusResponse, String> {
    let caller = credentials.caller(endpoint).map_err(|error| error.to_string())?;
    let asked: Result<_, Status> =
        MaintenanceClient::new(caller).status(request(StatusRequest {}, timeout)).await;
    asked.map(tonic::Response::into_inner).map_err(|status| status_words(&status))
}
