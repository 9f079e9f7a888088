//! When leases end, as the one leader of a term sees it.
//!
//! Pure: the time is an argument, of a clock that only goes forward. Nothing here outlives the leader's term; who comes
//! after it gives every lease its whole time again.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use chainfire_store::{Lease, internal::LeaseEpoch};

/// The leases of the store, and when each of them ends.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    leases: HashMap<i64, Kept>,
    /// Those that are not ending already, the next one first.
    queue: BTreeSet<(Duration, i64)>,
    newest_epoch: u64,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    ttl_s: i64,
    epoch: u64,
    deadline: Duration,
    /// Its end has been proposed; whether it comes, nobody knows yet.
    ending: bool,
}

/// What came of keeping a lease alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It has its whole time again.
    Renewed {
        /// Its time.
        ttl_s: i64,
    },
    /// Its end is under way.
    Ending,
    /// It is not known here.
    Unknown,
}

/// What is left of a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// Its whole time.
    pub(crate) ttl_s: i64,
    /// What is left of it.
    pub(crate) left: Duration,
}

fn whole(ttl_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_s).unwrap_or_default())
}

impl Deadlines {
    /// The last grant that is known.
    pub(crate) fn newest_epoch(&self) -> u64 {
        self.newest_epoch
    }

    /// Takes in a lease that was granted, with its whole time.
    pub(crate) fn learn(&mut self, lease: &Lease, now: Duration) {
        self.newest_epoch = self.newest_epoch.max(lease.epoch);
        if self.leases.get(&lease.id).is_some_and(|known| known.epoch >= lease.epoch) {
            return;
        }
        self.forget(lease.id);
        let (ttl_s, deadline) = (lease.ttl_s, now + whole(lease.ttl_s));
        self.leases.insert(lease.id, Kept { ttl_s, epoch: lease.epoch, deadline, ending: false });
        self.queue.insert((deadline, lease.id));
    }

    /// Lets go of a lease that is gone.
    pub(crate) fn forget(&mut self, id: i64) {
        if let Some(kept) = self.leases.remove(&id) {
            self.queue.remove(&(kept.deadline, id));
        }
    }

    /// Gives a lease its whole time again.
    pub(crate) fn renew(&mut self, id: i64, now: Duration) -> Renewal {
        let Some(kept) = self.leases.get(&id).copied() else { return Renewal::Unknown };
        if kept.ending {
            return Renewal::Ending;
        }
        self.set(id, kept, now + whole(kept.ttl_s));
        Renewal::Renewed { ttl_s: kept.ttl_s }
    }

    /// Gives every lease its whole time again: while nobody was there to hear them, they may have been kept alive.
    pub(crate) fn renew_all(&mut self, now: Duration) {
        for (id, kept) in self.leases.clone() {
            if !kept.ending {
                self.set(id, kept, now + whole(kept.ttl_s));
            }
        }
    }

    fn set(&mut self, id: i64, kept: Kept, deadline: Duration) {
        self.queue.remove(&(kept.deadline, id));
        self.queue.insert((deadline, id));
        self.leases.insert(id, Kept { deadline, ending: false, ..kept });
    }

    /// Leases whose time is over, at most so many; their end is under way from now on.
    pub(crate) fn due(&mut self, now: Duration, most: usize) -> Vec<LeaseEpoch> {
        let due: Vec<_> =
            self.queue.iter().take_while(|(deadline, _)| *deadline <= now).take(most).copied().collect();
        let mut leases = Vec::with_capacity(due.len());
        for place in due {
            self.queue.remove(&place);
            if let Some(kept) = self.leases.get_mut(&place.1) {
                kept.ending = true;
                leases.push(LeaseEpoch { id: place.1, epoch: kept.epoch });
            }
        }
        leases
    }

