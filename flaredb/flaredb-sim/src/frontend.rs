//! What a node does for clients: the plainest form of the server's services, over the same calls of the replica.
//!
//! A write is proposed, a read waits for a read index and then reads the store, a watch reads the store as it is.

use std::fmt;

use bytes::Bytes;
use flaredb_engine::{
    EventBatch, EventLimits, NamespaceId, RawRecord, ReadError, Region, ScanPage, ScanRange, Versioned,
};
use flaredb_proto::v1::{
    Conflict, FlareRequest, FlareResponse, flare_request::Command, flare_response::Outcome,
};
use flaredb_raft::{ChangeError, Group, ProposeError};
use prost::Message as _;

use crate::{
    durable::{Durable, quorum},
    judge::Judge,
};

/// The namespace of compared writes.
pub(crate) const STRONG: NamespaceId = NamespaceId(1);
/// The namespace where the last timestamp wins.
pub(crate) const EVENTUAL: NamespaceId = NamespaceId(2);

/// A change of who belongs to the region.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change {
    Learn(u64),
    Promote(u64),
    Remove(u64),
    Transfer,
    Checkpoint,
}

/// A client's request.
#[derive(Clone, Debug)]
pub(crate) enum Ask {
    Write(Command),
    Get(Bytes),
    /// A linearizable scan of everything, at the present revision or an earlier one.
    Scan(Option<u64>),
    /// What a watch would bring from a revision on.
    Events(u64),
    /// An eventual record, as this replica has it.
    RawGet(Bytes),
    Change(Change),
}

/// What a node answers.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Done(u64),
    Conflicts(Vec<Conflict>),
    /// It did not happen.
    Not,
    /// It did not happen here; somebody else may do it.
    NotLeader(Option<u64>),
    /// It may have happened.
    Unknown,
    Record(Option<Versioned>, u64),
    Page(ScanPage),
    Events(EventBatch),
    Raw(Option<RawRecord>),
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(Command::CasPut(put)) => write!(f, "put {:?}={:?}", put.key, put.value),
            Self::Write(Command::CasDelete(delete)) => write!(f, "delete {:?}", delete.key),
            Self::Write(_) => write!(f, "write"),
            other => write!(f, "{other:?}"),
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(page) => write!(f, "page of {} at {}", page.records.len(), page.revision),
            Self::Events(batch) => write!(f, "{} revisions", batch.revisions.len()),
            Self::Record(found, revision) => {
                write!(f, "{:?} at {revision}", found.as_ref().map(|found| found.version))
            }
            other => write!(f, "{other:?}"),
        }
    }
}

/// A node's replica as its clients reach it.
#[derive(Clone, Debug)]
pub(crate) struct Frontend {
    pub(crate) group: Group,
    pub(crate) state: Region,
    pub(crate) judge: Judge,
    pub(crate) durable: Durable,
}

impl Frontend {
    pub(crate) async fn answer(&self, ask: Ask) -> Answer {
        match ask {
            Ask::Write(command) => self.write(command).await,
            Ask::Get(key) => self.get(&key).await,
            Ask::Scan(revision) => self.scan(revision).await,
            Ask::Events(from) => self.events(from),
            Ask::RawGet(key) => self.state.raw_get(EVENTUAL, &key).map_or(Answer::Not, Answer::Raw),
            Ask::Change(change) => self.change(change).await,
        }
    }

    async fn write(&self, command: Command) -> Answer {
        let command = Bytes::from(FlareRequest { command: Some(command) }.encode_to_vec());
        let proposed = match self.group.propose(command.clone()).await {
            Ok(response) => {
                self.acknowledges(&command);
                FlareResponse::decode(response)
            }
            Err(error) => return not_proposed(&error),
        };
        match proposed.map(|response| response.outcome) {
            Ok(Some(Outcome::Done(revision))) => Answer::Done(revision),
            Ok(Some(Outcome::Conflicts(found))) => Answer::Conflicts(found.conflicts),
            Ok(Some(Outcome::Namespace(namespace))) => Answer::Done(u64::from(namespace.id)),
            Ok(Some(Outcome::Refused(_)) | _) | Err(_) => Answer::Not,
        }
    }

    fn acknowledges(&self, command: &[u8]) {
        let status = self.group.status();
        let voters = status.members.iter().filter(|member| member.voter).count();
        self.judge.acknowledges(status.node_id, command, &self.durable, quorum(voters));
    }

    async fn get(&self, key: &[u8]) -> Answer {
        if self.group.read_index().await.is_err() {
            return Answer::Not;
        }
        self.state.get(STRONG, key).map_or(Answer::Not, |(found, revision)| Answer::Record(found, revision))
    }

    async fn scan(&self, revision: Option<u64>) -> Answer {
        if self.group.read_index().await.is_err() {
            return Answer::Not;
        }
        let range = ScanRange { revision, ..ScanRange::default() };
        self.state.scan(STRONG, range).map_or(Answer::Not, Answer::Page)
    }

    fn events(&self, from: u64) -> Answer {
        let limits = EventLimits { revisions_max: 64, bytes_max: 64 << 10 };
        match self.state.events(STRONG, b"", from, limits) {
            Ok(batch) => Answer::Events(batch),
            Err(ReadError::Installing | _) => Answer::Not,
        }
    }

    async fn change(&self, change: Change) -> Answer {
        let changed = match change {
            Change::Learn(id) => self.group.add_learner(id, crate::host::endpoint(id)).await,
            Change::Promote(id) => self.group.promote(id).await,
            Change::Remove(id) => self.group.remove(id).await,
            Change::Transfer => self.group.transfer_leader(None).await.map(drop),
            Change::Checkpoint => self.group.checkpoint().await.map_err(|_stopped| ChangeError::Stopped),
        };
        match changed {
            Ok(()) => Answer::Done(0),
            Err(ChangeError::NotLeader { id, .. }) => Answer::NotLeader(id),
            Err(ChangeError::Indeterminate | ChangeError::Stopped) => Answer::Unknown,
            Err(_) => Answer::Not,
        }
    }
}

fn not_proposed(error: &ProposeError) -> Answer {
    match error {
        ProposeError::NotLeader { id, .. } => Answer::NotLeader(*id),
        ProposeError::Unavailable => Answer::NotLeader(None),
        ProposeError::TooLarge { .. } | ProposeError::NoSpace => Answer::Not,
        ProposeError::Indeterminate | ProposeError::Stopped => Answer::Unknown,
    }
}
