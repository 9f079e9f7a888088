//! The leader's side of the audits: asks for them, collects what the replicas found, and passes the verdict.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use flaredb_proto::v1::{
    AuditState, AuditVerdict, StateHashRequest, flare_request::Command, flare_response::Outcome,
    maintenance_client::MaintenanceClient,
};
use flaredb_raft::MemberStatus;
use futures::future::join_all;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tonic::{Request, transport::Endpoint};

use super::{Auditor, PATIENCE};
use crate::{metrics::Metrics, region::Region, status::Refusal};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

type Dial = dyn Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync;

/// How other nodes are asked.
#[derive(Clone)]
pub(crate) struct Peers(Arc<Dial>);

impl std::fmt::Debug for Peers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Peers")
    }
}

impl Peers {
    /// Reaches nodes by `dial`.
    pub(crate) fn new(
        dial: impl Fn(&str) -> Result<Endpoint, tonic::transport::Error> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(dial))
    }

    /// What another node found at an audit.
    async fn finding(&self, endpoint: &str, index: u64) -> Option<Vec<u8>> {
        let asked = async {
            let channel = (self.0)(endpoint)?.connect_timeout(CONNECT_TIMEOUT).connect().await?;
            let mut request = Request::new(StateHashRequest { audit_index: index });
            request.set_timeout(PATIENCE);
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(
                MaintenanceClient::new(channel).state_hash(request).await?.into_inner(),
            )
        };
        match timeout(PATIENCE, asked).await {
            Ok(Ok(answer)) => Some(answer.sha256.into()),
            Ok(Err(error)) => {
                tracing::debug!(endpoint, index, %error, "a node has nothing to say to an audit");
                None
            }
            Err(_late) => None,
        }
    }
}

/// How often audits are, and how much each covers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Time between two audits.
    pub(crate) every: Duration,
    /// Bytes of rows in one.
    pub(crate) bytes_max: u64,
}

/// Lets the leader of `region` audit its replicas, for as long as it is polled.
pub(crate) async fn lead(
    auditor: Arc<Auditor>,
    region: Arc<Region>,
    peers: Peers,
    schedule: Schedule,
    metrics: Metrics,
) {
    let mut tick = interval(schedule.every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut cursor = Vec::new();
    loop {
        tick.tick().await;
        if !region.leads() || !region.has_followers() {
            cursor.clear();
            continue;
        }
        match audit(&auditor, &region, &peers, &cursor, schedule.bytes_max, &metrics).await {
            Ok(next) => cursor = next,
            Err(refusal) => tracing::debug!(%refusal, "an audit did not take place; the next one will"),
        }
    }
}

/// One audit; returns where the next one starts.
async fn audit(
    auditor: &Auditor,
    region: &Region,
    peers: &Peers,
    cursor: &[u8],
    bytes_max: u64,
    metrics: &Metrics,
) -> Result<Vec<u8>, Refusal> {
    let command = AuditState { cursor: cursor.to_vec().into(), bytes_max };
    let Outcome::Done(index) = region.propose(Command::AuditState(command)).await? else {
        return Ok(cursor.to_vec());
    };
    let members = region.group.status().members;
    let found =
        join_all(members.iter().map(async |member| match member.id == region.group.status().node_id {
            true => auditor.finding(index).await.map(|finding| finding.hash.to_vec()),
            false => peers.finding(&member.endpoint, index).await,
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
            region.propose(Command::AuditVerdict(AuditVerdict { index, hash: hash.into() })).await?;
        }
    }
    Ok(auditor.finding(index).await.and_then(|finding| finding.next).unwrap_or_default())
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
