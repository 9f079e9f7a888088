//! Random commands against the reference: every answer, every revision that can be read, every event.

use std::collections::BTreeMap;

use bytes::Bytes;
use chainfire_proto::{
    etcdserverpb::{
        CompactionRequest, LeaseGrantRequest, LeaseGrantResponse, LeaseRevokeRequest, RangeRequest,
    },
    mvccpb::{KeyValue, event::EventType},
};
use chainfire_store::{
    Store, StoreError,
    internal::{
        BeginTerm, Caller, Free, LeaseEpoch, LeaseExpire, LeasesExpired, command::Request, outcome::Outcome,
    },
    is_read_only,
    refusal::{self, Refusal},
};
use flaredb_engine::EventLimits;
use proptest::prelude::*;

use crate::{
    driver::{Driver, encode},
    random::{LEASES, Step, range, step, txn},
    reference::{Change, Reference},
};

const LIMITS: EventLimits = EventLimits { revisions_max: usize::MAX, bytes_max: usize::MAX };

/// What must be so.
struct Model {
    reference: Reference,
    epochs: BTreeMap<i64, u64>,
    term: u64,
}

fn outcome<T>(answer: Result<T, Refusal>, of: impl FnOnce(T) -> Outcome) -> Outcome {
    answer.map_or_else(|refusal| Outcome::Refused(refusal.into()), of)
}

impl Model {
    fn new() -> Self {
        Self { reference: Reference::new(), epochs: BTreeMap::new(), term: 0 }
    }

    fn done(&self) -> Outcome {
        Outcome::Done(self.reference.revision())
    }

    /// The command of a step at this place in the log, and what must come of it, if that is known.
    fn take(&mut self, step: &Step, index: u64) -> Option<(Request, Option<Outcome>)> {
        Some(match step.clone() {
            Step::Put(put) => {
                let answer = outcome(self.reference.put(&put), Outcome::Put);
                (Request::Put(put), Some(answer))
            }
            Step::Delete(delete) => {
                let answer = Outcome::DeleteRange(self.reference.delete(&delete));
                (Request::DeleteRange(delete), Some(answer))
            }
            Step::Txn(txn) => {
                let answer = outcome(self.reference.txn(&txn), Outcome::Txn);
                (Request::Txn(txn), Some(answer))
            }
            Step::Compact(back) => self.compact(self.reference.revision() - back),
            Step::Free => (Request::Free(Free {}), None),
            Step::Grant(id) => self.grant(id, index),
            Step::Revoke(id) => {
                let known = self.reference.leases.contains(&id);
                self.reference.revoke(id);
                let answer =
                    if known { self.done() } else { Outcome::Refused(refusal::LEASE_NOT_FOUND.into()) };
                (Request::LeaseRevoke(LeaseRevokeRequest { id }), Some(answer))
            }
            Step::Expire(id, term, epoch) => self.expire(id, term, epoch),
            Step::BeginTerm => {
                self.term += 1;
                (Request::BeginTerm(BeginTerm { term: self.term }), Some(self.done()))
            }
            Step::Range(_) | Step::Restart => return None,
        })
    }

    fn compact(&mut self, revision: i64) -> (Request, Option<Outcome>) {
        let answer = if revision <= self.reference.compacted {
            Outcome::Refused(refusal::COMPACTED.into())
        } else if revision > self.reference.revision() {
            Outcome::Refused(refusal::FUTURE_REVISION.into())
        } else {
            self.reference.compacted = revision;
            self.done()
        };
        (Request::Compaction(CompactionRequest { revision, physical: false }), Some(answer))
    }

    fn grant(&mut self, id: i64, index: u64) -> (Request, Option<Outcome>) {
        let answer = if id == 0 {
            Outcome::Refused(refusal::LEASE_NOT_FOUND.into())
        } else if !self.reference.leases.insert(id) {
            Outcome::Refused(refusal::LEASE_EXISTS.into())
        } else {
            self.epochs.insert(id, index);
            let header = self.reference.range(&RangeRequest::default()).unwrap().header;
            Outcome::LeaseGrant(LeaseGrantResponse { header, id, ttl: 7, error: String::new() })
        };
        (Request::LeaseGrant(LeaseGrantRequest { id, ttl: 7 }), Some(answer))
    }

    fn expire(&mut self, id: i64, term: bool, epoch: bool) -> (Request, Option<Outcome>) {
        let right = self.epochs.get(&id).copied().unwrap_or_default();
        let lease = LeaseEpoch { id, epoch: if epoch { right } else { right + 1 } };
        let ends = term && epoch && self.reference.leases.contains(&id);
        let ids = if ends { vec![id] } else { Vec::new() };
        if ends {
            self.reference.revoke(id);
        }
        let answer = Outcome::Expired(LeasesExpired { ids, revision: self.reference.revision() });
        let term = if term { self.term } else { self.term + 1 };
        (Request::LeaseExpire(LeaseExpire { term, leases: vec![lease] }), Some(answer))
    }

