//! What each command does to the state.
//!
//! A command that cannot take effect changes nothing and says why; that is an answer like any other, the same on
//! every replica.

mod admin;
mod eventual;
mod strong;

use std::sync::Arc;

use bytes::Bytes;
use flaredb_proto::v1::{
    Conflict, Conflicts, FlareRequest, FlareResponse, NamespaceMode, Refused, flare_request::Command,
    flare_response::Outcome, refused::Reason,
};
use prost::Message as _;

use crate::{
    EngineError, NamespaceId, NamespaceInfo,
    batch::Batch,
    growth::{Growth, Size},
    transaction::Transaction,
};

/// What came of a command: an outcome, or a refusal that changed nothing.
pub(crate) type Effect = Result<Outcome, Stop>;

/// Why a command had no effect.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The command does not fit the state.
    Refused(Refused),
    /// Compares did not hold.
    Conflicts(Vec<Conflict>),
    /// The state cannot be read; the replica stops.
    Broken(EngineError),
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        Self::Broken(error)
    }
}

/// A refusal.
pub(crate) fn refused(reason: Reason, message: impl Into<String>) -> Stop {
    Stop::Refused(Refused { reason: reason.into(), message: message.into() })
}

/// Applies the command of one entry. Keys and values are parts of the entry, not copies.
pub(crate) fn command(
    transaction: &mut Transaction<'_>,
    index: u64,
    command: &Bytes,
) -> Result<FlareResponse, EngineError> {
    let request = FlareRequest::decode(command.clone());
    let request = request.map_err(|source| EngineError::Command { index, source })?;
    let outcome = match dispatch(transaction, request) {
        Ok(outcome) => outcome,
        Err(Stop::Refused(refused)) => Outcome::Refused(refused),
        Err(Stop::Conflicts(conflicts)) => Outcome::Conflicts(Conflicts { conflicts }),
        Err(Stop::Broken(error)) => return Err(error),
    };
    Ok(FlareResponse { outcome: Some(outcome) })
}

fn dispatch(transaction: &mut Transaction<'_>, request: FlareRequest) -> Effect {
    let region = transaction.region;
    match request.command {
        Some(Command::CasPut(put)) => strong::put(transaction, put),
        Some(Command::CasDelete(delete)) => strong::delete(transaction, delete),
        Some(Command::CasCommit(commit)) => strong::commit(transaction, commit),
        Some(Command::KvPut(put)) => eventual::put(&mut transaction.batch, put),
        Some(Command::KvDelete(delete)) => eventual::delete(&mut transaction.batch, delete),
        Some(Command::CreateNamespace(create)) => admin::create(&mut transaction.batch, region, create),
        Some(Command::DeleteNamespace(delete)) => admin::delete(&mut transaction.batch, region, &delete.name),
        Some(Command::CompactHistory(compact)) => strong::compact(transaction, &compact),
        Some(Command::CollectTombstones(collect)) => eventual::collect(&mut transaction.batch, &collect),
        Some(Command::RestoreRecords(restore)) => admin::restore(&mut transaction.batch, region, &restore),
        // The host takes these out of what it applies; they are about replicas, not about the state.
        Some(Command::AuditState(_) | Command::AuditVerdict(_)) => {
            Err(refused(Reason::Invalid, "an audit in the middle of a batch"))
        }
        None => Err(refused(Reason::Invalid, "a command that this version does not know")),
    }
}

/// The namespace with this number, if it takes operations of this mode.
fn namespace(batch: &Batch<'_>, id: u32, mode: NamespaceMode) -> Result<Arc<NamespaceInfo>, Stop> {
    let info = batch.table.get(NamespaceId(id)).cloned();
    let info = info.ok_or_else(|| refused(Reason::NoSuchNamespace, format!("namespace {id}")))?;
    if info.mode != mode {
        return Err(refused(Reason::WrongMode, info.name.clone()));
    }
    Ok(info)
}

/// Refuses a key that does not start as every key of the namespace does.
fn inside_prefix(info: &NamespaceInfo, key: &[u8]) -> Result<(), Stop> {
    if key.starts_with(&info.key_prefix) {
        return Ok(());
    }
    Err(refused(Reason::OutsideKeyPrefix, format!("{:?}", String::from_utf8_lossy(key))))
}

/// The namespace's size after this growth; refused if that is over its quota and larger than before.
fn within_quota(growth: Growth, info: &NamespaceInfo) -> Result<Size, Stop> {
    let size = growth.of(info);
    if growth.keys > 0 && info.keys_max > 0 && size.keys > info.keys_max {
        return Err(refused(Reason::QuotaExceeded, format!("keys: {} of {}", size.keys, info.keys_max)));
    }
    if growth.bytes > 0 && info.bytes_max > 0 && size.bytes > info.bytes_max {
        return Err(refused(Reason::QuotaExceeded, format!("bytes: {} of {}", size.bytes, info.bytes_max)));
    }
    Ok(size)
}
