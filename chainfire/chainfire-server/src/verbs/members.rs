//! `chainfire members`: who belongs to the cluster and which machines are there, in one table.

use std::collections::BTreeMap;

use anyhow::Result;
use chainfire_proto::{
    etcdserverpb::{
        MemberListRequest, StatusRequest, cluster_client::ClusterClient,
        maintenance_client::MaintenanceClient,
    },
    v1::{Member, MembersRequest, State, gossip_client::GossipClient},
};
use photon_runtime::output::{Row, remark};
use serde::Serialize;
use tonic::Code;

use super::{Options, connect::Caller};
use crate::gossip::now_ms;

/// One machine, as consensus and as gossip know it.
#[derive(Debug, Default, Serialize)]
struct MemberRow {
    name: String,
    raft: Option<Raft>,
    gossip: Option<Heard>,
    #[serde(skip)]
    now_ms: u64,
}

#[derive(Debug, Serialize)]
struct Raft {
    id: u64,
    role: &'static str,
    peer_urls: Vec<String>,
    client_urls: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Heard {
    id: u64,
    state: &'static str,
    address: String,
    generation: u64,
    since_ms: u64,
    zone: String,
    addresses: Vec<String>,
    services: Vec<String>,
}

impl Row for MemberRow {
    const COLUMNS: &'static [&'static str] =
        &["NAME", "RAFT", "GOSSIP", "SINCE", "ADDRESS", "ZONE", "SERVICES", "CLIENT-URLS"];

    fn cells(&self) -> Vec<String> {
        let (raft, heard) = (self.raft.as_ref(), self.gossip.as_ref());
        let or_none =
            |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned());
        vec![
            self.name.clone(),
            or_none(raft.map(|raft| raft.role.to_owned())),
            or_none(heard.map(|heard| heard.state.to_owned())),
            or_none(
                heard
                    .filter(|heard| heard.since_ms > 0)
                    .map(|heard| age(self.now_ms.saturating_sub(heard.since_ms))),
            ),
            or_none(heard.map(|heard| heard.address.clone())),
            or_none(heard.map(|heard| heard.zone.clone())),
            or_none(heard.map(|heard| heard.services.join(","))),
            or_none(raft.map(|raft| raft.client_urls.join(","))),
        ]
    }
}

/// Shows all members, by the first node that answers.
pub(super) async fn run(options: &Options) -> Result<()> {
    let connect = &options.connect;
    let (raft, heard) = connect
        .first(async |_, caller| Ok((raft(options, caller.clone()).await?, heard(options, caller).await?)))
        .await?;
    if heard.is_none() {
        remark("this node does not gossip; set [gossip] listen to see which machines are there");
    }
    Ok(options.output.rows(&joined(raft, heard.unwrap_or_default()))?)
}

async fn raft(options: &Options, caller: Caller) -> Result<Vec<(String, Raft)>> {
    let connect = &options.connect;
    let list = connect.request(MemberListRequest::default());
    let list = ClusterClient::new(caller.clone()).member_list(list).await?.into_inner();
    let status = MaintenanceClient::new(caller).status(connect.request(StatusRequest {})).await?.into_inner();
    let role = |id: u64, learner: bool| match (id == status.leader, learner) {
        (true, _) => "leader",
        (_, true) => "learner",
        (_, false) => "voter",
    };
    let members = list.members.into_iter().map(|member| {
        let role = role(member.id, member.is_learner);
        let raft =
            Raft { id: member.id, role, peer_urls: member.peer_ur_ls, client_urls: member.client_ur_ls };
        (member.name, raft)
    });
    Ok(members.collect())
}

/// `None`: the node does not gossip.
async fn heard(options: &Options, caller: Caller) -> Result<Option<Vec<Member>>> {
    match GossipClient::new(caller).members(options.connect.request(MembersRequest {})).await {
        Ok(answer) => Ok(Some(answer.into_inner().members)),
        Err(status) if status.code() == Code::Unimplemented => Ok(None),
        Err(status) => Err(status.into()),
    }
}

/// One row for each machine: a server that gossips has one name in both.
fn joined(raft: Vec<(String, Raft)>, heard: Vec<Member>) -> Vec<MemberRow> {
    let now_ms = now_ms();
    let mut rows: BTreeMap<String, MemberRow> = BTreeMap::new();
    for (name, raft) in raft {
        rows.insert(name.clone(), MemberRow { name, raft: Some(raft), gossip: None, now_ms });
    }
    for member in heard {
        // Who has not told its name yet is known by its address.
        let name = if member.name.is_empty() { member.address.clone() } else { member.name.clone() };
        let row =
            rows.entry(name.clone()).or_insert_with(|| MemberRow { name, now_ms, ..MemberRow::default() });
        row.gossip = Some(of(member));
    }
    rows.into_values().collect()
}

fn of(member: Member) -> Heard {
    Heard {
        id: member.id,
        state: words(member.state()),
        address: member.address,
        generation: member.generation,
        since_ms: member.since_ms,
        zone: member.zone,
        addresses: member.addresses,
        services: member.services,
    }
}

/// A state in one word.
pub(super) fn words(state: State) -> &'static str {
    match state {
        State::Unspecified => "unknown",
        State::Alive => "alive",
        State::Suspected => "suspected",
        State::Failed => "failed",
        State::Left => "left",
    }
}

/// How long ago, in its largest unit.
fn age(ms: u64) -> String {
    match ms / 1_000 {
        s @ 0..60 => format!("{s}s"),
        s @ 60..3_600 => format!("{}m", s / 60),
        s @ 3_600..86_400 => format!("{}h", s / 3_600),
        s => format!("{}d", s / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(name: &str, address: &str) -> Member {
        Member {
            name: name.to_owned(),
            address: address.to_owned(),
            state: State::Alive.into(),
            ..Member::default()
        }
    }

    #[test]
    fn machine_that_both_know_is_one_row_and_each_other_has_its_own() {
        let raft =
            |id| Raft { id, role: "voter", peer_urls: vec![], client_urls: vec!["http://c".to_owned()] };
        let raft = vec![("db1".to_owned(), raft(1)), ("db2".to_owned(), raft(2))];
        let rows = joined(raft, vec![member("db1", "a:1"), member("web1", "b:1"), member("", "c:1")]);
        let shown: Vec<_> = rows.iter().map(|row| row.cells().join(" ")).collect();
        assert_eq!(
            shown,
            [
                "c:1 - alive - c:1 - - -",
                "db1 voter alive - a:1 - - http://c",
                "db2 voter - - - - - http://c",
                "web1 - alive - b:1 - - -",
            ]
        );
    }

    #[test]
    fn age_is_in_the_largest_unit_that_is_not_zero() {
        assert_eq!([0, 59_999, 60_000, 7_200_000, 172_800_000].map(age), ["0s", "59s", "1m", "2h", "2d"]);
    }
}
