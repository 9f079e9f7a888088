//! Reading keys, on behalf of somebody, from what this replica has.

use bytes::Bytes;
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        RangeRequest, RangeResponse, TxnRequest, TxnResponse, request_op::Request as Op,
        response_op::Response,
    },
    mvccpb::KeyValue,
};
use flaredb_engine::{NamespaceId, Span, Versioned};

use crate::{
    Store, StoreError,
    check::{TXN_OPS_MAX, check_range, check_txn},
    internal::Caller,
    number::{header, signed, unsigned},
    path, record,
    refusal::KEY_NOT_FOUND,
    select,
    store::FIRST_REVISION,
    view::{self, Present, View, Visitor},
};

/// How often a transaction is begun anew because its revision was compacted while it was read.
const ATTEMPTS_MAX: usize = 5;

impl Store {
    /// Answers a Range request; the header holds the revision alone.
    ///
    /// # Errors
    /// When the request is wrong, the caller may not read this, the revision is compacted or not reached, the answer
    /// would be too large, or the state cannot be read.
    pub fn range(&self, caller: &Caller, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
        check_range(request)?;
        self.guarded(caller, &[view::range_of(&request.key, &request.range_end)], || {
            self.readable(request.revision)?;
            let Some(info) = self.namespace() else {
                return Ok(RangeResponse { header: header(FIRST_REVISION), ..RangeResponse::default() });
            };
            select::range(&mut Present { region: self.region(), keys: info.id }, request)
        })
    }

    /// A record as it is now, whoever asks.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn record(&self, key: &Bytes) -> Result<Option<KeyValue>, StoreError> {
        let Some(info) = self.namespace() else { return Ok(None) };
        let (found, _revision) = self.region().get(info.id, key)?;
        let found = found.map(|found| record::of_row(key.clone(), &found.value, found.version));
        Ok(found.transpose()?)
    }

    /// Answers a transaction that writes nothing ([`is_read_only`](crate::is_read_only)), all of it at one revision.
    ///
    /// # Errors
    /// As [`Store::range`]; also when it would write.
    pub fn read_txn(&self, caller: &Caller, txn: &TxnRequest) -> Result<TxnResponse, StoreError> {
        check_txn(txn, TXN_OPS_MAX)?;
        let mut ranges = Vec::new();
        ranges_of(txn, &mut ranges);
        self.guarded(caller, &ranges, || {
            let mut attempts = 0;
            loop {
                attempts += 1;
                let revision = self.readable(0).map(|_compacted| unsigned(self.revision()))?;
                match self.read_txn_at(txn, revision) {
                    Err(StoreError::Refused(_))
                        if attempts < ATTEMPTS_MAX && self.has_passed(revision)? => {}
                    answer => return answer,
                }
            }
        })
    }

    fn has_passed(&self, revision: u64) -> Result<bool, StoreError> {
        Ok(signed(revision) < self.compacted()?)
    }

    fn read_txn_at(&self, txn: &TxnRequest, revision: u64) -> Result<TxnResponse, StoreError> {
        let keys = self.namespace().map(|info| info.id);
        let mut view = AtRevision { store: self, keys, revision };
        let mut way = path::find(&mut view, txn)?;
        let response = path::follow(txn, &mut way, &mut |op| match op {
            Op::RequestRange(range) => {
                self.readable(range.revision)?;
                Ok(Response::ResponseRange(select::range(&mut view, range)?))
            }
            _ => Err(KEY_NOT_FOUND.into()),
        })?;
        Ok(TxnResponse { header: header(revision), ..response })
    }

    /// Reads ranges, if the caller may, and still may when they have been read.
    fn guarded<T>(
        &self,
        caller: &Caller,
        ranges: &[KeyRange],
        read: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let auth = self.auth()?;
        ranges.iter().try_for_each(|range| auth.may_read(caller, range))?;
        let answer = read()?;
        // What nobody was asked for was everybody's when the reading began.
        if auth.enabled() {
            let now = self.auth()?;
            ranges.iter().try_for_each(|range| now.may_read(caller, range))?;
        }
        Ok(answer)
    }
}

/// What a transaction may read.
fn ranges_of(txn: &TxnRequest, ranges: &mut Vec<KeyRange>) {
    ranges.extend(txn.compare.iter().map(|compare| view::range_of(&compare.key, &compare.range_end)));
    for op in txn.success.iter().chain(&txn.failure) {
        match &op.request {
            Some(Op::RequestRange(range)) => ranges.push(view::range_of(&range.key, &range.range_end)),
            Some(Op::RequestTxn(txn)) => ranges_of(txn, ranges),
            _ => {}
        }
    }
}

/// The store as it was at one revision, which several reads are of.
struct AtRevision<'a> {
    store: &'a Store,
    /// `None`: nothing has happened yet.
    keys: Option<NamespaceId>,
    revision: u64,
}

impl View for AtRevision<'_> {
    fn get(&mut self, key: &[u8]) -> Result<(Option<Versioned>, u64), StoreError> {
        let Some(keys) = self.keys else { return Ok((None, self.revision)) };
        let (found, _newer) = self.store.region().get(keys, key)?;
        if found.as_ref().is_some_and(|found| found.version <= self.revision) {
            return Ok((found, self.revision));
        }
        let mut found = None;
        let key = KeyRange::One(key.to_vec().into());
        self.visit(&view::span(&key, 0), &mut |row| {
            found = Some(Versioned { value: row.value.to_vec().into(), version: row.version });
            std::ops::ControlFlow::Continue(())
        })?;
        Ok((found, self.revision))
    }

    fn revision(&self) -> u64 {
        self.revision
    }

    fn visit(&mut self, span: &Span, look: &mut Visitor<'_>) -> Result<u64, StoreError> {
        let Some(keys) = self.keys else { return Ok(self.revision) };
        let revision = span.revision.unwrap_or(self.revision);
        let span = Span { revision: Some(revision), ..span.clone() };
        self.store.region().visit(keys, &span, look)?;
        Ok(self.revision)
    }
}
