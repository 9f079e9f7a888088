//! `photon status`: every process of the cloud, its role, its health and, if it is not ready, why.
//!
//! All are asked at once; one that does not answer is a row that says so. FlareDB's and ChainFire's nodes name their
//! members, so that a node is shown even when the context does not know it.

mod ask;
mod report;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Result;
use futures::future::join_all;
use serde::Serialize;

pub(crate) use self::ask::role_in_chainfire;
use self::ask::{Answer, Kind};
use crate::{
    connect::Credentials,
    context,
    failure::{Misuse, Unhealthy},
    output::{Output, Row},
};

/// One process.
#[derive(Debug, Serialize)]
struct ProcessRow {
    process: String,
    endpoint: String,
    role: String,
    health: Health,
    version: String,
    /// FlareDB and ChainFire: log entries applied.
    applied: Option<u64>,
    /// FlareDB and ChainFire: committed log entries, by the furthest node, that are not applied here.
    lag: Option<u64>,
    why: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Health {
    Ready,
    NotReady,
    Draining,
    NoAnswer,
}

impl Health {
    fn words(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::NotReady => "not ready",
            Self::Draining => "draining",
            Self::NoAnswer => "no answer",
        }
    }
}

impl Row for ProcessRow {
    const COLUMNS: &'static [&'static str] =
        &["PROCESS", "ENDPOINT", "ROLE", "HEALTH", "VERSION", "APPLIED", "LAG", "WHY"];

    fn cells(&self) -> Vec<String> {
        let number = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        vec![
            self.process.clone(),
            self.endpoint.clone(),
            self.role.clone(),
            self.health.words().to_owned(),
            self.version.clone(),
            number(self.applied),
            number(self.lag),
            self.why.clone(),
        ]
    }
}

/// Shows every process of a context.
///
/// # Errors
/// When one of them is not ready, after all have been shown; or when the context cannot be used.
pub(crate) async fn run(context: Option<&str>, output: Output, timeout_s: u64) -> Result<()> {
    let context = context::load(context)?;
    let credentials = Credentials::read(&context)?;
    let databases = context.flaredb_endpoints.iter().map(|endpoint| (Kind::FlareDb, endpoint.clone()));
    let dns = context.flashdns_endpoint.iter().map(|endpoint| (Kind::FlashDns, endpoint.clone()));
    let members = context.chainfire_endpoints.iter().map(|endpoint| (Kind::ChainFire, endpoint.clone()));
    let named = members.chain(databases).chain(dns).collect();
    let rows = rows(&ask_all(&credentials, named, Duration::from_secs(timeout_s)).await);
    if rows.is_empty() {
        return Err(Misuse(
            "the context has no endpoints: photon context set NAME --flaredb-endpoint URL …".to_owned(),
        )
        .into());
    }
    output.rows(&rows)?;
    match rows.iter().filter(|row| row.health != Health::Ready).count() {
        0 => Ok(()),
        unwell => Err(Unhealthy { unwell, all: rows.len() }.into()),
    }
}

/// Asks the processes that were named, then those that they name, until there are no others.
async fn ask_all(
    credentials: &Credentials,
    named: BTreeSet<(Kind, String)>,
    timeout: Duration,
) -> BTreeMap<(Kind, String), Answer> {
    let (mut answers, mut waiting) = (BTreeMap::new(), named);
    while !waiting.is_empty() {
        let asked = std::mem::take(&mut waiting).into_iter().map(async |(kind, endpoint)| {
            let answer = ask::ask(credentials, kind, &endpoint, timeout).await;
            ((kind, endpoint), answer)
        });
        answers.extend(join_all(asked).await);
        let members = answers
            .iter()
            .flat_map(|((kind, _), answer)| answer.members().map(|endpoint| (*kind, endpoint.to_owned())));
        waiting = members.filter(|member| !answers.contains_key(member)).collect();
    }
    answers
}

fn rows(answers: &BTreeMap<(Kind, String), Answer>) -> Vec<ProcessRow> {
    let mut committed: BTreeMap<Kind, u64> = BTreeMap::new();
    for ((kind, _), answer) in answers {
        let furthest = committed.entry(*kind).or_default();
        *furthest = answer.committed().unwrap_or_default().max(*furthest);
    }
    let row = |((kind, endpoint), answer): (&(Kind, String), &Answer)| {
        answer.row(*kind, endpoint, committed.get(kind).copied())
    };
    answers.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{ask::Seen, *};

    fn node(id: u64, role: &str, applied: u64) -> Answer {
        let members = vec![format!("https://db{id}:1")];
        let seen = Seen { role: role.to_owned(), applied, committed: applied, members };
        let report = format!(
            r#"{{"service": "flaredb", "node": "{id}", "version": "0.1.0", "draining": false,
                 "conditions": {{"raft": {{"ok": {}, "reason": "no leader"}}}}}}"#,
            id == 1
        );
        Answer {
            report: report::Report::parse(report.as_bytes()),
            serving: Ok(id == 1),
            cluster: Some(Ok(seen)),
        }
    }

    #[test]
    fn one_clusters_lag_is_not_measured_by_another() {
        let answers = BTreeMap::from([
            ((Kind::ChainFire, "https://cf1:1".to_owned()), node(1, "leader", 9)),
            ((Kind::FlareDb, "https://db1:1".to_owned()), node(1, "leader", 4_000)),
        ]);
        assert!(rows(&answers).iter().all(|row| row.lag == Some(0)));
    }

    #[test]
    fn every_process_is_a_row_with_its_lag_and_why_it_is_not_ready() {
        let silent = Answer { report: None, serving: Err("connection refused".to_owned()), cluster: None };
        let answers = BTreeMap::from([
            ((Kind::FlareDb, "https://db1:1".to_owned()), node(1, "leader", 40)),
            ((Kind::FlareDb, "https://db2:1".to_owned()), node(2, "follower", 37)),
            ((Kind::FlashDns, "https://dns:1".to_owned()), silent),
        ]);
        let shown = rows(&answers).iter().map(|row| row.cells().join(" | ")).collect::<Vec<_>>().join("\n");
        expect_test::expect![[r#"
            flaredb/1 | https://db1:1 | leader | ready | 0.1.0 | 40 | 0 | raft: no leader
            flaredb/2 | https://db2:1 | follower | not ready | 0.1.0 | 37 | 3 | raft: no leader
            flashdns | https://dns:1 | dns | no answer | - | - | - | connection refused"#]]
        .assert_eq(&shown);
    }
}
