//! Decides which revisions and tombstones a namespace may forget.
//!
//! Pure: the time comes in as an argument. A revision is kept while it is among the newest `revisions_max` or
//! younger than `age_min`, whichever keeps more, and never beyond `age_max`. Revisions carry no time of their own
//! (replicas apply without a clock), so the leader notes how far each namespace was at each check; a new leader
//! starts with no notes and therefore forgets later, never sooner.

use std::{collections::VecDeque, time::Duration};

/// Notes kept for a namespace; beyond them the oldest go, which only makes compaction by age later.
const NOTES_MAX: usize = 4_096;

/// How much history is retained.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// The newest revisions that are kept whatever their age, up to `age_max`.
    pub(crate) revisions_max: u64,
    /// Younger revisions are kept whatever their number, so that a watch survives a short absence.
    pub(crate) age_min: Duration,
    /// Older revisions go whatever their number.
    pub(crate) age_max: Duration,
}

/// What one leader has seen of one namespace's revision over time.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// (uptime, revision), both rising.
    notes: VecDeque<(Duration, u64)>,
}

impl Progress {
    /// Notes that the namespace is at `revision` now. Equal revisions are noted once: the first time counts.
    pub(crate) fn note(&mut self, now: Duration, revision: u64) {
        if self.notes.back().is_some_and(|&(_, last)| last >= revision) {
            return;
        }
        self.notes.push_back((now, revision));
        if self.notes.len() > NOTES_MAX {
            self.notes.pop_front();
        }
    }

    /// The revision up to which (inclusive) history may go now, if there is any to forget.
    ///
    /// `oldest` is the oldest revision that is still retained.
    pub(crate) fn forget_up_to(&mut self, now: Duration, oldest: u64, keep: Retention) -> Option<u64> {
        let (_, newest) = *self.notes.back()?;
        let aged_out = self.revision_at(now.checked_sub(keep.age_max));
        let beyond_count = newest.saturating_sub(keep.revisions_max);
        let old_enough = self.revision_at(now.checked_sub(keep.age_min));
        let target = aged_out.max(beyond_count.min(old_enough));
        self.drop_notes_before(now.checked_sub(keep.age_max));
        (target > 0 && target >= oldest).then_some(target)
    }

    /// The last revision known to have existed at `moment`; 0 when none is known.
    fn revision_at(&self, moment: Option<Duration>) -> u64 {
        let Some(moment) = moment else { return 0 };
        self.notes.iter().rev().find(|&&(at, _)| at <= moment).map_or(0, |&(_, revision)| revision)
    }

    /// Keeps the youngest of the expired notes: it still says what existed at that moment.
    fn drop_notes_before(&mut self, moment: Option<Duration>) {
        let Some(moment) = moment else { return };
        while self.notes.get(1).is_some_and(|&(at, _)| at <= moment) {
            self.notes.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Retention = Retention {
        revisions_max: 100,
        age_min: Duration::from_secs(60),
        age_max: Duration::from_secs(3_600),
    };

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn the_newest_revisions_and_the_youngest_are_both_kept() {
        let mut progress = Progress::default();
        progress.note(at(0), 500);
        progress.note(at(30), 1_000);
        assert_eq!(progress.forget_up_to(at(30), 1, KEEP), None, "everything is younger than a minute");
        assert_eq!(progress.forget_up_to(at(61), 1, KEEP), Some(500), "only 500 is known to be a minute old");
        assert_eq!(progress.forget_up_to(at(91), 501, KEEP), Some(900), "the newest 100 stay");
    }

    #[test]
    fn old_revisions_go_even_when_they_are_few() {
        let mut progress = Progress::default();
        progress.note(at(0), 5);
        progress.note(at(1_800), 8);
        assert_eq!(progress.forget_up_to(at(3_599), 1, KEEP), None);
        assert_eq!(progress.forget_up_to(at(3_600), 1, KEEP), Some(5));
        assert_eq!(progress.forget_up_to(at(5_400), 6, KEEP), Some(8));
    }

    #[test]
    fn what_is_already_forgotten_is_not_proposed_again() {
        let mut progress = Progress::default();
        progress.note(at(0), 500);
        assert_eq!(progress.forget_up_to(at(61), 1, KEEP), Some(400));
        assert_eq!(progress.forget_up_to(at(71), 401, KEEP), None);
    }

    #[test]
    fn a_leader_without_notes_forgets_nothing() {
        assert_eq!(Progress::default().forget_up_to(at(9_999), 1, KEEP), None);
    }

    #[test]
    fn notes_are_bounded() {
        let mut progress = Progress::default();
        (0..10_000).for_each(|second| progress.note(at(second), second + 1));
        assert_eq!(progress.notes.len(), NOTES_MAX);
    }
}
