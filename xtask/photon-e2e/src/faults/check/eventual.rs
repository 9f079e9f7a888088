//! What Eventual namespaces promise: the largest timestamp wins, deletes stay deleted, all replicas come to the same,
//! and a client that carries its session reads its own writes and never less than it has read.

use std::collections::{BTreeMap, BTreeSet};

use super::Violations;
use crate::faults::history::{RawDid, RawOperation, RawOutcome};

/// The records of one replica: key → timestamp and value.
pub(in crate::faults) type Records = BTreeMap<String, (u64, String)>;

/// Everything that does not hold. `replicas` are the records of each replica after everything has healed.
pub(in crate::faults) fn check(operations: &[RawOperation], replicas: &[(String, Records)]) -> Violations {
    let mut found = convergence(replicas);
    let mut keys: BTreeMap<&str, Vec<&RawOperation>> = BTreeMap::new();
    for operation in operations {
        keys.entry(&operation.key).or_default().push(operation);
    }
    for (key, operations) in &keys {
        for (name, records) in replicas {
            let winner = records.get(*key);
            found.extend(not_the_winner(operations, winner).map(|why| format!("{name}: {key}: {why}")));
        }
        found.extend(sessions(operations));
    }
    let known: BTreeSet<&str> = keys.into_keys().collect();
    for (name, records) in replicas {
        let strangers = records.keys().filter(|key| !known.contains(key.as_str()));
        found.extend(strangers.map(|key| format!("{name}: nobody wrote {key}")));
    }
    found
}

fn convergence(replicas: &[(String, Records)]) -> Violations {
    let Some(((first, expected), others)) = replicas.split_first() else {
        return vec!["there is no replica to look at".to_owned()];
    };
    let different = others.iter().filter(|(_, records)| records != expected);
    different
        .map(|(name, records)| {
            let keys: BTreeSet<_> = expected.keys().chain(records.keys()).collect();
            let key = keys.into_iter().find(|key| expected.get(*key) != records.get(*key));
            let key = key.map(String::as_str).unwrap_or_default();
            format!("{first} has {:?} at {key}, {name} has {:?}", expected.get(key), records.get(key))
        })
        .collect()
}

/// Why what a key has in the end is not what its writes come to; an unknown write may have happened or not. Of writes
/// with one timestamp, which are of different nodes, the node decides, and clients are not told which one theirs was.
fn not_the_winner(operations: &[&RawOperation], winner: Option<&(u64, String)>) -> Option<String> {
    let acknowledged = operations.iter().filter_map(|operation| match operation.outcome {
        RawOutcome::Done(ts) => Some((ts, &operation.did)),
        _ => None,
    });
    let newest = acknowledged.clone().map(|(ts, _)| ts).max();
    let last: Vec<&RawDid> = acknowledged.filter(|(ts, _)| Some(*ts) == newest).map(|(_, did)| did).collect();
    let possible = |wanted: &RawDid| {
        let mut unknown = operations.iter().filter(|note| matches!(note.outcome, RawOutcome::Unknown(_)));
        unknown.any(|operation| operation.did == *wanted)
    };
    match (newest, winner) {
        (None, None) => None,
        (Some(ts), None) => {
            let deleted = last.contains(&&RawDid::Delete) || possible(&RawDid::Delete);
            (!deleted).then(|| format!("{last:?} of {ts} is lost"))
        }
        (Some(ts), Some((found, value))) if *found < ts => {
            Some(format!("{last:?} of {ts} is lost: there is {value:?} of {found}"))
        }
        (newest, Some((found, value))) => {
            let put = RawDid::Put(value.clone());
            let written = newest == Some(*found) && last.contains(&&put);
            (!written && !possible(&put)).then(|| {
                format!("nobody wrote {value:?} of {found}, or it was told to have failed; {last:?} is lost")
            })
        }
    }
}

/// Reads of a client that show less than it wrote or read before. Keys of which clients delete what others wrote are
/// told apart by their timestamps only, so an absent record counts where no other client touched the key.
fn sessions(operations: &[&RawOperation]) -> Violations {
    let clients: BTreeSet<u32> = operations.iter().map(|operation| operation.client).collect();
    let alone = clients.len() == 1;
    let mut found = Violations::new();
    for client in clients {
        let own = operations.iter().filter(|operation| operation.client == client);
        let mut floor = Floor::default();
        for operation in own {
            found.extend(floor.take(operation, alone));
        }
    }
    found
}

/// What a session has seen of a key.
#[derive(Default)]
struct Floor {
    ts: u64,
    /// Whether the record was there then.
    present: bool,
    /// Writes whose outcome is not known since then.
    unknown: bool,
}

