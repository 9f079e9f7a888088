//! When leases end, as the one leader of a term sees it.
//!
//! Pure: the time is an argument, of a clock that only goes forward. Nothing here outlives the leader's term, and who
//! comes after it does not know who was kept alive; it gives every lease its whole time again. So that a lease whose
//! holder is gone is not held on from one leader to the next, what is left of it goes into the log when half of its time
//! is gone and with every further eighth; the next leader gives it that. A holder that renews in time, as etcd's clients
//! do after a third, costs no entry. One that comes later is answered when the log says that it has its whole time.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use chainfire_store::{
    Lease,
    internal::{LeaseEpoch, LeaseLeft},
};

/// The leases of the store, and when each of them ends.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    leases: HashMap<i64, Kept>,
    /// Those that are not ending already, the next one first.
    queue: BTreeSet<(Duration, i64)>,
    /// Those of which the log is to say what is left, the next one first.
    unsaid: BTreeSet<(Duration, i64)>,
    newest_epoch: u64,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    ttl_s: i64,
    epoch: u64,
    deadline: Duration,
    /// The least that the log may say is left of it.
    said: Duration,
    /// When the log is to say it anew.
    say_at: Option<Duration>,
    /// It was kept alive, and the log does not say so yet.
    late: bool,
    /// Its end has been proposed; whether it comes, nobody knows yet.
    ending: bool,
}

impl Kept {
    fn new(lease: &Lease, now: Duration) -> Self {
        let said = said(lease);
        let (ttl_s, epoch) = (lease.ttl_s, lease.epoch);
        let kept = Self { ttl_s, epoch, deadline: now, said, say_at: None, late: false, ending: false };
        kept.until(now + said)
    }

    fn whole(&self) -> Duration {
        whole(self.ttl_s)
    }

    /// With this deadline.
    fn until(self, deadline: Duration) -> Self {
        let step = self.whole() / STEPS;
        let next = self.said.saturating_sub(step).min(step * STEPS / 2);
        let say_at = deadline.checked_sub(next).filter(|_| !next.is_zero());
        Self { deadline, say_at, ending: false, ..self }
    }
}

/// What came of keeping a lease alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Renewal {
    /// It has its whole time again.
    Renewed {
        /// Its time.
        ttl_s: i64,
    },
    /// Its end is under way, or the log must say first that it has its whole time again.
    Undecided,
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

/// The log says what is left with each of so many parts of a lease's time, in its second half.
const STEPS: u32 = 8;

fn whole(ttl_s: i64) -> Duration {
    Duration::from_secs(u64::try_from(ttl_s).unwrap_or_default())
}

/// What the log says is left of a lease.
fn said(lease: &Lease) -> Duration {
    match lease.left_ms {
        0 => whole(lease.ttl_s),
        left_ms => Duration::from_millis(left_ms),
    }
}

/// As the log has it; what is nothing would be everything.
fn left_ms(left: Duration) -> u64 {
    u64::try_from(left.as_millis()).unwrap_or(u64::MAX).max(1)
}

impl Deadlines {
    /// The last grant that is known.
    pub(crate) fn newest_epoch(&self) -> u64 {
        self.newest_epoch
    }

    /// Takes in a lease that was granted, with what the log says is left of it.
    pub(crate) fn learn(&mut self, lease: &Lease, now: Duration) {
        self.newest_epoch = self.newest_epoch.max(lease.epoch);
        if self.leases.get(&lease.id).is_none_or(|known| known.epoch < lease.epoch) {
            self.set(lease.id, Kept::new(lease, now));
        }
    }

    /// Lets go of a lease that is gone.
    pub(crate) fn forget(&mut self, id: i64) {
        if let Some(kept) = self.leases.remove(&id) {
            self.queue.remove(&(kept.deadline, id));
            self.unsaid.remove(&(kept.say_at.unwrap_or_default(), id));
        }
    }

