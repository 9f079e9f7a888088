//! Decides for each key whether its requests can be put in an order that time allows, without trusting revisions'
//! order: by porcupine, which searches for that order.
//!
//! The search is exponential in what overlaps, so a key has few clients and few requests; a key where the search does
//! not end in time counts as not accepted.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use porcupine_rs::{CheckResult, Model, check_operations_timeout};

use super::{Revision, Violations};
use crate::faults::history::{Did, NEVER, Operation, Outcome};

/// How long the search for one key may take.
const SEARCH_AT_MOST: Duration = Duration::from_secs(20);

/// A versioned record: its version, 0 when it is absent.
#[derive(Clone, Debug)]
struct Record;

/// A request with what came of it, by versions alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// The record was at this version.
    Saw(u64),
    /// If the record was at a version that is accepted, it is at another one now.
    Moved {
        /// `None`: any.
        from: Option<u64>,
        to: u64,
        /// Whether it took effect for certain.
        certain: bool,
    },
}

impl Model for Record {
    type State = u64;
    type Op = Step;
    type Metadata = ();

    fn init() -> u64 {
        0
    }

    fn step(&state: &u64, step: &Step) -> (bool, u64) {
        match *step {
            Step::Saw(version) => (state == version, state),
            Step::Moved { from: Some(from), certain, .. } if from != state => (!certain, state),
            Step::Moved { to, .. } => (true, to),
        }
    }
}

/// How many keys were decided, and what is not linearizable. Of `log` only the versions are taken that writes with an
/// unknown outcome made.
pub(in crate::faults) fn check(operations: &[Operation], log: &[Revision]) -> (usize, Violations) {
    let made = versions(log);
    let mut keys: BTreeMap<&str, Vec<porcupine_rs::Operation<Record>>> = BTreeMap::new();
    for operation in operations {
        if let Some(step) = step_of(operation, &made) {
            keys.entry(&operation.key).or_default().push(timed(operation, step));
        }
    }
    let decided = keys.len();
    let found = keys.into_iter().filter_map(|(key, steps)| {
        let requests = steps.len();
        match check_operations_timeout(&steps, SEARCH_AT_MOST) {
            CheckResult::Ok => None,
            CheckResult::Illegal => {
                Some(format!("no order of the {requests} requests of {key} explains their answers"))
            }
            CheckResult::Unknown => Some(format!("undecided: {requests} requests of {key}")),
        }
    });
    let found = found.collect();
    (decided, found)
}

/// Key and value → the version that the write of it made. Deletes are by key and the version before.
fn versions(log: &[Revision]) -> HashMap<(&str, Option<&str>, u64), u64> {
    let events = log.iter().flat_map(|entry| entry.events.iter().map(|event| (entry.revision, event)));
    events
        .map(|(revision, event)| match event.value.as_deref() {
            Some(value) => ((event.key.as_str(), Some(value), 0), revision),
            None => ((event.key.as_str(), None, event.previous), revision),
        })
        .collect()
}

fn step_of(operation: &Operation, made: &HashMap<(&str, Option<&str>, u64), u64>) -> Option<Step> {
    let from = match operation.did {
        Did::Swap(expected, _) | Did::Delete(expected) => Some(expected),
        Did::Get | Did::List | Did::Put(_) | Did::Pair(..) => None,
    };
    match &operation.outcome {
        Outcome::Found(version, ..) | Outcome::Conflict(version) => Some(Step::Saw(*version)),
        Outcome::Done(revision) => {
            let to = if matches!(operation.did, Did::Delete(_)) { 0 } else { *revision };
            Some(Step::Moved { from, to, certain: true })
        }
        Outcome::Unknown(_) => {
            // What did not get into the history has not happened: nobody can have seen it.
            let about = (
                operation.key.as_str(),
                operation.value(),
                if operation.value().is_some() { 0 } else { from? },
            );
            let revision = *made.get(&about)?;
            let to = if operation.value().is_some() { revision } else { 0 };
            Some(Step::Moved { from, to, certain: false })
        }
        Outcome::Listed(..) | Outcome::Failed(_) => None,
    }
}

fn timed(operation: &Operation, step: Step) -> porcupine_rs::Operation<Record> {
    let time = |tick: u64| i64::try_from(tick).unwrap_or(i64::MAX);
    porcupine_rs::Operation {
        client_id: Some(operation.client),
        call_time: time(operation.called),
        return_time: if operation.returned == NEVER { i64::MAX } else { time(operation.returned) },
        op: step,
        metadata: None,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::examples::*, *};

    fn unknown(did: Did, called: u64) -> Operation {
        operation(did, Outcome::Unknown(String::new()), called, 0)
    }

    #[test]
    fn an_order_that_time_allows_is_found() {
        let history = [
            swapped(0, "a", 1, 1, 2),
            // These overlap: the read may be before or after the swap.
            swapped(1, "b", 2, 3, 6),
            read(1, "a", 1, 4, 5),
            operation(Did::Delete(2), Outcome::Done(3), 7, 8),
            read(0, "", 3, 9, 10),
        ];
        assert_eq!(check(&history, &[]), (1, Violations::new()));
    }

    #[test]
    fn an_unknown_write_may_take_effect_late_or_never() {
        let history = [swapped(0, "a", 1, 1, 2), unknown(Did::Put("u".to_owned()), 3), read(1, "a", 1, 4, 5)];
        assert_eq!(check(&history, &[]).1, Violations::new());
        let later = [&history[..], &[read(4, "u", 4, 6, 7)]].concat();
        assert_eq!(check(&later, &[revision(4, Some("u"), 1)]).1, Violations::new());
    }

    #[test]
    fn a_stale_read_is_rejected() {
        let history = [swapped(0, "a", 1, 1, 2), swapped(1, "b", 2, 3, 4), read(1, "a", 1, 5, 6)];
        assert_eq!(check(&history, &[]).1.len(), 1);
    }

    #[test]
    fn two_swaps_over_one_version_are_rejected() {
        let history = [swapped(0, "a", 1, 1, 2), swapped(1, "b", 2, 3, 6), swapped(1, "c", 3, 4, 5)];
        assert_eq!(check(&history, &[]).1.len(), 1);
    }

    #[test]
    fn a_conflict_with_what_is_gone_is_rejected() {
        let conflict = operation(Did::Swap(7, "x".to_owned()), Outcome::Conflict(1), 5, 6);
        let history = [swapped(0, "a", 1, 1, 2), swapped(1, "b", 2, 3, 4), conflict];
        assert_eq!(check(&history, &[]).1.len(), 1);
    }

    #[test]
    fn a_read_of_what_was_deleted_is_rejected() {
        let delete = operation(Did::Delete(1), Outcome::Done(2), 3, 4);
        let history = [swapped(0, "a", 1, 1, 2), delete, read(1, "a", 1, 5, 6)];
        assert_eq!(check(&history, &[]).1.len(), 1);
    }

    #[test]
    fn a_write_seen_before_it_was_sent_is_rejected() {
        let history = [read(4, "u", 4, 1, 2), unknown(Did::Put("u".to_owned()), 3)];
        assert_eq!(check(&history, &[revision(4, Some("u"), 0)]).1.len(), 1);
    }

    #[test]
    fn keys_are_decided_on_their_own() {
        let mut other = swapped(0, "b", 2, 3, 4);
        other.key = "other".to_owned();
        assert_eq!(check(&[swapped(0, "a", 1, 1, 2), other], &[]), (2, Violations::new()));
    }
}
