//! Records of a key range, shown one after the other where they lie, at the present revision or at a retained one.
//!
//! Each key is what its largest version up to that revision says. Its newer versions come before that one and its older
//! ones behind it; where there are many of them, they are jumped over.

use std::{
    collections::{BTreeMap, btree_map},
    iter::Peekable,
    ops::ControlFlow::{self, Break, Continue},
};

use bytes::Bytes;
use rocksdb::{DBRawIterator, ReadOptions};

use crate::{
    Engine, EngineError, NamespaceId, NamespaceInfo, ReadError, Region, Transaction,
    batch::Batch,
    engine::CAS,
    keys,
    read::namespace_in,
    versions::{self, Version},
};

/// Rows that are stepped over before a jump, which costs about as much as these.
const STEPS_MAX: usize = 8;

/// Which records to look at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Span {
    /// First key.
    pub start: Bytes,
    /// First key behind the range; `None`: to the end of the namespace.
    pub end: Option<Bytes>,
    /// `None`: the present one.
    pub revision: Option<u64>,
}

/// A record, as long as one looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// The revision that wrote it.
    pub version: u64,
}

/// Looks at a record, and says whether to go on.
pub(crate) type Visitor<'a> = dyn FnMut(RecordView<'_>) -> ControlFlow<()> + 'a;

impl Region {
    /// Shows the records of a range to `look`, in the order of keys, as they are at one moment; returns the revision
    /// that they are of. Nothing is kept, so a range may be as large as it likes; files that the records are in stay
    /// while they are looked at.
    ///
    /// # Errors
    /// When the revision is not retained or not reached, the namespace is gone, or the state cannot be read.
    pub fn visit(
        &self,
        namespace: NamespaceId,
        span: &Span,
        mut look: impl FnMut(RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<u64, ReadError> {
        self.whole(|| {
            let view = self.engine().db.snapshot();
            let info = namespace_in(&view, self, namespace)?;
            let revision = retained(&info, span.revision)?;
            let rows = view.raw_iterator_cf_opt(self.engine().family(CAS)?, options(span));
            Records { rows, namespace, revision }.visit(span, &mut look)?;
            Ok(revision)
        })
    }
}

impl Transaction<'_> {
    /// As [`Region::visit`], with what the commands so far have done, also under an unfinished revision.
    ///
    /// # Errors
    /// When the revision is not retained or not reached, there is no such namespace, or the state cannot be read.
    pub fn visit(
        &self,
        namespace: NamespaceId,
        span: &Span,
        mut look: impl FnMut(RecordView<'_>) -> ControlFlow<()>,
    ) -> Result<u64, ReadError> {
        let info = self.namespace(namespace).ok_or(ReadError::NoNamespace(namespace.0))?;
        let revision = retained(info, span.revision)?;
        self.batch.visit(namespace, span, &mut look)?;
        Ok(revision)
    }
}

impl Batch<'_> {
    /// Shows what RocksDB has, and in its place or between it what the run has written.
    fn visit(&self, namespace: NamespaceId, span: &Span, look: &mut Visitor<'_>) -> Result<(), EngineError> {
        let written = self.written(namespace, span);
        let mut written = Written { rows: written.into_iter().peekable(), done: false };
        if !self.is_of_a_removed(CAS, &keys::record(namespace, &[])) {
            let engine = self.engine();
            let rows = engine.db.raw_iterator_cf_opt(engine.family(CAS)?, options(span));
            let revision = span.revision.unwrap_or(u64::MAX);
            let mut base = |record: RecordView<'_>| written.before(record, look);
            Records { rows, namespace, revision }.visit(span, &mut base)?;
        }
        written.rest(look);
        Ok(())
    }
}

/// What a run has made of records: version and value, or their absence.
pub(crate) type WrittenRecords = BTreeMap<Bytes, Option<(u64, Bytes)>>;

/// The part of them that has not been shown yet.
struct Written {
    rows: Peekable<btree_map::IntoIter<Bytes, Option<(u64, Bytes)>>>,
    /// Nobody wants to see more.
    done: bool,
}

impl Written {
    /// Shows what stands before a record that RocksDB has, and then that record, unless it has been superseded.
    fn before(&mut self, record: RecordView<'_>, look: &mut Visitor<'_>) -> ControlFlow<()> {
        let mut superseded = false;
        while let Some((key, written)) = self.rows.next_if(|(key, _)| &**key <= record.key) {
            superseded = key == record.key;
            self.show(&key, written.as_ref(), look)?;
        }
        if superseded {
            return Continue(());
        }
        self.look(record, look)
    }

