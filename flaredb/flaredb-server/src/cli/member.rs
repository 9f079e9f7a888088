//! `flaredb status` and `flaredb member`: who belongs to the cluster, and how each of them is.

use std::collections::{BTreeMap, BTreeSet};

use clap::Subcommand;
use flaredb_proto::v1::{Member, RegionStatus, StatusResponse};
use serde::Serialize;

use super::{
    Options,
    failure::Misuse,
    output::{self, Row},
};

/// What to do with members.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Lists the members.
    List,
    /// Adds a running node, waits until it has caught up, and gives it a vote.
    Add {
        /// The `node.id` in its config.
        id: u64,
        /// The `node.endpoint` in its config.
        endpoint: String,
        /// Gives it the data but no vote.
        #[arg(long)]
        learner: bool,
    },
    /// Gives a learner a vote.
    Promote {
        /// The node.
        id: u64,
    },
    /// Removes a node, alive or dead. Its id is never used again.
    Remove {
        /// The node.
        id: u64,
    },
    /// Hands leadership to another node.
    TransferLeader {
        /// The node; without it, the voter that is most up to date.
        id: Option<u64>,
    },
}

#[derive(Serialize)]
struct ShownMember {
    id: u64,
    endpoint: String,
    role: &'static str,
    matched_index: Option<u64>,
}

impl From<Member> for ShownMember {
    fn from(member: Member) -> Self {
        let role = match (member.leader, member.voter) {
            (true, _) => "leader",
            (false, true) => "voter",
            (false, false) => "learner",
        };
        Self { id: member.node_id, endpoint: member.endpoint, role, matched_index: member.matched_index }
    }
}

impl Row for ShownMember {
    const COLUMNS: &'static [&'static str] = &["ID", "ENDPOINT", "ROLE", "MATCHED"];

    fn cells(&self) -> Vec<String> {
        let matched = self.matched_index.map_or_else(|| "-".to_owned(), |index| index.to_string());
        vec![self.id.to_string(), self.endpoint.clone(), self.role.to_owned(), matched]
    }
}

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
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

impl Row for ShownNode {
    const COLUMNS: &'static [&'static str] =
        &["ID", "ENDPOINT", "ROLE", "TERM", "LEADER", "LAST", "COMMITTED", "APPLIED", "FLUSHED", "PURGED"];

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
            error: None,
        }
    }
}

/// Asks every node of its own: those that were named and those that they know.
pub(crate) async fn status(options: &Options) -> anyhow::Result<()> {
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
    if answers.values().all(Result::is_err) {
        return Err(nobody(answers, options));
    }
    let rows: Vec<ShownNode> =
        answers.into_iter().flat_map(|(endpoint, answer)| rows(endpoint, answer)).collect();
    for row in &rows {
        if let Some(error) = &row.error {
            output::remark(&format!("{}: {error}", row.endpoint));
        }
    }
    Ok(options.output.rows(&rows)?)
}

type Answers = BTreeMap<String, anyhow::Result<StatusResponse>>;

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

/// Does it.
pub(crate) async fn run(verb: Verb, options: &Options) -> anyhow::Result<()> {
    let cluster = options.connect.client().await?.cluster();
    let members = match verb {
        Verb::List => cluster.members().await?,
        Verb::Add { id, endpoint, learner } => cluster.add(id, &endpoint, learner).await?,
        Verb::Promote { id } => cluster.promote(id).await?,
        Verb::Remove { id } => cluster.remove(id).await?,
        Verb::TransferLeader { id } => {
            let leader = cluster.transfer_leader(id.unwrap_or_default()).await?;
            output::remark(&format!("node {leader} leads now"));
            cluster.members().await?
        }
    };
    let shown: Vec<ShownMember> = members.into_iter().map(Into::into).collect();
    Ok(options.output.rows(&shown)?)
}
