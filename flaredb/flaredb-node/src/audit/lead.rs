//! The leader's side of the audits: asks for them, collects what the replicas found, and passes the verdict.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use flaredb_proto::v1::{
    AuditState, AuditVerdict, FlareRequest, FlareResponse, flare_request::Command, flare_response::Outcome,
};
use flaredb_raft::MemberStatus;
use futures::future::join_all;
use prost::Message as _;
use tokio::time::{MissedTickBehavior, interval};
use tonic::transport::Endpoint;

use super::peers;
use crate::{
    host::Hosted,
    proposals::{NotProposed, Proposals},
};

/// How often audits are, and how much each covers.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    /// Time between two audits.
    pub every: Duration,
    /// Bytes of rows in one.
    pub bytes_max: u64,
}

/// Lets the leader of a region audit its replicas, for as long as it is polled. `dial` reaches the other nodes.
pub(crate) async fn lead<D>(hosted: Arc<Hosted>, dial: D, schedule: Schedule)
where
    D: Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync,
{
    let mut tick = interval(schedule.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cursor = Vec::new();
    loop {
        tick.tick().await;
        if !hosted.group.leads() || !hosted.group.has_followers() {
            cursor.clear();
            continue;
        }
        match audit(&hosted, &dial, &cursor, schedule.bytes_max).await {
            Ok(next) => cursor = next,
            Err(error) => tracing::debug!(%error, "an audit did not take place; the next one will"),
        }
    }
}

/// One audit; returns where the next one starts.
async fn audit<D>(hosted: &Hosted, dial: &D, cursor: &[u8], bytes_max: u64) -> Result<Vec<u8>, NotProposed>
where
    D: Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync,
{
    let command = AuditState { cursor: cursor.to_vec().into(), bytes_max };
    let Some(index) = propose(&hosted.proposals, Command::AuditState(command)).await? else {
        return Ok(cursor.to_vec());
    };
    let (auditor, metrics) = (&hosted.auditor, &hosted.metrics);
    let members = hosted.group.status().members;
    let found =
        join_all(members.iter().map(async |member| match member.id == hosted.group.status().node_id {
            true => auditor.finding(index).await.map(|finding| finding.hash.to_vec()),
            false => peers::ask(dial, &member.endpoint, hosted.id, index).await,
        }));
    let found: Vec<Option<Vec<u8>>> = found.await;
    match judge(&members, &found) {
        Verdict::Equal => {}
        Verdict::Unknown(words) => {
            metrics.audit_differed();
            tracing::error!(index, "replicas differ, and no majority says which is right: {words}");
        }
        Verdict::Majority { hash, differing } => {
            metrics.audit_differed();
            tracing::error!(index, ?differing, "these nodes' replicas differ from those of most voters");
            let verdict = AuditVerdict { index, hash: hash.into() };
            propose(&hosted.proposals, Command::AuditVerdict(verdict)).await?;
        }
    }
    Ok(auditor.finding(index).await.and_then(|finding| finding.next).unwrap_or_default())
}

/// Puts an audit or a verdict into the log; where it stands there.
async fn propose(proposals: &Proposals, command: Command) -> Result<Option<u64>, NotProposed> {
    let request = FlareRequest { command: Some(command) };
    let answer =
        proposals.propose(false, request.encoded_len(), || Bytes::from(request.encode_to_vec())).await?;
    match FlareResponse::decode(answer).map(|answer| answer.outcome) {
        Ok(Some(Outcome::Done(index))) => Ok(Some(index)),
        _ => Ok(None),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// All that answered found the same.
    Equal,
    /// They did not, and most voters found this.
    Majority { hash: Vec<u8>, differing: Vec<u64> },
    /// They did not, and nobody can say who is right.
    Unknown(String),
}

/// Judges what the members found (`None`: nothing was heard). Pure.
fn judge(members: &[MemberStatus], found: &[Option<Vec<u8>>]) -> Verdict {
    let heard: Vec<(&MemberStatus, &Vec<u8>)> =
        members.iter().zip(found).filter_map(|(member, hash)| Some((member, hash.as_ref()?))).collect();
    let Some((_, first)) = heard.first() else { return Verdict::Equal };
    if heard.iter().all(|(_, hash)| hash == first) {
        return Verdict::Equal;
    }
    let mut votes: BTreeMap<&Vec<u8>, usize> = BTreeMap::new();
    for (_, hash) in heard.iter().filter(|(member, _)| member.voter) {
        *votes.entry(hash).or_default() += 1;
    }
    let voters = members.iter().filter(|member| member.voter).count();
    match votes.into_iter().find(|(_, count)| *count > voters / 2) {
        Some((hash, _)) => {
            let differing = heard.iter().filter(|(_, other)| *other != hash).map(|(member, _)| member.id);
            Verdict::Majority { hash: hash.clone(), differing: differing.collect() }
        }
        None => {
            let words =
                heard.iter().map(|(member, hash)| format!("node {}: {}…", member.id, super::hex(hash)));
            Verdict::Unknown(words.collect::<Vec<_>>().join(", "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members `1..`; a negative hash is of a learner, 0 was not heard.
    fn judged(hashes: &[i8]) -> Verdict {
        let member = |(id, hash): (u64, &i8)| MemberStatus {
            id,
            endpoint: String::new(),
            voter: *hash >= 0,
            matched_index: None,
            short_of_space: false,
        };
        let members: Vec<MemberStatus> = (1..).zip(hashes).map(member).collect();
        let heard = |hash: &i8| (*hash != 0).then(|| vec![hash.unsigned_abs(); 32]);
        judge(&members, &hashes.iter().map(heard).collect::<Vec<_>>())
    }

    fn majority(hash: u8, differing: &[u64]) -> Verdict {
        Verdict::Majority { hash: vec![hash; 32], differing: differing.to_vec() }
    }

    #[test]
    fn replica_that_differs_from_most_voters_is_named_whoever_leads() {
        assert_eq!(judged(&[1, 1, 2]), majority(1, &[3]));
        assert_eq!(judged(&[2, 1, 1]), majority(1, &[1]));
        assert_eq!(judged(&[1, 1, -2]), majority(1, &[3]));
        assert_eq!(judged(&[1, 2, 1, 3, 1]), majority(1, &[2, 4]));
    }

    #[test]
    fn nobody_is_condemned_without_a_majority_of_all_voters() {
        assert!(matches!(judged(&[1, 2]), Verdict::Unknown(_)));
        assert!(matches!(judged(&[1, 2, 0]), Verdict::Unknown(_)));
        assert!(matches!(judged(&[1, 2, 3]), Verdict::Unknown(_)));
        assert!(matches!(judged(&[1, -2, -2]), Verdict::Majority { .. }), "learners have no say");
    }

    #[test]
    fn equal_replicas_need_no_verdict() {
        for hashes in [&[1, 1, 1][..], &[1, 0, 0], &[0, 0, 0], &[1, -1], &[]] {
            assert_eq!(judged(hashes), Verdict::Equal, "{hashes:?}");
        }
    }
}