impl Floor {
    fn take(&mut self, operation: &RawOperation, alone: bool) -> Option<String> {
        match (&operation.did, &operation.outcome) {
            (_, RawOutcome::Unknown(_)) => {
                self.unknown |= !matches!(operation.did, RawDid::Get(_));
                None
            }
            (did, RawOutcome::Done(ts)) if *ts >= self.ts => {
                *self = Self { ts: *ts, present: matches!(did, RawDid::Put(_)), unknown: self.unknown };
                None
            }
            (_, RawOutcome::Found(Some((ts, _)))) if *ts < self.ts => {
                Some(format!("the session had seen {}: {operation:?}", self.ts))
            }
            // Another client's put may have the timestamp of the delete, and win over it.
            (_, RawOutcome::Found(Some((ts, _)))) if *ts == self.ts && !self.present && alone => {
                Some(format!("the session had seen that deleted: {operation:?}"))
            }
            (_, RawOutcome::Found(None)) if self.present && alone && !self.unknown => {
                Some(format!("the session had seen the record of {}: {operation:?}", self.ts))
            }
            (_, RawOutcome::Found(Some((ts, _)))) => {
                *self = Self { ts: *ts, present: true, unknown: self.unknown };
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(client: u32, did: RawDid, outcome: RawOutcome) -> RawOperation {
        RawOperation { client, key: "k".to_owned(), did, outcome, at_ms: 0 }
    }

    fn put(client: u32, value: &str, ts: u64) -> RawOperation {
        note(client, RawDid::Put(value.to_owned()), RawOutcome::Done(ts))
    }

    fn deleted(client: u32, ts: u64) -> RawOperation {
        note(client, RawDid::Delete, RawOutcome::Done(ts))
    }

    fn read(client: u32, found: Option<(u64, &str)>) -> RawOperation {
        let found = found.map(|(ts, value)| (ts, value.to_owned()));
        note(client, RawDid::Get(0), RawOutcome::Found(found))
    }

    fn unknown(did: RawDid) -> RawOperation {
        note(1, did, RawOutcome::Unknown(String::new()))
    }

    fn replica(name: &str, record: Option<(u64, &str)>) -> (String, Records) {
        let records = record.map(|(ts, value)| ("k".to_owned(), (ts, value.to_owned())));
        (name.to_owned(), records.into_iter().collect())
    }

    fn ending(operations: &[RawOperation], record: Option<(u64, &str)>) -> Violations {
        check(operations, &[replica("a", record), replica("b", record)])
    }

    #[test]
    fn the_largest_timestamp_wins_whatever_came_last() {
        let history = [put(1, "new", 9), put(2, "old", 5)];
        assert_eq!(ending(&history, Some((9, "new"))), Violations::new());
        assert!(!ending(&history, Some((5, "old"))).is_empty());
        assert!(!ending(&history, None).is_empty(), "an acknowledged write is lost");
    }

    #[test]
    fn of_writes_with_one_timestamp_any_may_win_and_no_other() {
        let history = [put(1, "a", 9), put(2, "b", 9), put(3, "c", 5)];
        assert_eq!(ending(&history, Some((9, "a"))), Violations::new());
        assert_eq!(ending(&history, Some((9, "b"))), Violations::new());
        assert!(!ending(&history, Some((9, "c"))).is_empty());
        assert!(!ending(&history, None).is_empty());
        let deletes = [put(1, "a", 9), deleted(2, 9), read(2, Some((9, "a")))];
        assert_eq!(ending(&deletes, None), Violations::new());
        assert_eq!(ending(&deletes, Some((9, "a"))), Violations::new());
    }

    #[test]
    fn a_delete_stays_deleted() {
        let history = [put(1, "a", 5), deleted(1, 9), put(2, "late", 7)];
        assert_eq!(ending(&history, None), Violations::new());
        assert!(!ending(&history, Some((7, "late"))).is_empty());
        assert!(!ending(&history, Some((9, "late"))).is_empty());
    }

    #[test]
    fn an_unknown_write_may_have_happened_but_a_failed_one_not() {
        let put_u = RawDid::Put("u".to_owned());
        let history = [put(1, "a", 5), unknown(put_u.clone())];
        assert_eq!(ending(&history, Some((5, "a"))), Violations::new());
        assert_eq!(ending(&history, Some((8, "u"))), Violations::new());
        let failed = note(1, put_u, RawOutcome::Failed(String::new()));
        assert!(!ending(&[put(1, "a", 5), failed], Some((8, "u"))).is_empty());
        assert_eq!(ending(&[put(1, "a", 5), unknown(RawDid::Delete)], None), Violations::new());
    }

    #[test]
    fn replicas_that_differ_are_rejected() {
        let history = [put(1, "a", 5), unknown(RawDid::Put("u".to_owned()))];
        let found = check(&history, &[replica("a", Some((5, "a"))), replica("b", Some((8, "u")))]);
        assert_eq!(found, ["a has Some((5, \"a\")) at k, b has Some((8, \"u\"))"]);
        assert!(!check(&history, &[]).is_empty(), "no replica was looked at");
    }

    #[test]
    fn a_record_that_nobody_wrote_is_rejected() {
        assert_eq!(ending(&[], Some((5, "a"))).len(), 2);
    }

    #[test]
    fn a_session_reads_its_own_writes_and_never_less_than_it_has_read() {
        let ends = Some((9, "b"));
        let good = [put(1, "a", 5), read(1, Some((5, "a"))), put(1, "b", 9), read(1, ends)];
        assert_eq!(ending(&good, ends), Violations::new());
        let own_write_missed = [put(1, "a", 5), put(1, "b", 9), read(1, Some((5, "a")))];
        assert_eq!(ending(&own_write_missed, ends).len(), 1);
        let gone_back = [put(2, "a", 5), put(2, "b", 9), read(1, ends), read(1, Some((5, "a")))];
        assert_eq!(ending(&gone_back, ends).len(), 1);
        let absent = [put(1, "b", 9), read(1, None)];
        assert_eq!(ending(&absent, ends).len(), 1);
        let undeleted = [put(1, "a", 5), deleted(1, 9), read(1, Some((5, "a")))];
        assert_eq!(ending(&undeleted, None).len(), 1);
    }

    #[test]
    fn an_absent_record_is_no_wonder_where_others_delete() {
        let history = [put(1, "a", 5), deleted(2, 9), read(1, None)];
        assert_eq!(ending(&history, None), Violations::new());
    }
}
