//! Replays the revisions against a model and holds every note against it.
//!
//! A write that was acknowledged is in the history once, at its revision; one in the history was asked for and was not
//! told to have failed; a read shows the model as of the revision that it names; and revisions agree with time over the
//! whole namespace, so that nothing is answered from before what somebody had seen already.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound::{Included, Unbounded},
};

use super::{Event, Revision, Violations};
use crate::faults::history::{Did, LEASED, NEVER, Operation, Outcome};

/// What each key was at each revision.
#[derive(Debug, Default)]
struct Model<'a> {
    /// Key → the revisions that changed it, with what they made of it.
    keys: BTreeMap<&'a str, BTreeMap<u64, Option<&'a str>>>,
    /// Value → the first revision that wrote it.
    values: HashMap<&'a str, u64>,
    last: u64,
}

impl<'a> Model<'a> {
    /// The version and value of a key as of a revision.
    fn at(&self, key: &str, revision: u64) -> (u64, &'a str) {
        let last = self.keys.get(key).and_then(|changes| changes.range(..=revision).next_back());
        match last {
            Some((&version, Some(value))) => (version, value),
            _ => (0, ""),
        }
    }

    /// The keys that begin so, with their versions, as of a revision.
    fn list(&self, prefix: &str, revision: u64) -> Vec<(&'a str, u64)> {
        let keys = self.keys.range::<str, _>((Included(prefix), Unbounded)).map(|(key, _)| *key);
        let keys = keys.take_while(|key| key.starts_with(prefix));
        keys.map(|key| (key, self.at(key, revision).0)).filter(|(_, version)| *version > 0).collect()
    }

    /// Takes a revision; says what does not follow from those before it.
    fn take(&mut self, entry: &'a Revision) -> Violations {
        let mut found = Violations::new();
        if entry.revision <= self.last {
            found.push(format!("revision {} comes after {}", entry.revision, self.last));
        }
        self.last = self.last.max(entry.revision);
        for event in &entry.events {
            let (version, _) = self.at(&event.key, entry.revision);
            if version != event.previous {
                found.push(format!("revision {} follows version {version}: {event:?}", entry.revision));
            }
            let changes = self.keys.entry(&event.key).or_default();
            changes.insert(entry.revision, event.value.as_deref());
            let Some(value) = event.value.as_deref() else { continue };
            let first = *self.values.entry(value).or_insert(entry.revision);
            if first != entry.revision {
                found.push(format!("{value:?} was written at {first} and again at {}", entry.revision));
            }
        }
        found
    }
}

/// Everything that does not hold. `log` is the whole history of the namespace, `operations` all that clients noted.
pub(in crate::faults) fn check(operations: &[Operation], log: &[Revision]) -> Violations {
    let mut model = Model::default();
    let mut found: Violations = log.iter().flat_map(|entry| model.take(entry)).collect();
    found.extend(operations.iter().filter_map(|operation| against_model(operation, &model)));
    found.extend(phantoms(operations, log));
    found.extend(against_time(operations));
    found
}

/// What a note and the model disagree on.
fn against_model(operation: &Operation, model: &Model<'_>) -> Option<String> {
    let Operation { key, did, outcome, .. } = operation;
    let holds = match (did, outcome) {
        (Did::Get, Outcome::Found(version, value, revision)) => {
            *revision <= model.last && model.at(key, *revision) == (*version, value.as_str())
        }
        (Did::List, Outcome::Listed(keys, revision)) => {
            let found: Vec<_> = keys.iter().map(|(key, version)| (key.as_str(), *version)).collect();
            *revision <= model.last && model.list(key, *revision) == found
        }
        (Did::Put(value), Outcome::Done(revision)) => model.at(key, *revision) == (*revision, value.as_str()),
        (Did::Swap(expected, value), Outcome::Done(revision)) => {
            model.at(key, *revision) == (*revision, value.as_str())
                && model.at(key, revision.saturating_sub(1)).0 == *expected
        }
        (Did::Delete(expected), Outcome::Done(revision)) => {
            model.at(key, *revision) == (0, "")
                && model.at(key, revision.saturating_sub(1)).0 == *expected
                && model.keys.get(key.as_str()).is_some_and(|changes| changes.contains_key(revision))
        }
        (Did::Pair(other, value), Outcome::Done(revision)) => {
            [key, other].iter().all(|key| model.at(key, *revision) == (*revision, value.as_str()))
        }
        (Did::Swap(expected, _) | Did::Delete(expected), Outcome::Conflict(version)) => {
            version != expected && (*version == 0 || model.at(key, *version).0 == *version)
        }
        (_, Outcome::Failed(_) | Outcome::Unknown(_)) => true,
        (_, Outcome::Found(..) | Outcome::Listed(..) | Outcome::Done(_) | Outcome::Conflict(_)) => false,
    };
    (!holds).then(|| format!("the history does not have what was answered: {operation:?}"))
}