    /// A lease whose end was proposed is still there: it is due again.
    pub(crate) fn still_there(&mut self, asked: &LeaseEpoch) {
        let kept = self.leases.get(&asked.id).copied();
        if let Some(kept) = kept.filter(|kept| kept.ending && kept.epoch == asked.epoch) {
            self.set(asked.id, kept, kept.deadline);
        }
    }

    /// A lease whose end was proposed is gone.
    pub(crate) fn ended(&mut self, asked: &LeaseEpoch) {
        if self.leases.get(&asked.id).is_some_and(|kept| kept.epoch == asked.epoch) {
            self.forget(asked.id);
        }
    }

    /// What is left of a lease; `None`: it is not known here.
    pub(crate) fn left(&self, id: i64, now: Duration) -> Option<Left> {
        let kept = self.leases.get(&id)?;
        Some(Left { ttl_s: kept.ttl_s, left: kept.deadline.saturating_sub(now) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn lease(id: i64, epoch: u64) -> Lease {
        Lease { id, ttl_s: 10, epoch, keys: 0 }
    }

    fn ids(due: &[LeaseEpoch]) -> Vec<i64> {
        due.iter().map(|lease| lease.id).collect()
    }

    #[test]
    fn lease_that_is_kept_alive_is_not_due() {
        let mut deadlines = Deadlines::default();
        deadlines.learn(&lease(1, 5), at(0));
        deadlines.learn(&lease(2, 6), at(0));
        assert_eq!(deadlines.renew(1, at(9)), Renewal::Renewed { ttl_s: 10 });
        assert_eq!(ids(&deadlines.due(at(10), 9)), [2]);
        assert!(deadlines.due(at(18), 9).is_empty());
        assert_eq!(ids(&deadlines.due(at(19), 9)), [1]);
        assert_eq!(deadlines.newest_epoch(), 6);
    }

    #[test]
    fn lease_whose_end_is_under_way_is_not_renewed_before_that_is_known() {
        let mut deadlines = Deadlines::default();
        deadlines.learn(&lease(1, 5), at(0));
        let due = deadlines.due(at(10), 9);
        assert_eq!(deadlines.renew(1, at(10)), Renewal::Ending);
        assert!(deadlines.due(at(99), 9).is_empty());
        deadlines.still_there(&due[0]);
        assert_eq!(deadlines.renew(1, at(11)), Renewal::Renewed { ttl_s: 10 });
        let due = deadlines.due(at(21), 9);
        deadlines.ended(&due[0]);
        assert_eq!(deadlines.renew(1, at(21)), Renewal::Unknown);
    }

    #[test]
    fn all_have_their_whole_time_after_a_time_in_which_nobody_was_there() {
        let mut deadlines = Deadlines::default();
        deadlines.learn(&lease(1, 5), at(0));
        deadlines.renew_all(at(50));
        assert!(deadlines.due(at(59), 9).is_empty());
        assert_eq!(deadlines.left(1, at(53)), Some(Left { ttl_s: 10, left: at(7) }));
        assert_eq!(ids(&deadlines.due(at(60), 9)), [1]);
    }

    #[test]
    fn number_that_is_granted_anew_is_another_lease() {
        let mut deadlines = Deadlines::default();
        deadlines.learn(&lease(1, 5), at(0));
        let due = deadlines.due(at(10), 9);
        deadlines.learn(&lease(1, 7), at(10));
        deadlines.learn(&lease(1, 5), at(10));
        deadlines.ended(&due[0]);
        assert_eq!(deadlines.renew(1, at(11)), Renewal::Renewed { ttl_s: 10 });
    }

    #[test]
    fn those_that_are_due_come_in_pieces() {
        let mut deadlines = Deadlines::default();
        (1..=5).for_each(|id| deadlines.learn(&lease(id, 5), at(0)));
        assert_eq!(ids(&deadlines.due(at(10), 3)), [1, 2, 3]);
        assert_eq!(ids(&deadlines.due(at(10), 3)), [4, 5]);
    }
}
