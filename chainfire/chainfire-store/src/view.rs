//! What answers to requests are made from: the store as readers see it, or as the commands of a run have left it.

use std::ops::ControlFlow;

use bytes::Bytes;
use chainfire_proto::{KeyRange, mvccpb::KeyValue};
use flaredb_engine::{EngineError, NamespaceId, RecordView, Region, Span, Transaction, Versioned};

use crate::{
    StoreError,
    number::unsigned,
    record,
    store::{FIRST_REVISION, KEYS},
};

/// Looks at a record, and says whether to go on.
pub(crate) type Visitor<'a> = dyn FnMut(RecordView<'_>) -> ControlFlow<()> + 'a;

/// Something whose records can be looked at.
pub(crate) trait View {
    /// A record as it is now, and a revision that it is of.
    fn get(&mut self, key: &[u8]) -> Result<(Option<Versioned>, u64), StoreError>;

    /// The last revision, whichever one is read.
    fn revision(&self) -> u64;

    /// Shows the records of a span at one moment; returns the revision that they are of.
    fn visit(&mut self, span: &Span, look: &mut Visitor<'_>) -> Result<u64, StoreError>;
}

/// As readers see it.
pub(crate) struct Present<'a> {
    pub(crate) region: &'a Region,
    pub(crate) keys: NamespaceId,
}

impl View for Present<'_> {
    fn get(&mut self, key: &[u8]) -> Result<(Option<Versioned>, u64), StoreError> {
        Ok(self.region.get(self.keys, key)?)
    }

    fn revision(&self) -> u64 {
        self.region.namespace(KEYS).map_or(FIRST_REVISION, |info| info.revision)
    }

    fn visit(&mut self, span: &Span, look: &mut Visitor<'_>) -> Result<u64, StoreError> {
        Ok(self.region.visit(self.keys, span, look)?)
    }
}

/// As one command sees it.
pub(crate) struct Applying<'a, 'b> {
    pub(crate) transaction: &'a mut Transaction<'b>,
    pub(crate) keys: NamespaceId,
    /// The revision that the command has begun to write.
    pub(crate) unfinished: Option<u64>,
}

impl View for Applying<'_, '_> {
    fn get(&mut self, key: &[u8]) -> Result<(Option<Versioned>, u64), StoreError> {
        Ok((self.transaction.get(self.keys, key)?, self.revision()))
    }

    fn revision(&self) -> u64 {
        let finished = || self.transaction.namespace(self.keys).map_or(FIRST_REVISION, |info| info.revision);
        self.unfinished.unwrap_or_else(finished)
    }

    fn visit(&mut self, span: &Span, look: &mut Visitor<'_>) -> Result<u64, StoreError> {
        let revision = self.transaction.visit(self.keys, span, look)?;
        Ok(self.unfinished.filter(|_| span.revision.is_none()).unwrap_or(revision))
    }
}

/// The span of a range of keys; `revision` of 0 or below: now.
pub(crate) fn span(range: &KeyRange, revision: i64) -> Span {
    let start = range.start().clone();
    let end = match range {
        KeyRange::One(key) => Some([key, &[0][..]].concat().into()),
        KeyRange::Between(_, end) => Some(end.clone()),
        KeyRange::From(_) => None,
    };
    Span { start, end, revision: (revision > 0).then(|| unsigned(revision)) }
}

/// Shows the records of a range now, as etcd has them, until `look` wants no more.
pub(crate) fn records(
    view: &mut impl View,
    range: &KeyRange,
    mut look: impl FnMut(KeyValue, usize) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    if let KeyRange::One(key) = range {
        if let Some(found) = view.get(key)?.0 {
            let _stopped = look(record::of_row(key.clone(), &found.value, found.version)?, found.value.len());
        }
        return Ok(());
    }
    let mut fault: Option<EngineError> = None;
    view.visit(&span(range, 0), &mut |row| match record::of_view(row) {
        Ok(kv) => look(kv, row.value.len()),
        Err(error) => {
            fault = Some(error);
            ControlFlow::Break(())
        }
    })?;
    fault.map_or(Ok(()), |error| Err(error.into()))
}

/// The size of a range, as far as it may be counted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Extent {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// Counts the records of a range at a revision, and stops behind the largest extent.
pub(crate) fn extent(
    view: &mut impl View,
    range: &KeyRange,
    revision: i64,
    most: Extent,
) -> Result<Extent, StoreError> {
    let mut extent = Extent::default();
    view.visit(&span(range, revision), &mut |row| {
        extent.records += 1;
        extent.bytes += row.key.len() + row.value.len();
        if extent.records > most.records || extent.bytes > most.bytes {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    })?;
    Ok(extent)
}

/// The keys of a range, in the form in which they are asked for.
pub(crate) fn range_of(key: &Bytes, range_end: &Bytes) -> KeyRange {
    KeyRange::new(key.clone(), range_end.clone())
}
