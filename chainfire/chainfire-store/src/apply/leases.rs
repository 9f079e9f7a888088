//! Leases: granted with a number that the proposer chose, ended with all of their keys at one revision.
//!
//! That a lease's time is over is decided by a leader and said here. It counts only if no other leader's term has begun
//! since and the number has not been granted anew: a leader that slept, or that is none any more, ends no lease.

use bytes::Bytes;
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{LeaseGrantRequest, LeaseGrantResponse},
};
use flaredb_engine::EngineError;
use prost::Message as _;

use super::{Effect, Work};
use crate::{
    StoreError,
    internal::{Caller, LeaseCheckpoint, LeaseExpire, LeaseRow, LeasesExpired, outcome::Outcome},
    number::{header, signed},
    refusal::{
        LEASE_EXISTS, LEASE_NOT_FOUND, LEASE_TTL_TOO_LARGE, NO_LEADER, NO_SPACE, REQUEST_TOO_LARGE,
        TOO_MANY_REQUESTS,
    },
    rows,
};

/// Keys that go with one lease at most, so that its end is one revision.
pub(crate) const LEASE_KEYS_MAX: usize = 250_000;
/// Leases at most.
const LEASES_MAX: u64 = 1_000_000;
/// As etcd's with its default election timeout: none ends before a leader that is lost can be replaced.
const TTL_MIN_S: i64 = 2;
/// As etcd's: nanoseconds of more would not fit into its numbers.
const TTL_MAX_S: i64 = 9_000_000_000;

impl Work<'_, '_> {
    pub(super) fn grant(&mut self, grant: &LeaseGrantRequest) -> Effect {
        if self.has_no_space() {
            return Err(NO_SPACE.into());
        }
        if grant.id == 0 {
            return Err(LEASE_NOT_FOUND.into());
        }
        if grant.ttl > TTL_MAX_S {
            return Err(LEASE_TTL_TOO_LARGE.into());
        }
        if self.lease(grant.id)?.is_some() {
            return Err(LEASE_EXISTS.into());
        }
        if self.settings.leases >= LEASES_MAX {
            return Err(TOO_MANY_REQUESTS.into());
        }
        let ttl_s = grant.ttl.max(TTL_MIN_S);
        self.put_lease(grant.id, &LeaseRow { ttl_s, epoch: self.index, keys: 0, left_ms: 0 });
        self.transaction.put_aux(self.keys, &rows::grant(self.index), rows::lease(grant.id));
        self.settings.leases += 1;
        self.save_settings();
        let header = header(self.revision());
        Ok(Outcome::LeaseGrant(LeaseGrantResponse { header, id: grant.id, ttl: ttl_s, error: String::new() }))
    }

    pub(super) fn revoke(&mut self, caller: &Caller, id: i64) -> Effect {
        let row = self.lease(id)?.ok_or(LEASE_NOT_FOUND)?;
        self.may_write_lease(caller, id)?;
        self.end_lease(id, row.epoch)?;
        Ok(self.done())
    }

    pub(super) fn expire(&mut self, expire: &LeaseExpire) -> Effect {
        let (mut ids, mut keys) = (Vec::new(), 0);
        let of_this_term = expire.term == self.settings.term;
        for lease in expire.leases.iter().filter(|_| of_this_term) {
            let Some(row) = self.lease(lease.id)?.filter(|row| row.epoch == lease.epoch) else { continue };
            keys += usize::try_from(row.keys).unwrap_or(usize::MAX);
            // The rest is proposed again, so that one command never holds up others for long.
            if keys > LEASE_KEYS_MAX && !ids.is_empty() {
                break;
            }
            self.end_lease(lease.id, row.epoch)?;
            ids.push(lease.id);
        }
        Ok(Outcome::Expired(LeasesExpired { ids, revision: signed(self.revision()) }))
    }

    pub(super) fn begin_term(&mut self, term: u64) -> Effect {
        if term > self.settings.term {
            self.settings.term = term;
            self.settings.checkpoint = 0;
            self.save_settings();
        }
        Ok(self.done())
    }