/// Events that nobody asked for, or whose writers were told that they failed. Keys of leases end without being asked
/// to: whether they did so when they may, another check decides.
fn phantoms(operations: &[Operation], log: &[Revision]) -> Violations {
    let writers = operations.iter().filter(|operation| operation.may_have_written());
    let mut by_value: HashMap<&str, &Operation> = HashMap::new();
    let mut deletes: HashMap<&str, Vec<&Operation>> = HashMap::new();
    for writer in writers {
        match writer.value() {
            Some(value) => drop(by_value.insert(value, writer)),
            None => deletes.entry(&writer.key).or_default().push(writer),
        }
    }
    let asked = |revision: u64, event: &Event| match event.value.as_deref() {
        Some(value) => by_value.get(value).is_some_and(|writer| explains(writer, revision, event)),
        None if event.key.starts_with(LEASED) => true,
        None => deletes
            .get(event.key.as_str())
            .is_some_and(|writers| writers.iter().any(|writer| explains(writer, revision, event))),
    };
    let events = log.iter().flat_map(|entry| entry.events.iter().map(|event| (entry.revision, event)));
    events
        .filter(|(revision, event)| !asked(*revision, event))
        .map(|(revision, event)| format!("nobody wrote what is at revision {revision}: {event:?}"))
        .collect()
}

fn explains(writer: &Operation, revision: u64, event: &Event) -> bool {
    let at_its_revision = match writer.outcome {
        Outcome::Done(done) => done == revision,
        _ => true,
    };
    at_its_revision
        && match &writer.did {
            Did::Get | Did::List => false,
            Did::Put(_) => writer.key == event.key,
            Did::Swap(expected, _) | Did::Delete(expected) => {
                writer.key == event.key && *expected == event.previous
            }
            Did::Pair(other, _) => writer.key == event.key || *other == event.key,
        }
}

/// A note, as one point in the order of revisions.
fn revision_of(operation: &Operation) -> Option<u64> {
    match operation.outcome {
        Outcome::Found(_, _, revision) | Outcome::Listed(_, revision) | Outcome::Done(revision) => {
            Some(revision)
        }
        // The version that was found was there, so that revision had happened.
        Outcome::Conflict(version) => Some(version),
        Outcome::Failed(_) | Outcome::Unknown(_) => None,
    }
}

