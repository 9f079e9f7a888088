//! Puts, deletions and compactions.

use std::ops::ControlFlow;

use bytes::Bytes;
use chainfire_proto::{
    etcdserverpb::{
        AlarmType, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse, RangeRequest,
        RangeResponse,
    },
    mvccpb::KeyValue,
};
use flaredb_engine::{Current, EngineError, RecordView, Revision};

use super::{Effect, Work};
use crate::{
    StoreError,
    check::{check_delete, check_put},
    internal::{Caller, Freed, outcome::Outcome},
    number::{self, count, header, signed, unsigned},
    record::{self, Before, Header},
    refusal::{COMPACTED, FUTURE_REVISION, KEY_NOT_FOUND, NO_SPACE, REQUEST_TOO_LARGE},
    select,
    view::{self, Extent, View as _},
};

/// What one command deletes at most, records before included, and what one transaction reads at most.
pub(super) const MOST: Extent = Extent { records: 250_000, bytes: 64 << 20 };

/// A record that is to be deleted.
struct Doomed {
    key: Bytes,
    current: Current,
    lease: i64,
    /// If it was asked for.
    kv: Option<KeyValue>,
}

impl Doomed {
    fn of(row: RecordView<'_>, with_kv: bool) -> Result<Self, EngineError> {
        let current = Current { version: row.version, value_bytes: row.value.len() };
        let lease = Header::decode(row.value)?.0.lease;
        let kv = if with_kv { Some(record::of_view(row)?) } else { None };
        Ok(Self { key: Bytes::copy_from_slice(row.key), current, lease, kv })
    }
}

impl Work<'_, '_> {
    pub(super) fn put(&mut self, caller: &Caller, put: &PutRequest) -> Effect {
        check_put(put)?;
        self.may_put(caller, put)?;
        if self.has_no_space() {
            return Err(NO_SPACE.into());
        }
        self.can_put(put, 1)?;
        let mut revision = self.begin()?;
        let response = self.do_put(&mut revision, put)?;
        self.transaction.finish(&revision);
        Ok(Outcome::Put(response))
    }

    pub(super) fn delete_range(&mut self, caller: &Caller, delete: &DeleteRangeRequest) -> Effect {
        check_delete(delete)?;
        self.may_delete(caller, delete)?;
        let mut revision = self.begin()?;
        let response = self.do_delete(&mut revision, delete)?;
        self.transaction.finish(&revision);
        Ok(Outcome::DeleteRange(response))
    }

    pub(super) fn has_no_space(&self) -> bool {
        self.settings.alarms.iter().any(|alarm| alarm.alarm() == AlarmType::Nospace)
    }

    /// Refuses a put that does not fit the state; it may be one of so many that go with one lease.
    pub(super) fn can_put(&mut self, put: &PutRequest, puts: usize) -> Result<(), StoreError> {
        if (put.ignore_value || put.ignore_lease) && self.transaction.current(self.keys, &put.key)?.is_none()
        {
            return Err(KEY_NOT_FOUND.into());
        }
        self.can_attach(put.lease, puts)
    }

    pub(super) fn do_put(
        &mut self,
        revision: &mut Revision,
        put: &PutRequest,
    ) -> Result<PutResponse, StoreError> {
        let before = self.before(put)?;
        let old = before.as_ref().map(|before| before.header);
        let old_lease = old.map_or(0, |old| old.lease);
        let lease = if put.ignore_lease { old_lease } else { put.lease };
        let create_revision = old.map_or_else(|| revision.number(), |old| old.create_revision);
        let header = Header { create_revision, version: old.map_or(1, |old| old.version + 1), lease };
        let old_kv = before.as_ref().and_then(|before| before.kv.as_ref());
        let value = if put.ignore_value { old_kv.map(|kv| &kv.value) } else { Some(&put.value) };
        let row = header.encode(value.map_or(&[], |value| value));
        self.transaction.write(revision, &put.key, Some(row), before.as_ref().map(|before| before.current));
        self.headers.put(&put.key, revision.number(), header);
        self.reattach(&put.key, old_lease, lease)?;
        let prev_kv = before.and_then(|before| before.kv).filter(|_| put.prev_kv);
        Ok(PutResponse { header: number::header(revision.number()), prev_kv })
    }

