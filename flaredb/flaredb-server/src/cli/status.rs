//! `flaredb status`: how each node of the cluster is, as it says itself.

use std::collections::{BTreeMap, BTreeSet};

use flaredb_proto::v1::{RegionStatus, StatusResponse};
use serde::Serialize;

use super::{
    Options,
    failure::Misuse,
    output::{self, Row},
};

/// One node's view of one region, or why it did not answer.
#[derive(Serialize)]
struct ShownNode {
    endpoint: String,
    id: Option<u64>,
    version: Option<String>,
    region: Option<u64>,
    role: String,
    term: u64,
    leader: u64,
    last_log_index: u64,
    committed_index: u64,
    applied_index: u64,
    flushed_index: u64,
    purged_index: u64,
    /// Where in the log this replica last hashed rows, to be compared with the others'.
    audited_index: u64,
    disk_free_bytes: u64,
    /// "ok", or what keeps the node from being ready.
    state: String,
    /// The reasons.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    problems: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Row for ShownNode {
    const COLUMNS: &'static [&'static str] = &[
        "ID",
        "ENDPOINT",
        "ROLE",
        "TERM",
        "LEADER",
        "LAST",
        "COMMITTED",
        "APPLIED",
        "FLUSHED",
        "PURGED",
        "STATE",
    ];

    fn cells(&self) -> Vec<String> {
        let id = self.id.map_or_else(|| "?".to_owned(), |id| id.to_string());
        let mut cells = vec![id, self.endpoint.clone(), self.role.clone()];
        let counts = [
            self.term,
            self.leader,
            self.last_log_index,
            self.committed_index,
            self.applied_index,
            self.flushed_index,
            self.purged_index,
        ];
        let absent = self.error.is_some();
        cells.extend(counts.map(|count| if absent { "-".to_owned() } else { count.to_string() }));
        cells.push(self.state.clone());
        cells
    }
}

impl ShownNode {
    fn absent(endpoint: String, error: &dyn std::fmt::Display) -> Self {
        Self {
            endpoint,
            id: None,
            version: None,
            region: None,
            role: "unreachable".to_owned(),
            term: 0,
            leader: 0,
            last_log_index: 0,
            committed_index: 0,
            applied_index: 0,
            flushed_index: 0,
            purged_index: 0,
            audited_index: 0,
            disk_free_bytes: 0,
            state: "-".to_owned(),
            problems: BTreeMap::new(),
            error: Some(error.to_string()),
        }
    }

    fn of(status: &StatusResponse, region: &RegionStatus) -> Self {
        Self {
            endpoint: status.endpoint.clone(),
            id: Some(status.node_id),
            version: Some(status.version.clone()),
            region: Some(region.region_id),
            role: region.role.clone(),
            term: region.term,
            leader: region.leader_id,
            last_log_index: region.last_log_index,
            committed_index: region.committed_index,
            applied_index: region.applied_index,
            flushed_index: region.flushed_index,
            purged_index: region.purged_index,
            audited_index: region.audited_index,
            disk_free_bytes: status.disk_free_bytes,
            state: state(status),
            problems: problems(status),
            error: None,
        }
    }
}

/// What is missing for the node to be ready, by the name of the condition.
fn problems(status: &StatusResponse) -> BTreeMap<String, String> {
    let missing = status.conditions.iter().filter(|condition| !condition.ok);
    missing.map(|condition| (condition.name.clone(), condition.reason.clone())).collect()
}

fn state(status: &StatusResponse) -> String {
    let missing: Vec<String> = problems(status).into_keys().collect();
    match (status.quarantined.is_empty(), missing.is_empty()) {
        (false, _) => "quarantined".to_owned(),
        (true, true) => "ok".to_owned(),
        (true, false) => format!("not ready: {}", missing.join(", ")),
    }
}

/// Shows what every node says of itself.
pub(crate) async fn status(options: &Options) -> anyhow::Result<()> {
    let answers = ask_all(options).await?;
    let rows: Vec<ShownNode> =
        answers.into_iter().flat_map(|(endpoint, answer)| rows(endpoint, answer)).collect();
    for row in &rows {
        if let Some(error) = &row.error {
            output::remark(&format!("{}: {error}", row.endpoint));
        }
        for (condition, reason) in &row.problems {
            output::remark(&format!("{}: {condition}: {reason}", row.endpoint));
        }
    }
    Ok(options.output.rows(&rows)?)
}

/// Asks every node of its own: those that were named and those that they know.
///
/// # Errors
/// When none answers.
pub(crate) async fn ask_all(options: &Options) -> anyhow::Result<Answers> {
    let mut answers = Answers::new();
    let mut waiting: BTreeSet<String> = options.connect.endpoints().iter().cloned().collect();
    while let Some(endpoint) = waiting.pop_first() {
        let answer = ask(options, &endpoint).await;
        if let Ok(status) = &answer {
            let known = status.regions.iter().flat_map(|region| &region.members);
            waiting.extend(known.map(|member| member.endpoint.clone()));
        }
        answers.insert(endpoint, answer);
        waiting.retain(|endpoint| !answers.contains_key(endpoint));
    }
    match answers.values().all(Result::is_err) {
        true => Err(nobody(answers, options)),
        false => Ok(answers),
    }
}

/// What each node said, by its endpoint.
pub(crate) type Answers = BTreeMap<String, anyhow::Result<StatusResponse>>;

/// Why nobody answered: the reason of the last, after the others'.
fn nobody(answers: Answers, options: &Options) -> anyhow::Error {
    let mut failed = answers.into_iter().filter_map(|(endpoint, answer)| Some((endpoint, answer.err()?)));
    let (mut at, mut last) =
        failed.next().unwrap_or_else(|| (String::new(), Misuse("no endpoint is given".to_owned()).into()));
    for (endpoint, error) in failed {
        output::remark(&format!("{at}: {last:#}"));
        (at, last) = (endpoint, error);
    }
    last.context(format!("none of {} answered", options.connect.endpoints().join(", ")))
}

async fn ask(options: &Options, endpoint: &str) -> anyhow::Result<StatusResponse> {
    let client = options.connect.client_of(vec![endpoint.to_owned()]).await?;
    Ok(client.cluster().status().await?)
}

fn rows(endpoint: String, answer: anyhow::Result<StatusResponse>) -> Vec<ShownNode> {
    match answer {
        Ok(status) => status.regions.iter().map(|region| ShownNode::of(&status, region)).collect(),
        Err(error) => vec![ShownNode::absent(endpoint, &format!("{error:#}"))],
    }
}
