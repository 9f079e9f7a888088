//! `flaredb member`: who belongs to the cluster.

use clap::Subcommand;
use flaredb_proto::v1::Member;
use serde::Serialize;

use super::{
    Options,
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
