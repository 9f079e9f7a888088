//! `Maintenance`: how a node is, what tells replicas apart, a copy of everything, and who leads.

use std::{fs, io, path::Path, pin::Pin};

use chainfire_proto::etcdserverpb::{
    AlarmRequest, AlarmResponse, DefragmentRequest, DefragmentResponse, HashKvRequest, HashKvResponse,
    HashRequest, HashResponse, MoveLeaderRequest, MoveLeaderResponse, SnapshotRequest, SnapshotResponse,
    StatusRequest, StatusResponse, alarm_request::AlarmAction, maintenance_server::Maintenance,
};
use chainfire_store::{
    internal::{command::Request as Proposal, outcome::Outcome},
    refusal::{self, Code, Refusal},
};
use flaredb_raft::{ChangeError, GroupStatus};
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::saving;
use crate::{
    api::{Api, refusal},
    status,
};

/// The version of etcd whose API this is; clients look at it before they use what came later.
const API_VERSION: &str = "3.5.17";

const NOT_LEADER: Refusal = refusal(Code::FailedPrecondition, "etcdserver: not leader");
const BAD_TRANSFEREE: Refusal = refusal(Code::FailedPrecondition, "etcdserver: bad leader transferee");

type Pieces = Pin<Box<dyn Stream<Item = Result<SnapshotResponse, Status>> + Send>>;

#[tonic::async_trait]
impl Maintenance for Api {
    type SnapshotStream = Pieces;

    async fn alarm(&self, request: Request<AlarmRequest>) -> Result<Response<AlarmResponse>, Status> {
        let caller = self.caller(&request)?;
        let request = request.into_inner();
        if request.action() == AlarmAction::Get {
            let mut alarms = self.store.alarms().map_err(status::unreadable)?;
            alarms.retain(|alarm| request.alarm == 0 || alarm.alarm == request.alarm);
            return Ok(Response::new(AlarmResponse { header: Some(self.header_now()), alarms }));
        }
        let Outcome::Alarm(mut response) = self.propose(caller, Proposal::Alarm(request)).await? else {
            return Err(status::unexpected("an alarm"));
        };
        self.complete(&mut response.header);
        Ok(Response::new(response))
    }

    async fn status(&self, request: Request<StatusRequest>) -> Result<Response<StatusResponse>, Status> {
        // How a node is must be told by one that is under quarantine as well.
        drop(request);
        let known = self.hosted.group.status();
        let folder = self.disk.folder().join("state");
        let size = tokio::task::spawn_blocking(move || size_bytes(&folder)).await;
        let size = size.map_err(io::Error::other).flatten().map_err(|error| status::storage(&error))?;
        let in_use: u64 = self.hosted.state.namespaces().iter().map(|namespace| namespace.bytes).sum();
        Ok(Response::new(StatusResponse {
            header: Some(self.header_now()),
            version: API_VERSION.to_owned(),
            db_size: signed(size),
            leader: known.leader.unwrap_or_default(),
            raft_index: known.committed_index,
            raft_term: known.term,
            raft_applied_index: known.applied_index,
            errors: self.troubles(&known),
            db_size_in_use: signed(in_use),
            is_learner: is_learner(&known),
        }))
    }

    async fn defragment(
        &self,
        request: Request<DefragmentRequest>,
    ) -> Result<Response<DefragmentResponse>, Status> {
        self.administrator(&request)?;
        // The database merges its files by itself. What a flush adds is that the log before it can go.
        let checkpoint = self.hosted.group.checkpoint().await;
        checkpoint.map_err(|error| status::no_read_index(&error))?;
        // etcd's answer has none, and clients hold it to that.
        Ok(Response::new(DefragmentResponse { header: None }))
    }

    async fn hash(&self, request: Request<HashRequest>) -> Result<Response<HashResponse>, Status> {
        self.administrator(&request)?;
        let hash = self.read(|store| Ok(store.region().state_hash()?)).await?;
        let hash = hash.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        Ok(Response::new(HashResponse { header: Some(self.header_now()), hash }))
    }

    async fn hash_kv(&self, request: Request<HashKvRequest>) -> Result<Response<HashKvResponse>, Status> {
        // Nodes ask each other as well, and say nothing of who they are; a hash betrays nothing.
        self.caller(&request)?;
        let revision = request.get_ref().revision;
        let found = self.read(move |store| store.hash_kv(revision)).await?;
        Ok(Response::new(HashKvResponse {
            header: Some(self.header_now()),
            hash: found.hash,
            compact_revision: found.compacted,
            hash_revision: found.revision,
        }))
    }

    async fn snapshot(&self, request: Request<SnapshotRequest>) -> Result<Response<Pieces>, Status> {
        self.administrator(&request)?;
        self.read_index().await?;
        let view = self.store.region().snapshot().map_err(|error| status::unreadable(error.into()))?;
        let header = self.header_now();
        let pieces = saving::pieces(view).map(move |blob| {
            Ok(SnapshotResponse {
                header: Some(header),
                blob: blob?,
                version: API_VERSION.to_owned(),
                ..SnapshotResponse::default()
            })
        });
        Ok(Response::new(pieces.boxed()))
    }

    async fn move_leader(
        &self,
        request: Request<MoveLeaderRequest>,
    ) -> Result<Response<MoveLeaderResponse>, Status> {
        self.administrator(&request)?;
        let target = request.get_ref().target_id;
        let moved = self.hosted.group.transfer_leader(Some(target)).await;
        moved.map_err(|error| {
            status::refused(match error {
                ChangeError::NotLeader { .. } => NOT_LEADER,
                ChangeError::Indeterminate => refusal::TIMEOUT,
                ChangeError::Stopped => refusal::STOPPED,
                _ => BAD_TRANSFEREE,
            })
        })?;
        Ok(Response::new(MoveLeaderResponse { header: Some(self.header_now()) }))
    }
}

impl Api {
    /// What is wrong with this node, in words.
    fn troubles(&self, known: &GroupStatus) -> Vec<String> {
        let leaderless = known.leader.is_none().then(|| refusal::NO_LEADER.message.into_owned());
        let quarantined =
            self.quarantine.reason().map(|reason| format!("this node is quarantined: {reason}"));
        let alarms = self.store.alarms().unwrap_or_default();
        let alarms = alarms
            .iter()
            .map(|alarm| format!("memberID:{} alarm:{} ", alarm.member_id, alarm.alarm().as_str_name()));
        leaderless.into_iter().chain(quarantined).chain(alarms).collect()
    }
}

fn is_learner(known: &GroupStatus) -> bool {
    known.members.iter().any(|member| member.id == known.node_id && !member.voter)
}

/// Bytes of the files in a folder. One that goes while it is looked at has none.
fn size_bytes(folder: &Path) -> io::Result<u64> {
    let files = fs::read_dir(folder)?.map(|file| match file?.metadata() {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(error),
    });
    files.sum()
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}
