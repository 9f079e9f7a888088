//! Which records a Range request gets, in which order, and what is counted (API reference, "Range").

use std::{cmp::Ordering, ops::ControlFlow};

use bytes::Bytes;
use chainfire_proto::{
    KeyRange,
    etcdserverpb::{
        RangeRequest, RangeResponse,
        range_request::{SortOrder, SortTarget},
    },
    mvccpb::KeyValue,
};
use flaredb_engine::{EngineError, RecordView};

use crate::{
    StoreError,
    number::{count, header, signed},
    record,
    refusal::REQUEST_TOO_LARGE,
    view::{self, View},
};

/// An answer of more bytes is refused; who wants more asks for pages.
pub(crate) const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Records beyond twice the limit that are kept before those that cannot be among the first are dropped.
const SPARE_RECORDS: usize = 1_024;

/// Answers a Range request that is well-formed.
pub(crate) fn range(view: &mut impl View, request: &RangeRequest) -> Result<RangeResponse, StoreError> {
    let range = view::range_of(&request.key, &request.range_end);
    let mut selection = Selection::new(request);
    let revision = match &range {
        KeyRange::One(key) if request.revision <= 0 => {
            let (found, revision) = view.get(key)?;
            if let Some(found) = found {
                let row = RecordView { key, value: &found.value, version: found.version };
                let _only_one = selection.look(row);
            }
            revision
        }
        _ => {
            let seen = view.visit(&view::span(&range, request.revision), &mut |row| selection.look(row))?;
            // As in etcd, the header says how far the store is, not what was read.
            if request.revision > 0 { view.revision().max(seen) } else { seen }
        }
    };
    selection.finish(revision)
}

struct Selection<'a> {
    request: &'a RangeRequest,
    /// `None`: the order of keys, as they come.
    order: Option<(SortTarget, bool)>,
    /// Most records; `None`: all.
    limit: Option<usize>,
    kvs: Vec<KeyValue>,
    bytes: usize,
    count: usize,
    more: bool,
    fault: Option<StoreError>,
}

impl<'a> Selection<'a> {
    fn new(request: &'a RangeRequest) -> Self {
        let target = request.sort_target();
        let order = match (request.sort_order(), target) {
            (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => None,
            (order, target) => Some((target, order == SortOrder::Descend)),
        };
        let limit = usize::try_from(request.limit).ok().filter(|limit| *limit > 0);
        let (kvs, bytes, count, more, fault) = (Vec::new(), 0, 0, false, None);
        Self { request, order, limit, kvs, bytes, count, more, fault }
    }

    fn look(&mut self, row: RecordView<'_>) -> ControlFlow<()> {
        self.count += 1;
        // Everything is counted, also behind the limit.
        if self.request.count_only || self.more && self.order.is_none() {
            return ControlFlow::Continue(());
        }
        match self.take(row) {
            Ok(()) => ControlFlow::Continue(()),
            Err(fault) => {
                self.fault = Some(fault);
                ControlFlow::Break(())
            }
        }
    }

    fn take(&mut self, row: RecordView<'_>) -> Result<(), StoreError> {
        if !self.wants(row)? {
            return Ok(());
        }
        if self.order.is_none() && self.limit == Some(self.kvs.len()) {
            self.more = true;
            return Ok(());
        }
        self.keep(row)?;
        if self
            .limit
            .is_some_and(|limit| self.kvs.len() >= limit.saturating_mul(2).saturating_add(SPARE_RECORDS))
        {
            self.prune();
        }
        if self.bytes > ANSWER_BYTES_MAX {
            self.prune();
        }
        if self.bytes > ANSWER_BYTES_MAX { Err(REQUEST_TOO_LARGE.into()) } else { Ok(()) }
    }

    fn wants(&self, row: RecordView<'_>) -> Result<bool, EngineError> {
        let request = self.request;
        let inside =
            |number: i64, min: i64, max: i64| (min == 0 || number >= min) && (max == 0 || number <= max);
        if !inside(signed(row.version), request.min_mod_revision, request.max_mod_revision) {
            return Ok(false);
        }
        if request.min_create_revision == 0 && request.max_create_revision == 0 {
            return Ok(true);
        }
        let created = signed(record::Header::decode(row.value)?.0.create_revision);
        Ok(inside(created, request.min_create_revision, request.max_create_revision))
    }

    fn keep(&mut self, row: RecordView<'_>) -> Result<(), EngineError> {
        let mut kv = record::of_view(row)?;
        // The value may be what they are sorted by.
        if self.request.keys_only && self.request.sort_target() != SortTarget::Value {
            kv.value = Bytes::new();
        }
        self.bytes += size(&kv);
        self.kvs.push(kv);
        Ok(())
    }

    /// Puts them in order, and drops those that others have pushed behind the limit.
    fn prune(&mut self) {
        if let Some((target, descending)) = self.order {
            self.kvs.sort_by(|one, two| {
                let order = compare(target, one, two);
                if descending { order.reverse() } else { order }
            });
        }
        let limit = self.limit.unwrap_or(usize::MAX);
        if self.kvs.len() > limit {
            self.kvs.truncate(limit);
            self.more = true;
            self.bytes = self.kvs.iter().map(size).sum();
        }
    }

    fn finish(mut self, revision: u64) -> Result<RangeResponse, StoreError> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        self.prune();
        if self.request.keys_only {
            self.kvs.iter_mut().for_each(|kv| kv.value = Bytes::new());
        }
        Ok(RangeResponse {
            header: header(revision),
            kvs: self.kvs,
            more: self.more,
            count: count(self.count),
        })
    }
}

fn size(kv: &KeyValue) -> usize {
    size_of::<KeyValue>() + kv.key.len() + kv.value.len()
}

fn compare(target: SortTarget, one: &KeyValue, two: &KeyValue) -> Ordering {
    match target {
        SortTarget::Key => one.key.cmp(&two.key),
        SortTarget::Version => one.version.cmp(&two.version),
        SortTarget::Create => one.create_revision.cmp(&two.create_revision),
        SortTarget::Mod => one.mod_revision.cmp(&two.mod_revision),
        SortTarget::Value => one.value.cmp(&two.value),
    }
}
