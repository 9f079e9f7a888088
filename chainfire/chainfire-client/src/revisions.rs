//! What a watch has delivered, and how answers become whole revisions. Pure.
//!
//! A server may send several revisions in one answer, one revision in several answers (fragments), and, after a lost
//! connection, some of it again.

use chainfire_proto::{etcdserverpb::WatchResponse, mvccpb::Event};

/// Events of one revision that are kept until its last fragment has come; no server takes larger transactions.
const EVENTS_BYTES_MAX: usize = 256 << 20;

/// One whole revision, as far as it touched what is watched. Without events it is progress: everything up to it has
/// been delivered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Revision {
    /// Its number.
    pub revision: i64,
    /// What it changed, each key once.
    pub events: Vec<Event>,
}

/// Why answers are no watch's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Disorder {
    #[error("an event of revision {found} came after one of revision {after}")]
    Backwards { found: i64, after: i64 },
    #[error("revision {0} is larger than this client takes")]
    TooLarge(i64),
    #[error("an event names no record")]
    Nameless,
}

/// Joins answers to revisions.
#[derive(Debug)]
pub(crate) struct Joiner {
    /// The first revision that was not delivered.
    next: i64,
    /// One whose end has not come yet.
    partial: Option<Revision>,
    bytes: usize,
}

impl Joiner {
    /// Delivers from revision `next` on.
    pub(crate) fn from(next: i64) -> Self {
        Self { next, partial: None, bytes: 0 }
    }

    /// Where the next connection has to begin. What had come of a revision in part comes again.
    pub(crate) fn resume(&mut self) -> i64 {
        self.partial = None;
        self.next
    }

    /// The revision up to which everything was delivered.
    pub(crate) fn delivered(&self) -> i64 {
        self.next - 1
    }

    /// The revisions that an answer completes.
    pub(crate) fn take(&mut self, answer: WatchResponse) -> Result<Vec<Revision>, Disorder> {
        let mut whole = Vec::new();
        for event in answer.events {
            self.add(event, &mut whole)?;
        }
        if !answer.fragment {
            self.complete(&mut whole);
        }
        Ok(whole)
    }

    /// Notes that nothing up to this revision is missing; `None`: that is not new.
    pub(crate) fn progress(&mut self, revision: i64) -> Option<Revision> {
        (self.partial.is_none() && revision >= self.next).then(|| {
            self.next = revision + 1;
            Revision { revision, events: Vec::new() }
        })
    }

    fn add(&mut self, event: Event, whole: &mut Vec<Revision>) -> Result<(), Disorder> {
        let found = event.kv.as_ref().ok_or(Disorder::Nameless)?.mod_revision;
        if found < self.next {
            return Ok(());
        }
        if let Some(after) = self.partial.as_ref().map(|partial| partial.revision) {
            if found < after {
                return Err(Disorder::Backwards { found, after });
            }
            if found > after {
                self.complete(whole);
            }
        }
        self.bytes += bytes(&event);
        if self.bytes > EVENTS_BYTES_MAX {
            return Err(Disorder::TooLarge(found));
        }
        let partial = self.partial.get_or_insert_with(|| Revision { revision: found, events: Vec::new() });
        partial.events.push(event);
        Ok(())
    }

    fn complete(&mut self, whole: &mut Vec<Revision>) {
        self.bytes = 0;
        if let Some(revision) = self.partial.take() {
            self.next = revision.revision + 1;
            whole.push(revision);
        }
    }
}

fn bytes(event: &Event) -> usize {
    let records = event.kv.iter().chain(&event.prev_kv);
    records.map(|record| record.key.len() + record.value.len()).sum()
}

#[cfg(test)]
mod tests {
    use chainfire_proto::mvccpb::KeyValue;
    use proptest::prelude::*;

    use super::*;

    fn event(revision: i64, key: u8) -> Event {
        let kv = KeyValue { key: vec![key].into(), mod_revision: revision, ..KeyValue::default() };
        Event { kv: Some(kv), ..Event::default() }
    }

    fn answer(events: &[(i64, u8)], fragment: bool) -> WatchResponse {
        let events = events.iter().map(|(revision, key)| event(*revision, *key)).collect();
        WatchResponse { events, fragment, ..WatchResponse::default() }
    }

    fn numbers(revisions: &[Revision]) -> Vec<(i64, usize)> {
        revisions.iter().map(|revision| (revision.revision, revision.events.len())).collect()
    }

    #[test]
    fn fragments_of_a_revision_are_joined() {
        let mut joiner = Joiner::from(3);
        assert_eq!(numbers(&joiner.take(answer(&[(3, 1), (4, 1)], true)).unwrap()), [(3, 1)]);
        assert_eq!(numbers(&joiner.take(answer(&[(4, 2)], true)).unwrap()), []);
        assert_eq!(numbers(&joiner.take(answer(&[(4, 3), (6, 1)], false)).unwrap()), [(4, 3), (6, 1)]);
        assert_eq!(joiner.delivered(), 6);
    }

    #[test]
    fn half_a_revision_is_not_delivered_and_comes_again() {
        let mut joiner = Joiner::from(3);
        joiner.take(answer(&[(3, 1), (4, 1)], true)).unwrap();
        assert_eq!(joiner.resume(), 4);
        assert_eq!(numbers(&joiner.take(answer(&[(3, 1), (4, 1), (4, 2)], false)).unwrap()), [(4, 2)]);
    }

    #[test]
    fn progress_moves_forward_and_never_over_half_a_revision() {
        let mut joiner = Joiner::from(3);
        assert_eq!(joiner.progress(2), None);
        assert_eq!(joiner.progress(7), Some(Revision { revision: 7, events: Vec::new() }));
        joiner.take(answer(&[(8, 1)], true)).unwrap();
        assert_eq!(joiner.progress(9), None);
    }

    #[test]
    fn events_that_go_back_are_no_watch() {
        let mut joiner = Joiner::from(1);
        let refused = joiner.take(answer(&[(5, 1), (4, 1)], false));
        assert_eq!(refused, Err(Disorder::Backwards { found: 4, after: 5 }));
    }

    proptest! {
        /// Connections are lost at any place and begin again where the joiner says, or before.
        #[test]
        fn every_revision_is_delivered_whole_once_and_in_order(
            sizes in prop::collection::vec(1..4_u8, 1..12),
            cuts in prop::collection::vec((0..40_usize, 1..5_usize, 0..3_i64), 0..6),
        ) {
            let all: Vec<(i64, u8)> =
                (1..).zip(&sizes).flat_map(|(revision, size)| (0..*size).map(move |key| (revision, key))).collect();
            let (mut joiner, mut delivered) = (Joiner::from(1), Vec::new());
            for (length, step, before) in cuts.into_iter().chain([(usize::MAX, 3, 0)]) {
                let start = joiner.resume() - before;
                let sent: Vec<_> = all.iter().copied().filter(|(revision, _)| *revision >= start).collect();
                let last = sent.len();
                let mut at = 0;
                while at < last.min(length) {
                    let end = (at + step).min(last);
                    let split = end < last && sent[end].0 == sent[end - 1].0;
                    delivered.extend(joiner.take(answer(&sent[at..end], split)).unwrap());
                    at = end;
                }
            }
            let wanted: Vec<_> = (1..).zip(sizes.iter().map(|size| usize::from(*size))).collect();
            prop_assert_eq!(numbers(&delivered), wanted);
        }
    }
}