/// Revisions that go back: what was called after another note had returned must not be from before it. A write is
/// from after it.
fn against_time(operations: &[Operation]) -> Violations {
    let mut calls: Vec<&Operation> = operations.iter().collect();
    calls.sort_by_key(|operation| operation.called);
    let mut returns: Vec<&Operation> = calls.iter().copied().filter(|note| note.returned != NEVER).collect();
    returns.sort_by_key(|operation| operation.returned);
    let mut returned = returns.into_iter().peekable();
    let mut seen = 0;
    let mut found = Violations::new();
    for call in calls {
        while let Some(earlier) = returned.next_if(|earlier| earlier.returned < call.called) {
            seen = seen.max(revision_of(earlier).unwrap_or(0));
        }
        let holds = match call.outcome {
            Outcome::Found(_, _, revision) | Outcome::Listed(_, revision) => revision >= seen,
            Outcome::Done(revision) => revision > seen,
            // Of what was found instead only the key's own version is known; porcupine holds that against time.
            Outcome::Conflict(_) | Outcome::Failed(_) | Outcome::Unknown(_) => true,
        };
        if !holds {
            found.push(format!("revision {seen} had been seen before this was asked: {call:?}"));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{super::examples::*, *};

    /// A create, a swap, a read of it, a delete, a read of that.
    fn good() -> (Vec<Operation>, Vec<Revision>) {
        let operations = vec![
            swapped(0, "a", 1, 1, 2),
            swapped(1, "b", 2, 3, 4),
            read(2, "b", 2, 5, 6),
            operation(Did::Swap(1, "x".to_owned()), Outcome::Conflict(2), 5, 6),
            operation(Did::Delete(2), Outcome::Done(3), 7, 8),
            read(0, "", 3, 9, 10),
            operation(Did::Put("u".to_owned()), Outcome::Unknown(String::new()), 11, 0),
        ];
        let log = vec![revision(1, Some("a"), 0), revision(2, Some("b"), 1), revision(3, None, 2)];
        (operations, log)
    }

    #[track_caller]
    fn rejected(words: &str, change: impl FnOnce(&mut Vec<Operation>, &mut Vec<Revision>)) {
        let (mut operations, mut log) = good();
        change(&mut operations, &mut log);
        let found = check(&operations, &log);
        assert!(found.iter().any(|violation| violation.contains(words)), "{words}: {found:#?}");
    }

    #[test]
    fn a_good_history_is_accepted_whether_or_not_the_unknown_write_happened() {
        let (operations, mut log) = good();
        assert_eq!(check(&operations, &log), Violations::new());
        log.push(revision(4, Some("u"), 0));
        assert_eq!(check(&operations, &log), Violations::new());
    }

    #[test]
    fn a_lost_acknowledged_write_is_rejected() {
        rejected("does not have what was answered", |_, log| {
            log.remove(1);
        });
        rejected("does not have what was answered", |_, log| {
            log.pop();
        });
    }

    #[test]
    fn a_write_that_took_effect_twice_is_rejected() {
        rejected("and again at 4", |_, log| log.push(revision(4, Some("b"), 0)));
    }

    #[test]
    fn a_write_that_was_told_to_have_failed_is_rejected() {
        rejected("nobody wrote", |operations, log| {
            operations[6].outcome = Outcome::Failed("unavailable".to_owned());
            log.push(revision(4, Some("u"), 0));
        });
        rejected("nobody wrote", |_, log| log.push(revision(4, Some("x"), 0)));
    }

    #[test]
    fn revisions_that_go_back_or_repeat_are_rejected() {
        rejected("comes after", |_, log| log.swap(0, 1));
        rejected("comes after", |_, log| log[1].revision = 1);
    }

    #[test]
    fn a_stale_read_is_rejected() {
        // It is consistent with the revisions, but a later one had been seen before it was asked.
        rejected("had been seen before", |operations, _| operations.push(read(2, "b", 2, 11, 12)));
        rejected("had been seen before", |operations, _| operations.push(read(1, "a", 1, 5, 6)));
    }

    #[test]
    fn a_read_of_something_else_than_its_revision_has_is_rejected() {
        rejected("does not have what was answered", |operations, _| operations[2] = read(2, "a", 2, 5, 6));
        rejected("does not have what was answered", |operations, _| operations[2] = read(1, "a", 2, 5, 6));
        rejected("does not have what was answered", |operations, _| operations[2] = read(2, "b", 9, 5, 6));
    }

    #[test]
    fn a_swap_over_another_version_than_expected_is_rejected() {
        rejected("does not have what was answered", |operations, _| {
            operations[1] = swapped(0, "b", 2, 3, 4);
        });
        rejected("follows version", |_, log| log[1].events[0].previous = 0);
    }

    #[test]
    fn a_conflict_that_found_what_was_expected_or_what_never_was_is_rejected() {
        for version in [1, 7] {
            rejected("does not have what was answered", |operations, _| {
                operations[3].outcome = Outcome::Conflict(version);
            });
        }
    }

    #[test]
    fn a_write_at_a_revision_from_before_its_call_is_rejected() {
        rejected("had been seen before", |operations, _| operations[1] = swapped(1, "b", 2, 7, 8));
        let (mut operations, log) = good();
        operations[1].called = 12;
        operations[1].returned = 13;
        assert!(!check(&operations, &log).is_empty());
    }

    #[test]
    fn a_list_is_all_keys_of_its_revision_and_no_other() {
        let listed = |keys: &[(&str, u64)], revision, called| {
            let keys = keys.iter().map(|(key, version)| ((*key).to_owned(), *version)).collect();
            operation(Did::List, Outcome::Listed(keys, revision), called, called + 1)
        };
        let (mut operations, log) = good();
        operations.extend([listed(&[("k", 2)], 2, 5), listed(&[], 3, 9)]);
        assert_eq!(check(&operations, &log), Violations::new());
        for wrong in [listed(&[], 2, 5), listed(&[("k", 1)], 2, 5), listed(&[("k", 2), ("l", 2)], 2, 5)] {
            rejected("does not have what was answered", |operations, _| operations.push(wrong));
        }
        rejected("does not have what was answered", |operations, _| operations.push(listed(&[], 9, 11)));
        rejected("had been seen before", |operations, _| operations.push(listed(&[("k", 2)], 2, 11)));
    }

    #[test]
    fn keys_of_leases_may_end_without_being_asked_to_and_others_may_not() {
        let ended = |key: &str| {
            let (mut operations, mut log) = good();
            operations.push(Operation {
                key: key.to_owned(),
                ..operation(Did::Put("v".to_owned()), Outcome::Done(4), 11, 12)
            });
            let event = |value: Option<&str>, previous| Event {
                key: key.to_owned(),
                value: value.map(str::to_owned),
                previous,
                meta: None,
            };
            log.push(Revision { revision: 4, events: vec![event(Some("v"), 0)] });
            log.push(Revision { revision: 5, events: vec![event(None, 4)] });
            check(&operations, &log)
        };
        assert_eq!(ended("lease/1"), Violations::new());
        assert_eq!(ended("other/1").len(), 1);
    }

    #[test]
    fn half_a_batch_is_rejected() {
        rejected("does not have what was answered", |operations, log| {
            let pair = Did::Pair("other".to_owned(), "p".to_owned());
            operations.push(operation(pair, Outcome::Done(4), 11, 12));
            log.push(revision(4, Some("p"), 0));
        });
    }
}