    fn check(&self, store: &Store) {
        let reference = &self.reference;
        assert_eq!(store.revision(), reference.revision());
        assert_eq!(store.compacted().unwrap(), reference.compacted);
        assert_eq!(store.term().unwrap(), self.term);
        let leases: Vec<i64> = store.leases(None, 100).unwrap().iter().map(|lease| lease.id).collect();
        assert!(leases.iter().eq(&reference.leases));
        let mut epochs: Vec<u64> = reference.leases.iter().map(|id| self.epochs[id]).collect();
        epochs.sort_unstable();
        let granted: Vec<u64> = store.granted(0, 100).unwrap().iter().map(|lease| lease.epoch).collect();
        assert_eq!(granted, epochs);
        if let [first, rest @ ..] = &epochs[..] {
            assert_eq!(store.granted(*first, 100).unwrap().len(), rest.len());
        }
        for id in LEASES {
            let keys = store.lease_keys(id).unwrap();
            assert_eq!(keys, if id == 0 { Vec::new() } else { reference.keys_of(id) });
            if let Some(lease) = store.lease(id).unwrap() {
                assert_eq!((lease.ttl_s, lease.epoch), (7, self.epochs[&id]));
                assert_eq!(usize::try_from(lease.keys).unwrap(), keys.len());
            }
        }
        for revision in 0..reference.revision() + 2 {
            let all = RangeRequest {
                key: "\0".into(),
                range_end: "\0".into(),
                revision,
                ..RangeRequest::default()
            };
            same(store.range(&Caller::default(), &all), reference.range(&all));
        }
        self.check_events(store);
    }

    fn check_events(&self, store: &Store) {
        for from in 1..self.reference.revision() + 2 {
            let events = store.events(from, LIMITS);
            if from < self.reference.compacted {
                assert!(matches!(events, Err(StoreError::Refused(refusal)) if refusal == refusal::COMPACTED));
                continue;
            }
            let (events, mut next) = (events.unwrap(), from.max(2));
            for revision in &events.revisions {
                assert_eq!(revision.revision, next);
                let moment = &self.reference.moments[usize::try_from(next).unwrap()];
                let found: Vec<Change> = revision.events.iter().map(|event| change(store, event)).collect();
                assert_eq!(found, moment.changes);
                next += 1;
            }
            assert_eq!(next, self.reference.revision() + 1);
        }
    }
}

fn change(store: &Store, event: &chainfire_store::StoreEvent) -> Change {
    let before: Option<KeyValue> = store.previous(event).unwrap();
    let kv = (event.kind == EventType::Put).then(|| event.kv.clone());
    assert_eq!(event.previous_revision, before.as_ref().map_or(0, |before| before.mod_revision));
    (event.kv.key.clone(), kv, before)
}

fn same<T: PartialEq + std::fmt::Debug>(found: Result<T, StoreError>, expected: Result<T, Refusal>) {
    match found {
        Ok(found) => assert_eq!(Ok(found), expected),
        Err(StoreError::Refused(refusal)) => assert_eq!(Err(refusal), expected),
        Err(other) => panic!("{other}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn store_answers_and_remembers_as_etcd_does(
        steps in prop::collection::vec(step(), 1..40),
        asked in prop::collection::vec(range(), 10),
        asked_together in prop::collection::vec(txn(), 10),
        runs in prop::collection::vec(1..6_usize, 40),
    ) {
        let (mut driver, mut model, mut log) = (Driver::new(), Model::new(), Vec::new());
        for step in steps {
            match &step {
                Step::Restart => driver = driver.restart(),
                Step::Range(range) => {
                    same(driver.store.range(&Caller::default(), range), model.reference.range(range));
                }
                step => {
                    let (request, expected) = model.take(step, driver.index + 1).unwrap();
                    let command = encode(&Caller::default(), request);
                    let found = driver.apply_all(std::slice::from_ref(&command)).remove(0);
                    if let Some(expected) = expected {
                        prop_assert_eq!(found, expected, "{:?}", step);
                    }
                    log.push(command);
                }
            }
        }
        model.check(&driver.store);
        for range in asked {
            same(driver.store.range(&Caller::default(), &range), model.reference.range(&range));
        }
        for txn in asked_together.iter().filter(|txn| is_read_only(txn)) {
            same(driver.store.read_txn(&Caller::default(), txn), model.reference.txn(txn));
        }
        in_runs_it_is_the_same(&driver, &log, &runs);
    }
}

/// Other replicas apply in other runs; what comes of it must be the same to the last bit.
fn in_runs_it_is_the_same(driver: &Driver, log: &[Bytes], runs: &[usize]) {
    let mut other = Driver::new();
    let mut rest = log;
    for run in runs {
        let (now, later) = rest.split_at(rest.len().min(*run));
        other.apply_all(now);
        rest = later;
    }
    other.apply_all(rest);
    let (one, two) = (&driver.store, &other.store);
    if !log.is_empty() {
        assert_eq!(one.region().state_hash().unwrap(), two.region().state_hash().unwrap());
    }
    assert_eq!(one.hash_kv(0).unwrap(), two.hash_kv(0).unwrap());
}