    /// Refused as a whole behind a later term or a later one of this term: a lease may have been renewed since.
    pub(super) fn checkpoint(&mut self, checkpoint: &LeaseCheckpoint) -> Effect {
        if checkpoint.term != self.settings.term || checkpoint.number <= self.settings.checkpoint {
            return Err(NO_LEADER.into());
        }
        self.settings.checkpoint = checkpoint.number;
        self.save_settings();
        for said in &checkpoint.leases {
            let Some(lease) = &said.lease else { continue };
            if let Some(row) = self.lease(lease.id)?.filter(|row| row.epoch == lease.epoch) {
                self.put_lease(lease.id, &LeaseRow { left_ms: said.left_ms, ..row });
            }
        }
        Ok(self.done())
    }

    /// Deletes a lease and its keys, these at one revision.
    fn end_lease(&mut self, id: i64, epoch: u64) -> Result<(), EngineError> {
        let mut revision = self.begin()?;
        for key in self.keys_of(id)? {
            let before = self.transaction.current(self.keys, &key)?;
            if before.is_some() {
                self.transaction.write(&mut revision, &key, None, before);
            }
            self.transaction.delete_aux(self.keys, &rows::lease_key(id, &key));
        }
        self.transaction.finish(&revision);
        self.transaction.delete_aux(self.keys, &rows::lease(id));
        self.transaction.delete_aux(self.keys, &rows::grant(epoch));
        self.settings.leases = self.settings.leases.saturating_sub(1);
        self.save_settings();
        Ok(())
    }

    fn keys_of(&self, id: i64) -> Result<Vec<Bytes>, EngineError> {
        let (start, end) = rows::lease_keys(id);
        let rows = self.transaction.aux_rows(self.keys, &start, &end, LEASE_KEYS_MAX)?;
        Ok(rows.iter().map(|(row, _)| rows::key_of_lease(row)).collect())
    }

    fn lease(&self, id: i64) -> Result<Option<LeaseRow>, EngineError> {
        let row = self.transaction.aux(self.keys, &rows::lease(id))?;
        row.map(|row| rows::decode(Some(row))).transpose()
    }

    fn put_lease(&mut self, id: i64, row: &LeaseRow) {
        self.transaction.put_aux(self.keys, &rows::lease(id), row.encode_to_vec());
    }

    /// Refuses to attach keys to a lease that is not there, or that has as many as it may.
    pub(super) fn can_attach(&self, id: i64, keys: usize) -> Result<(), StoreError> {
        if id == 0 {
            return Ok(());
        }
        let row = self.lease(id)?.ok_or(LEASE_NOT_FOUND)?;
        let after = usize::try_from(row.keys).unwrap_or(usize::MAX).saturating_add(keys);
        if after > LEASE_KEYS_MAX { Err(REQUEST_TOO_LARGE.into()) } else { Ok(()) }
    }

    /// Moves a key from one lease to another (0: none).
    pub(super) fn reattach(&mut self, key: &[u8], from: i64, to: i64) -> Result<(), EngineError> {
        if from == to {
            return Ok(());
        }
        if let Some(row) = if from == 0 { None } else { self.lease(from)? } {
            self.transaction.delete_aux(self.keys, &rows::lease_key(from, key));
            self.put_lease(from, &LeaseRow { keys: row.keys.saturating_sub(1), ..row });
        }
        if let Some(row) = if to == 0 { None } else { self.lease(to)? } {
            self.transaction.put_aux(self.keys, &rows::lease_key(to, key), Bytes::new());
            self.put_lease(to, &LeaseRow { keys: row.keys + 1, ..row });
        }
        Ok(())
    }

    /// Who attaches keys to a lease, or ends it, must be allowed to write all of its keys: they go with it.
    pub(super) fn may_write_lease(&self, caller: &Caller, id: i64) -> Result<(), StoreError> {
        if id == 0 || self.auth.may_everything(caller)? {
            return Ok(());
        }
        for key in self.keys_of(id)? {
            self.auth.may_write(caller, &KeyRange::One(key))?;
        }
        Ok(())
    }
}
