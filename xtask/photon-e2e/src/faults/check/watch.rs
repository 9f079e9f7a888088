//! What a watch promises: revisions in order, each once, whole, none left out, also over a resumption.

use super::{Event, Revision, Violations};

/// What one watch delivered, over all its connections.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub(in crate::faults) struct Watched {
    /// Who watched.
    pub(in crate::faults) name: String,
    /// The prefix that it watched.
    pub(in crate::faults) prefix: String,
    /// The first revision that it asked for.
    pub(in crate::faults) from: u64,
    /// What came, in the order in which it came; without events: progress.
    pub(in crate::faults) delivered: Vec<Revision>,
    /// When each of that came, in milliseconds since the start of the run.
    pub(in crate::faults) arrived_ms: Vec<u64>,
    /// How many times it had to connect anew.
    pub(in crate::faults) resumed: u32,
}

impl Watched {
    /// The first revision that it has not got.
    pub(in crate::faults) fn next(&self) -> u64 {
        self.delivered.last().map_or(self.from, |last| self.from.max(last.revision + 1))
    }
}

/// Everything that does not hold of a watch, beside the whole history.
pub(in crate::faults) fn check(watched: &Watched, log: &[Revision]) -> Violations {
    let mut found = in_order(watched);
    let covered = watched.from..watched.next();
    let expected = log.iter().filter(|entry| covered.contains(&entry.revision)).filter_map(|entry| {
        let events = sorted(entry.events.iter().filter(|event| event.key.starts_with(&watched.prefix)));
        (!events.is_empty()).then_some((entry.revision, events))
    });
    let delivered = watched.delivered.iter().filter(|delivery| !delivery.events.is_empty());
    let mut delivered = delivered.map(|entry| (entry.revision, sorted(entry.events.iter()))).peekable();
    for (revision, events) in expected {
        while let Some((extra, _)) = delivered.next_if(|(number, _)| *number < revision) {
            found.push(format!("{}: revision {extra} is not in the history", watched.name));
        }
        match delivered.next_if(|(number, _)| *number == revision) {
            None => found.push(format!("{}: revision {revision} was left out", watched.name)),
            Some((_, got)) if got != events => {
                found.push(format!(
                    "{}: revision {revision} has {events:?}, delivered was {got:?}",
                    watched.name
                ));
            }
            Some(_) => {}
        }
    }
    found.extend(
        delivered.map(|(extra, _)| format!("{}: revision {extra} is not in the history", watched.name)),
    );
    found
}

fn in_order(watched: &Watched) -> Violations {
    let mut found = Violations::new();
    let mut next = watched.from;
    for delivery in &watched.delivered {
        let is_progress = delivery.events.is_empty();
        if delivery.revision < next && !(is_progress && delivery.revision + 1 == next) {
            found.push(format!("{}: {} was delivered after {}", watched.name, delivery.revision, next - 1));
        }
        next = next.max(delivery.revision + 1);
    }
    found
}

fn sorted<'a>(events: impl Iterator<Item = &'a Event>) -> Vec<&'a Event> {
    let mut events: Vec<_> = events.collect();
    events.sort();
    events
}

#[cfg(test)]
mod tests {
    use super::{super::examples::revision, *};

    fn log() -> Vec<Revision> {
        vec![revision(1, Some("a"), 0), revision(2, Some("b"), 1), revision(3, None, 2)]
    }

    fn watched(delivered: Vec<Revision>) -> Watched {
        Watched { name: "w".to_owned(), from: 1, delivered, ..Watched::default() }
    }

    fn progress(revision: u64) -> Revision {
        Revision { revision, events: Vec::new() }
    }

    #[track_caller]
    fn rejected(words: &str, delivered: Vec<Revision>) {
        let found = check(&watched(delivered), &log());
        assert!(found.iter().any(|violation| violation.contains(words)), "{words}: {found:?}");
    }

    #[test]
    fn all_revisions_in_order_with_progress_between_them_are_accepted() {
        let mut delivered = log();
        delivered.insert(2, progress(2));
        delivered.insert(2, progress(2));
        assert_eq!(check(&watched(delivered), &log()), Violations::new());
        assert_eq!(check(&watched(log()[..2].to_vec()), &log()), Violations::new(), "it may end early");
    }

    #[test]
    fn other_prefixes_are_not_expected_but_must_not_be_skipped_into() {
        let other = Watched { prefix: "other".to_owned(), ..watched(vec![progress(3)]) };
        assert_eq!(check(&other, &log()), Violations::new());
        let wrong = Watched { prefix: "other".to_owned(), ..watched(log()) };
        assert!(!check(&wrong, &log()).is_empty());
    }

    #[test]
    fn a_gap_is_rejected() {
        let mut delivered = log();
        delivered.remove(1);
        rejected("revision 2 was left out", delivered);
        rejected("revision 2 was left out", vec![log()[0].clone(), progress(3)]);
    }

    #[test]
    fn a_repetition_is_rejected() {
        let mut delivered = log();
        delivered.insert(1, delivered[0].clone());
        rejected("1 was delivered after 1", delivered);
    }

    #[test]
    fn disorder_is_rejected() {
        let mut delivered = log();
        delivered.swap(0, 1);
        rejected("1 was delivered after 2", delivered);
        let mut delivered = log();
        delivered.insert(2, progress(0));
        rejected("0 was delivered after 2", delivered);
    }

    #[test]
    fn half_a_revision_is_rejected() {
        let mut whole = log();
        whole[1].events.push(Event { key: "l".to_owned(), value: None, previous: 1, meta: None });
        let found = check(&watched(log()), &whole);
        assert!(found[0].contains("revision 2 has"), "{found:?}");
    }

    #[test]
    fn what_is_not_in_the_history_is_rejected() {
        let mut delivered = log();
        delivered.push(revision(4, Some("x"), 0));
        rejected("4 is not in the history", delivered);
    }
}
