//! How long revisions are kept: pure, the time comes in as an argument.
//!
//! A revision goes when it is both old and many revisions ago, so that a watch or the pages of a scan survive a pause
//! and the id of a commit can be asked for again. Records carry no time, so the writer notes how far it was when; a
//! process that has just started has no notes, and forgets later than it could, never sooner.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The newest revisions, which are kept whatever their age.
const REVISIONS_KEPT: u64 = 10_000;
/// Younger revisions are kept whatever their number.
const AGE_KEPT: Duration = Duration::from_secs(600);
/// Between notes.
const NOTE_EVERY: Duration = Duration::from_secs(10);

/// How far the store was when.
#[derive(Debug, Default)]
pub(super) struct History {
    /// (time, revision), both rising; as many as there are notes in the age that is kept, and one older.
    notes: VecDeque<(Instant, u64)>,
}

impl History {
    /// The revision up to which history may go now, if there is something to forget. To be asked after writes.
    pub(super) fn forget_up_to(&mut self, now: Instant, newest: u64, oldest: u64) -> Option<u64> {
        if self.notes.back().is_some_and(|&(at, _)| now.duration_since(at) < NOTE_EVERY) {
            return None;
        }
        self.notes.push_back((now, newest));
        while self.notes.get(1).is_some_and(|&(at, _)| now.duration_since(at) >= AGE_KEPT) {
            self.notes.pop_front();
        }
        let &(at, old) = self.notes.front()?;
        let target = old.min(newest.saturating_sub(REVISIONS_KEPT));
        (now.duration_since(at) >= AGE_KEPT && target >= oldest).then_some(target)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revision_goes_when_it_is_old_and_many_revisions_ago() {
        let (start, mut history) = (Instant::now(), History::default());
        let mut at = |seconds, newest| history.forget_up_to(start + Duration::from_secs(seconds), newest, 1);
        assert_eq!(at(0, 50_000), None, "nothing is old");
        assert_eq!(at(300, 80_000), None, "nothing is old enough");
        assert_eq!(at(600, 90_000), Some(50_000), "what is ten minutes old");
        assert_eq!(at(605, 91_000), None, "noted a moment ago");
        assert_eq!(at(900, 91_000), Some(80_000));
        assert_eq!(at(1_200, 91_001), Some(81_001), "the newest ten thousand stay");
    }

    #[test]
    fn what_is_forgotten_already_is_not_forgotten_again() {
        let (start, mut history) = (Instant::now(), History::default());
        assert_eq!(history.forget_up_to(start, 50_000, 1), None);
        assert_eq!(history.forget_up_to(start + AGE_KEPT, 90_000, 50_001), None);
    }

    #[test]
    fn notes_are_bounded() {
        let (start, mut history) = (Instant::now(), History::default());
        for second in 0..10_000 {
            let _forgotten = history.forget_up_to(start + Duration::from_secs(second), second, 1);
        }
        assert!(history.notes.len() <= 62, "{}", history.notes.len());
    }
}