    /// The record that a put meets; its value only where the put has to know it.
    fn before(&mut self, put: &PutRequest) -> Result<Option<Before>, EngineError> {
        let Some(current) = self.transaction.current(self.keys, &put.key)? else { return Ok(None) };
        if !put.prev_kv
            && !put.ignore_value
            && let Some(header) = self.headers.get(&put.key, current)
        {
            return Ok(Some(Before { header, current, kv: None }));
        }
        let found = self.transaction.get(self.keys, &put.key)?;
        found.map(|found| Before::of(put.key.clone(), &found)).transpose()
    }

    /// The records of a range that is to be deleted.
    fn doomed(&mut self, delete: &DeleteRangeRequest) -> Result<Vec<Doomed>, StoreError> {
        let range = view::range_of(&delete.key, &delete.range_end);
        let (mut doomed, mut bytes, mut fault) = (Vec::new(), 0, None);
        self.view(None).visit(&view::span(&range, 0), &mut |row| {
            bytes += row.key.len() + if delete.prev_kv { row.value.len() } else { 0 };
            let one = Doomed::of(row, delete.prev_kv).map_err(StoreError::from);
            match one {
                Ok(_) if doomed.len() == MOST.records || bytes > MOST.bytes => {
                    fault = Some(REQUEST_TOO_LARGE.into());
                }
                Ok(one) => doomed.push(one),
                Err(error) => fault = Some(error),
            }
            if fault.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        fault.map_or(Ok(doomed), Err)
    }

    pub(super) fn do_delete(
        &mut self,
        revision: &mut Revision,
        delete: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, StoreError> {
        let doomed = self.doomed(delete)?;
        let deleted = count(doomed.len());
        let mut prev_kvs = Vec::new();
        for one in doomed {
            self.transaction.write(revision, &one.key, None, Some(one.current));
            self.reattach(&one.key, one.lease, 0)?;
            prev_kvs.extend(one.kv);
        }
        let reached = if revision.is_empty() { self.revision() } else { revision.number() };
        Ok(DeleteRangeResponse { header: header(reached), deleted, prev_kvs })
    }

    /// Reads a range as one operation of several.
    pub(super) fn range_in(
        &mut self,
        revision: &Revision,
        range: &RangeRequest,
    ) -> Result<RangeResponse, StoreError> {
        let unfinished = Some(revision.number()).filter(|_| !revision.is_empty());
        select::range(&mut self.view(unfinished), range)
    }

    /// Refuses a revision (0: the present one) that cannot be read.
    pub(super) fn readable(&self, revision: i64) -> Result<(), StoreError> {
        if revision > signed(self.revision()) {
            return Err(FUTURE_REVISION.into());
        }
        if revision > 0 && revision < self.settings.compacted { Err(COMPACTED.into()) } else { Ok(()) }
    }

    pub(super) fn compact(&mut self, revision: i64) -> Effect {
        if revision <= self.settings.compacted {
            return Err(COMPACTED.into());
        }
        if revision > signed(self.revision()) {
            return Err(FUTURE_REVISION.into());
        }
        self.settings.compacted = revision;
        self.save_settings();
        self.free()?;
        Ok(self.done())
    }

    /// Gives room of what is compacted back, some of it at a time. What the compacted revision itself did stays, for
    /// watches that begin there.
    pub(super) fn free(&mut self) -> Effect {
        let revision = signed(self.revision());
        let Some(info) = self.transaction.namespace(self.keys).cloned() else {
            return Ok(Outcome::Freed(Freed { all: true, revision }));
        };
        let compacted = unsigned(self.settings.compacted);
        let oldest = self.transaction.compact(&info, compacted.saturating_sub(1))?;
        Ok(Outcome::Freed(Freed { all: oldest >= compacted, revision }))
    }
}
