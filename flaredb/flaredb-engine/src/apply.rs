//! What each command does to the state.
//!
//! A command that cannot take effect changes nothing and says why; that is an answer like any other, the same on
//! every replica.

mod admin;
mod eventual;
mod strong;

use std::sync::Arc;

use flaredb_proto::v1::{
    Conflict, Conflicts, FlareRequest, FlareResponse, NamespaceMode, Refused, flare_request::Command,
    flare_response::Outcome, refused::Reason,
};

use crate::{EngineError, NamespaceId, NamespaceInfo, RegionId, batch::Batch};

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

/// Applies one command to the batch.
pub(crate) fn command(
    batch: &mut Batch<'_>,
    region: RegionId,
    request: FlareRequest,
) -> Result<FlareResponse, EngineError> {
    let outcome = match dispatch(batch, region, request) {
        Ok(outcome) => outcome,
        Err(Stop::Refused(refused)) => Outcome::Refused(refused),
        Err(Stop::Conflicts(conflicts)) => Outcome::Conflicts(Conflicts { conflicts }),
        Err(Stop::Broken(error)) => return Err(error),
    };
    Ok(FlareResponse { outcome: Some(outcome) })
}

fn dispatch(batch: &mut Batch<'_>, region: RegionId, request: FlareRequest) -> Effect {
    match request.command {
        Some(Command::CasPut(put)) => strong::put(batch, put),
        Some(Command::CasDelete(delete)) => strong::delete(batch, delete),
        Some(Command::CasCommit(commit)) => strong::commit(batch, commit),
        Some(Command::KvPut(put)) => eventual::put(batch, put),
        Some(Command::KvDelete(delete)) => eventual::delete(batch, delete),
        Some(Command::CreateNamespace(create)) => admin::create(batch, region, create),
        Some(Command::DeleteNamespace(delete)) => admin::delete(batch, region, &delete.name),
        Some(Command::CompactHistory(compact)) => strong::compact(batch, &compact),
        Some(Command::CollectTombstones(collect)) => eventual::collect(batch, &collect),
        Some(Command::RestoreRecords(restore)) => admin::restore(batch, region, &restore),
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

/// What a write adds to and takes from a namespace's size.
#[derive(Debug, Default, Clone, Copy)]
struct Growth {
    keys: i64,
    bytes: i64,
}

impl Growth {
    /// From a record of `before` bytes (key and value) to one of `after`; `None`: no record.
    fn add(&mut self, before: Option<usize>, after: Option<usize>) {
        let size = |bytes: Option<usize>| bytes.map_or(0, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
        self.keys += i64::from(after.is_some()) - i64::from(before.is_some());
        self.bytes += size(after) - size(before);
    }

    /// The namespace's size after this growth; refused if that is over its quota and larger than before.
    fn of(self, info: &NamespaceInfo) -> Result<Size, Stop> {
        let keys = info.keys.saturating_add_signed(self.keys);
        let bytes = info.bytes.saturating_add_signed(self.bytes);
        if self.keys > 0 && info.keys_max > 0 && keys > info.keys_max {
            return Err(refused(Reason::QuotaExceeded, format!("keys: {keys} of {}", info.keys_max)));
        }
        if self.bytes > 0 && info.bytes_max > 0 && bytes > info.bytes_max {
            return Err(refused(Reason::QuotaExceeded, format!("bytes: {bytes} of {}", info.bytes_max)));
        }
        Ok(Size { keys, bytes })
    }
}

/// The size of a namespace.
#[derive(Debug, Clone, Copy)]
struct Size {
    keys: u64,
    bytes: u64,
}

impl Size {
    fn set(self, info: &mut NamespaceInfo) {
        info.keys = self.keys;
        info.bytes = self.bytes;
    }
}
