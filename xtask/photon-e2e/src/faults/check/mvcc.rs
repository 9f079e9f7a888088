//! What etcd's model of data says of a whole history (etcd's documentation, "Data model"): revisions are counted from
//! 2 without a gap, a key's version counts its writes since it was created, and a key is in one revision once.

use std::collections::{BTreeMap, BTreeSet};

use super::{Event, Meta, Revision, Violations};

/// The revision of an empty store.
const EMPTY: u64 = 1;

/// Everything that does not hold.
pub(in crate::faults) fn check(log: &[Revision]) -> Violations {
    let mut found = Violations::new();
    let mut last = EMPTY;
    let mut records: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for entry in log {
        if entry.revision != last + 1 {
            found.push(format!("revision {} follows {last}", entry.revision));
        }
        last = entry.revision;
        let keys: BTreeSet<&str> = entry.events.iter().map(|event| event.key.as_str()).collect();
        if keys.len() != entry.events.len() || keys.is_empty() {
            found.push(format!("revision {last} has {} events of {} keys", entry.events.len(), keys.len()));
        }
        for event in &entry.events {
            found.extend(take(&mut records, last, event));
        }
    }
    found
}

/// Takes a change; says what does not follow from what the key was.
fn take<'a>(records: &mut BTreeMap<&'a str, (u64, u64)>, revision: u64, event: &'a Event) -> Option<String> {
    let before = records.get(event.key.as_str()).copied();
    let Some(Meta { create_revision, version, .. }) = event.meta else {
        records.remove(event.key.as_str());
        let holds = event.value.is_none() && before.is_some();
        return (!holds).then(|| format!("revision {revision} deletes what is not there: {event:?}"));
    };
    let expected = before.map_or((revision, 1), |(created, version)| (created, version + 1));
    records.insert(&event.key, expected);
    ((create_revision, version) != expected)
        .then(|| format!("revision {revision} should have made creation and version {expected:?}: {event:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, create_revision: u64, version: u64) -> Event {
        let meta = Some(Meta { create_revision, version, lease: 0 });
        Event { key: key.to_owned(), value: Some("v".to_owned()), previous: 0, meta }
    }

    fn delete(key: &str) -> Event {
        Event { key: key.to_owned(), value: None, previous: 0, meta: None }
    }

    fn log(revisions: &[(u64, &[Event])]) -> Vec<Revision> {
        let entries = revisions.iter();
        entries.map(|(revision, events)| Revision { revision: *revision, events: events.to_vec() }).collect()
    }

    #[track_caller]
    fn rejected(words: &str, revisions: &[(u64, &[Event])]) {
        let found = check(&log(revisions));
        assert!(found.iter().any(|violation| violation.contains(words)), "{words}: {found:?}");
    }

    #[test]
    fn versions_count_from_each_creation() {
        let whole: [(u64, &[Event]); 4] = [
            (2, &[put("a", 2, 1)]),
            (3, &[put("a", 2, 2), put("b", 3, 1)]),
            (4, &[delete("a")]),
            (5, &[put("a", 5, 1)]),
        ];
        assert_eq!(check(&log(&whole)), Violations::new());
    }

    #[test]
    fn a_gap_and_a_wrong_beginning_are_rejected() {
        rejected("revision 4 follows 2", &[(2, &[put("a", 2, 1)]), (4, &[put("a", 2, 2)])]);
        rejected("revision 3 follows 1", &[(3, &[put("a", 3, 1)])]);
        rejected("revision 2 follows 2", &[(2, &[put("a", 2, 1)]), (2, &[put("a", 2, 2)])]);
    }

    #[test]
    fn a_wrong_version_or_creation_is_rejected() {
        rejected("should have made", &[(2, &[put("a", 2, 2)])]);
        rejected("should have made", &[(2, &[put("a", 2, 1)]), (3, &[put("a", 3, 1)])]);
        rejected("should have made", &[(2, &[put("a", 2, 1)]), (3, &[delete("a")]), (4, &[put("a", 2, 2)])]);
    }

    #[test]
    fn a_key_twice_in_a_revision_and_an_empty_revision_are_rejected() {
        rejected("2 events of 1 keys", &[(2, &[put("a", 2, 1), put("a", 2, 2)])]);
        rejected("0 events of 0 keys", &[(2, &[])]);
    }

    #[test]
    fn a_delete_of_what_is_not_there_is_rejected() {
        rejected("deletes what is not there", &[(2, &[delete("a")])]);
    }
}