    fn rest(mut self, look: &mut Visitor<'_>) {
        while let Some((key, written)) = self.rows.next().filter(|_| !self.done) {
            if self.show(&key, written.as_ref(), look).is_break() {
                return;
            }
        }
    }

    fn show(
        &mut self,
        key: &[u8],
        written: Option<&(u64, Bytes)>,
        look: &mut Visitor<'_>,
    ) -> ControlFlow<()> {
        let Some((version, value)) = written else { return Continue(()) };
        self.look(RecordView { key, value, version: *version }, look)
    }

    fn look(&mut self, record: RecordView<'_>, look: &mut Visitor<'_>) -> ControlFlow<()> {
        let flow = look(record);
        self.done = flow.is_break();
        flow
    }
}

fn options(span: &Span) -> ReadOptions {
    let mut options = Engine::in_order();
    // Who goes on at the revision of an earlier page reads much, once: it would drive out what is read often.
    options.fill_cache(span.revision.is_none());
    options
}

/// The revision to read at, if the namespace can still show it.
fn retained(info: &NamespaceInfo, wanted: Option<u64>) -> Result<u64, ReadError> {
    match wanted {
        None => Ok(info.revision),
        Some(requested) if requested > info.revision => {
            Err(ReadError::FutureRevision { requested, newest: info.revision })
        }
        // The state just before the oldest retained event is still whole.
        Some(requested) if requested + 1 < info.oldest_revision => {
            Err(ReadError::TooOld { requested, oldest: info.oldest_revision })
        }
        Some(requested) => Ok(requested),
    }
}

/// The rows of a namespace in RocksDB, and the revision as of which they are read.
struct Records<'a> {
    rows: DBRawIterator<'a>,
    namespace: NamespaceId,
    revision: u64,
}

impl Records<'_> {
    fn visit(&mut self, span: &Span, look: &mut Visitor<'_>) -> Result<(), EngineError> {
        self.rows.seek(keys::versions(self.namespace, &span.start));
        let namespace = self.namespace.0.to_be_bytes();
        while let Some(row) = self.rows.key().filter(|row| row.starts_with(&namespace)) {
            let (key, part) = (keys::record_key(row)?, keys::record_part(row).to_vec());
            if span.end.as_ref().is_some_and(|end| key[..] >= end[..]) {
                return Ok(());
            }
            self.go_to(&keys::versions_from(&part, self.revision));
            if let Some((version, value)) = self.version(&part)?
                && look(RecordView { key: &key, value, version }) == Break(())
            {
                return Ok(());
            }
            self.go_to(&keys::versions_end(&part));
        }
        Ok(self.rows.status()?)
    }

    /// Version and value of the record, if the row is one of its versions and put something.
    fn version(&self, part: &[u8]) -> Result<Option<(u64, &[u8])>, EngineError> {
        let Some((row, value)) = self.rows.item().filter(|(row, _)| keys::record_part(row) == part) else {
            return Ok(None);
        };
        let Version { number, value } = versions::read(row, value)?;
        Ok(value.map(|value| (number, value)))
    }

    /// Goes on to the first row that is not before `target`.
    fn go_to(&mut self, target: &[u8]) {
        for _ in 0..STEPS_MAX {
            if self.rows.key().is_none_or(|row| row >= target) {
                return;
            }
            self.rows.next();
        }
        self.rows.seek(target);
    }
}
