//! Random commands, in random runs, against maps that are obviously right.

use std::collections::BTreeMap;

use flaredb_engine::{EventLimits, NamespaceId, ScanRange};
use flaredb_proto::v1::{CompactHistory, flare_request::Command, flare_response::Outcome};
use proptest::prelude::*;

use crate::store::{Store, commit, delete, put};

const ONE: NamespaceId = NamespaceId(1);
const KEYS: [&str; 4] = ["a", "b", "a\0", "\u{ff}"];

type Records = BTreeMap<String, (String, u64)>;

#[derive(Debug, Clone)]
enum Step {
    /// Key, and whether the expected version is the right one.
    Put(usize, bool),
    Delete(usize, bool),
    /// What each key becomes: 0 stays, 1 is put, 2 is deleted.
    Batch([u8; 4]),
    Compact(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4_usize, prop::bool::weighted(0.8)).prop_map(|(key, right)| Step::Put(key, right)),
        2 => (0..4_usize, prop::bool::weighted(0.8)).prop_map(|(key, right)| Step::Delete(key, right)),
        2 => prop::array::uniform4(0..3_u8).prop_map(Step::Batch),
        1 => (0..30_u64).prop_map(Step::Compact),
    ]
}

#[derive(Default)]
struct Model {
    records: Records,
    /// The records at each revision.
    history: Vec<Records>,
    oldest: u64,
}

impl Model {
    fn revision(&self) -> u64 {
        u64::try_from(self.history.len()).unwrap()
    }

    fn version(&self, key: &str) -> u64 {
        self.records.get(key).map_or(0, |(_, version)| *version)
    }

    /// The command, and what must come of it.
    fn take(&mut self, step: &Step) -> (Command, Option<Outcome>) {
        let next = self.revision() + 1;
        let value = format!("value{next}");
        match step {
            Step::Put(key, right) => {
                let version = self.version(KEYS[*key]);
                let command = put(KEYS[*key], &value, if *right { version } else { version + 1 });
                let done = right.then(|| self.write(&[(KEYS[*key], Some(value))]));
                (command, done)
            }
            Step::Delete(key, right) => {
                let version = self.version(KEYS[*key]);
                let command = delete(KEYS[*key], if *right && version > 0 { version } else { version + 7 });
                let done = (*right && version > 0).then(|| self.write(&[(KEYS[*key], None)]));
                (command, done)
            }
            Step::Batch(what) => self.batch(*what, &value),
            Step::Compact(revision) => {
                self.oldest = self.oldest.max(revision.min(&self.revision()) + 1);
                (Command::CompactHistory(CompactHistory { namespace_id: 1, revision: *revision }), None)
            }
        }
    }

    fn batch(&mut self, what: [u8; 4], value: &str) -> (Command, Option<Outcome>) {
        let writes: Vec<(&str, Option<&str>)> = KEYS
            .into_iter()
            .zip(what)
            .filter(|(_, what)| *what > 0)
            .map(|(key, what)| (key, (what == 1).then_some(value)))
            .collect();
        let effective: Vec<(&str, Option<String>)> = writes
            .iter()
            .filter(|(key, value)| value.is_some() || self.version(key) > 0)
            .map(|(key, value)| (*key, value.map(str::to_owned)))
            .collect();
        let done = if effective.is_empty() { Outcome::Done(self.revision()) } else { self.write(&effective) };
        (commit(&[], &writes, ""), Some(done))
    }

    fn write(&mut self, writes: &[(&str, Option<String>)]) -> Outcome {
        let revision = self.revision() + 1;
        for (key, value) in writes {
            match value {
                Some(value) => self.records.insert((*key).to_owned(), (value.clone(), revision)),
                None => self.records.remove(*key),
            };
        }
        self.history.push(self.records.clone());
        Outcome::Done(revision)
    }
}

fn scan(store: &Store, revision: Option<u64>) -> Records {
    let page = store.region.scan(ONE, ScanRange { revision, ..ScanRange::default() }).unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    page.records.iter().map(|record| (text(&record.key), (text(&record.value), record.version))).collect()
}

/// Applies the events from revision `from` on to what was there before it.
fn replay(store: &Store, mut records: Records, from: u64) -> Records {
    let limits = EventLimits { revisions_max: 1_000, bytes_max: 1 << 20 };
    for revision in store.region.events(ONE, b"", from, limits).unwrap().revisions {
        for event in revision.events {
            let key = String::from_utf8(event.key.to_vec()).unwrap();
            let value = event.value.map(|value| String::from_utf8(value.to_vec()).unwrap());
            match value {
                Some(value) => records.insert(key, (value, revision.revision)),
                None => records.remove(&key),
            };
        }
    }
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn every_outcome_scan_and_event_is_the_models(
        runs in prop::collection::vec(prop::collection::vec(step(), 1..6), 1..8),
    ) {
        let (mut store, mut model) = (Store::strong(), Model { oldest: 1, ..Model::default() });
        for run in runs {
            let (commands, wanted): (Vec<_>, Vec<_>) = run.iter().map(|step| model.take(step)).unzip();
            let outcomes = store.apply_all(commands);
            for ((outcome, wanted), step) in outcomes.iter().zip(&wanted).zip(&run) {
                match wanted {
                    Some(wanted) => prop_assert_eq!(outcome, wanted),
                    None if matches!(step, Step::Compact(_)) => {}
                    None => prop_assert!(matches!(outcome, Outcome::Conflicts(_))),
                }
            }
        }
        prop_assert_eq!(scan(&store, None), model.records.clone());
        let at = |revision: u64| match revision {
            0 => Records::new(),
            revision => model.history[usize::try_from(revision).unwrap() - 1].clone(),
        };
        for revision in model.oldest - 1..=model.revision() {
            prop_assert_eq!(scan(&store, Some(revision)), at(revision), "at {}", revision);
        }
        prop_assert_eq!(replay(&store, at(model.oldest - 1), model.oldest), model.records);
        let info = store.region.namespace("strong").unwrap();
        let bytes: usize = scan(&store, None).iter().map(|(key, (value, _))| key.len() + value.len()).sum();
        prop_assert_eq!((info.keys, info.bytes), (scan(&store, None).len() as u64, bytes as u64));
    }
}