    fn set(&mut self, id: i64, kept: Kept) {
        self.forget(id);
        self.queue.insert((kept.deadline, id));
        self.unsaid.extend(kept.say_at.map(|at| (at, id)));
        self.leases.insert(id, kept);
    }

    /// Gives a lease its whole time again.
    pub(crate) fn renew(&mut self, id: i64, now: Duration) -> Renewal {
        let Some(kept) = self.leases.get(&id).copied() else { return Renewal::Unknown };
        if kept.ending {
            return Renewal::Undecided;
        }
        if kept.said < kept.whole() {
            self.set(id, Kept { late: true, say_at: Some(Duration::ZERO), ..kept });
            return Renewal::Undecided;
        }
        self.set(id, kept.until(now + kept.whole()));
        Renewal::Renewed { ttl_s: kept.ttl_s }
    }

    /// Gives every lease again what a new leader would give it: while nobody was there to hear them, they may have been
    /// kept alive.
    pub(crate) fn renew_all(&mut self, now: Duration) {
        for (id, kept) in self.leases.clone() {
            if !kept.ending && !kept.late {
                self.set(id, kept.until(now + kept.said));
            }
        }
    }

    /// What the log is to say of leases, at most so many. A lease that was kept alive has its whole time.
    pub(crate) fn unsaid(&mut self, now: Duration, most: usize) -> Vec<LeaseLeft> {
        let ids: Vec<_> = self.unsaid.iter().take_while(|(at, _)| *at <= now).take(most).copied().collect();
        let unsaid = ids.into_iter().filter_map(|(_, id)| {
            let kept = self.leases.get(&id).copied()?;
            let lease = Some(LeaseEpoch { id, epoch: kept.epoch });
            if kept.late {
                return Some(LeaseLeft { lease, left_ms: 0 });
            }
            // Whether the log has it, is not known soon; it counts from now on.
            let said = kept.deadline.saturating_sub(now).min(kept.said);
            self.set(id, Kept { said, ..kept }.until(kept.deadline));
            Some(LeaseLeft { lease, left_ms: left_ms(said) })
        });
        unsaid.collect()
    }

    /// The log says this of leases.
    pub(crate) fn said(&mut self, leases: &[LeaseLeft], now: Duration) {
        for (said, lease) in leases.iter().filter_map(|said| Some((said, said.lease.as_ref()?))) {
            let kept = self.leases.get(&lease.id).copied();
            if let Some(kept) = kept.filter(|kept| said.left_ms == 0 && kept.epoch == lease.epoch) {
                let whole = Kept { said: kept.whole(), late: false, ..kept };
                self.set(lease.id, whole.until(now + kept.whole()));
            }
        }
    }

    /// Leases whose time is over and that nobody has kept alive, at most so many; their end is under way from now on.
    pub(crate) fn due(&mut self, now: Duration, most: usize) -> Vec<LeaseEpoch> {
        let over = self.queue.iter().take_while(|(deadline, _)| *deadline <= now);
        let over = over.filter(|(_, id)| self.leases.get(id).is_some_and(|kept| !kept.late));
        let due: Vec<_> = over.take(most).copied().collect();
        let mut leases = Vec::with_capacity(due.len());
        for place in due {
            self.queue.remove(&place);
            if let Some(kept) = self.leases.get_mut(&place.1) {
                kept.ending = true;
                leases.push(LeaseEpoch { id: place.1, epoch: kept.epoch });
                self.unsaid.remove(&(kept.say_at.take().unwrap_or_default(), place.1));
            }
        }
        leases
    }

    /// A lease whose end was proposed is still there: it is due again.
    pub(crate) fn still_there(&mut self, asked: &LeaseEpoch) {
        let kept = self.leases.get(&asked.id).copied();
        if let Some(kept) = kept.filter(|kept| kept.ending && kept.epoch == asked.epoch) {
            self.set(asked.id, kept.until(kept.deadline));
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
