//! Commands of one's own: what they see while a run goes on, and what is left of it, against maps that are obviously
//! right.

use std::{collections::BTreeMap, ops::ControlFlow};

use bytes::Bytes;
use flaredb_engine::{Applied, EngineError, Entry, NamespaceId, Region, Span, Transaction};
use proptest::prelude::*;
use tempfile::TempDir;

use crate::store::open;

type Records = BTreeMap<Bytes, (Bytes, u64)>;

const KEYS: [&[u8]; 5] = [b"a", b"a\0", b"b", b"c", b"\xff"];

#[derive(Debug, Clone)]
enum Step {
    /// Puts (or deletes) some of the keys at one revision.
    Write(Vec<(usize, bool)>),
    Compact(u64),
    /// Looks at the keys between two of them, at some revision.
    Look(usize, usize, Option<u64>),
    Aux(usize, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let write = prop::collection::btree_map(0..KEYS.len(), prop::bool::weighted(0.7), 0..4);
    prop_oneof![
        5 => write.prop_map(|keys| Step::Write(keys.into_iter().collect())),
        1 => (0..20_u64).prop_map(Step::Compact),
        4 => (0..KEYS.len(), 0..KEYS.len(), prop::option::of(0..20_u64))
            .prop_map(|(start, end, revision)| Step::Look(start, end, revision)),
        2 => (0..KEYS.len(), any::<bool>()).prop_map(|(key, put)| Step::Aux(key, put)),
    ]
}

/// What the namespace must be like.
#[derive(Default)]
struct Model {
    /// The records as of each revision, from the first.
    history: Vec<Records>,
    oldest: u64,
    aux: BTreeMap<Bytes, Bytes>,
}

impl Model {
    fn revision(&self) -> u64 {
        u64::try_from(self.history.len()).unwrap()
    }

    /// The records of a span, unless the revision cannot be read.
    fn look(&self, span: &Span) -> Option<Records> {
        let revision = span.revision.unwrap_or_else(|| self.revision());
        if revision > self.revision() || revision + 1 < self.oldest.max(1) {
            return None;
        }
        let place = usize::try_from(revision).unwrap();
        let records = if place == 0 { Records::new() } else { self.history[place - 1].clone() };
        let inside = |key: &Bytes| *key >= span.start && span.end.as_ref().is_none_or(|end| key < end);
        Some(records.into_iter().filter(|(key, _)| inside(key)).collect())
    }
}

fn seen(visit: impl FnOnce(&mut dyn FnMut(&[u8], &[u8], u64)) -> bool) -> Option<Records> {
    let mut order: Vec<Bytes> = Vec::new();
    let mut records = Records::new();
    let found = visit(&mut |key, value, version| {
        order.push(Bytes::copy_from_slice(key));
        records.insert(Bytes::copy_from_slice(key), (Bytes::copy_from_slice(value), version));
    });
    assert!(order.is_sorted() && order.len() == records.len(), "{order:?}");
    found.then_some(records)
}

fn in_transaction(transaction: &Transaction<'_>, namespace: NamespaceId, span: &Span) -> Option<Records> {
    seen(|look| {
        let visit = transaction.visit(namespace, span, |record| {
            look(record.key, record.value, record.version);
            ControlFlow::Continue(())
        });
        visit.is_ok()
    })
}

fn in_region(region: &Region, namespace: NamespaceId, span: &Span) -> Option<Records> {
    seen(|look| {
        let visit = region.visit(namespace, span, |record| {
            look(record.key, record.value, record.version);
            ControlFlow::Continue(())
        });
        visit.is_ok()
    })
}

fn take(transaction: &mut Transaction<'_>, model: &mut Model, step: &Step) -> Result<(), EngineError> {
    let namespace = transaction.ensure_namespace("test", 0)?;
    match step {
        Step::Write(keys) => write(transaction, namespace, model, keys)?,
        Step::Compact(revision) => {
            let info = transaction.namespace(namespace).unwrap().clone();
            model.oldest = model.oldest.max(revision.min(&model.revision()) + 1);
            assert_eq!(transaction.compact(&info, *revision)?, model.oldest);
        }
        Step::Look(start, end, revision) => {
            let span = Span { start: KEYS[*start].into(), end: Some(KEYS[*end].into()), revision: *revision };
            assert_eq!(in_transaction(transaction, namespace, &span), model.look(&span));
        }
        Step::Aux(key, put) => {
            if *put {
                let row = Bytes::from(model.revision().to_string());
                transaction.put_aux(namespace, KEYS[*key], row.clone());
                model.aux.insert(KEYS[*key].into(), row);
            } else {
                transaction.delete_aux(namespace, KEYS[*key]);
                model.aux.remove(KEYS[*key]);
            }
            let rows = transaction.aux_rows(namespace, b"a\0", b"\xff", 3)?;
            let expected = model.aux.range(Bytes::from(KEYS[1])..Bytes::from(KEYS[4])).take(3);
            assert!(rows.iter().map(|(key, row)| (key, row)).eq(expected));
            assert_eq!(transaction.aux(namespace, KEYS[*key])?.as_ref(), model.aux.get(KEYS[*key]));
        }
    }
    Ok(())
}

fn write(
    transaction: &mut Transaction<'_>,
    namespace: NamespaceId,
    model: &mut Model,
    keys: &[(usize, bool)],
) -> Result<(), EngineError> {
    let info = transaction.namespace(namespace).unwrap().clone();
    let mut revision = transaction.begin(&info);
    let mut records = model.look(&Span::default()).unwrap();
    for (key, put) in keys {
        let key = Bytes::from(KEYS[*key]);
        let before = transaction.current(namespace, &key)?;
        assert_eq!(before.map(|before| before.version), records.get(&key).map(|(_, version)| *version));
        let value = put.then(|| Bytes::from(format!("{}", revision.number())));
        if value.is_some() || before.is_some() {
            transaction.write(&mut revision, &key, value.clone(), before);
        }
        match value {
            Some(value) => records.insert(key.clone(), (value, revision.number())),
            None => records.remove(&key),
        };
        let found = transaction.get(namespace, &key)?.map(|found| (found.value, found.version));
        assert_eq!(found.as_ref(), records.get(&key));
    }
    // What the revision has written so far can be read, though nobody else is told of it.
    assert_eq!(in_transaction(transaction, namespace, &Span::default()), Some(records.clone()));
    transaction.finish(&revision);
    if !revision.is_empty() {
        model.history.push(records);
    }
    Ok(())
}

fn check(region: &Region, model: &Model) {
    let Some(info) = region.namespace("test") else { return };
    let newest = model.look(&Span::default()).unwrap();
    let bytes: usize = newest.iter().map(|(key, (value, _))| key.len() + value.len()).sum();
    assert_eq!((info.revision, info.keys), (model.revision(), u64::try_from(newest.len()).unwrap()));
    assert_eq!(info.bytes, u64::try_from(bytes).unwrap());
    for revision in 0..model.revision() + 2 {
        let span = Span { start: "a".into(), revision: Some(revision), ..Span::default() };
        assert_eq!(in_region(region, info.id, &span), model.look(&span), "revision {revision}");
    }
    let rows = region.aux_rows(info.id, b"", b"\xff\xff", 100).unwrap();
    assert!(rows.iter().map(|(key, row)| (key, row)).eq(&model.aux));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn commands_of_ones_own_see_each_other_and_leave_what_they_wrote(
        runs in prop::collection::vec(prop::collection::vec(step(), 1..12), 1..6),
    ) {
        let folder = TempDir::new().unwrap();
        let mut region = open(&folder);
        let (mut model, mut index, command) = (Model::default(), 0, Bytes::from_static(b"command"));
        for steps in runs {
            let first = index + 1;
            index += u64::try_from(steps.len()).unwrap();
            let entries: Vec<_> = (first..=index).map(|index| Entry { index, command: Some(&command) }).collect();
            let applied = Applied { index, host: Bytes::new() };
            let answers = region.apply_with(&entries, applied, |transaction, index, _| {
                take(transaction, &mut model, &steps[usize::try_from(index - first).unwrap()])
            });
            prop_assert_eq!(answers.unwrap().len(), steps.len());
            check(&region, &model);
            if index.is_multiple_of(3) {
                region.flush().unwrap();
                drop(region);
                region = open(&folder);
                check(&region, &model);
            }
        }
    }
}

#[test]
fn run_with_a_command_that_fails_writes_nothing() {
    let folder = TempDir::new().unwrap();
    let region = open(&folder);
    let command = Bytes::from_static(b"command");
    let entries = [1, 2].map(|index| Entry { index, command: Some(&command) });
    let applied = Applied { index: 2, host: Bytes::new() };
    let failed = region.apply_with(&entries, applied.clone(), |transaction, index, _| {
        transaction.ensure_namespace("test", 0)?;
        if index == 2 { Err(EngineError::Corrupt { what: "command" }) } else { Ok(()) }
    });
    assert!(failed.is_err() && region.namespace("test").is_none());
    let answers = region.apply_with(&entries, applied.clone(), |_, index, _| Ok(index)).unwrap();
    assert_eq!(answers, [Some(1), Some(2)]);
    let again = region.apply_with(&entries, applied, |_, index, _| Ok(index)).unwrap();
    assert_eq!(again, [None, None]);
}
