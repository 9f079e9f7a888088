//! Keeps leases alive and ends them, while this node leads.
//!
//! A new leader first says so in the log, so that nothing an earlier leader decides counts any more, and gives every
//! lease its whole time, or what the log says is left of it. It answers a keep-alive only after a quorum has confirmed
//! that it still leads. A node that was stopped for a while does not know who wanted to be kept alive meanwhile; before it
//! ends any, it gives all leases the same as a new leader would.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chainfire_store::{
    Lease, Store, StoreError,
    internal::{
        BeginTerm, Caller, LeaseCheckpoint, LeaseEpoch, LeaseExpire, command::Request, outcome::Outcome,
    },
    refusal,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, timeout},
};
use tonic::Status;

use crate::{
    api::Api,
    deadlines::{Deadlines, Left, Renewal},
    status,
};

/// How often it is looked which leases are over.
const BEAT: Duration = Duration::from_millis(200);
/// Whoever misses beats for so long was stopped.
const STALL: Duration = Duration::from_secs(1);
/// How long a keep-alive waits for a leader that begins, or for an end that is under way.
const PATIENCE: Duration = Duration::from_secs(5);
/// Leases that one command ends or tells of, and that are read at once.
const LEASES_MAX: usize = 1_000;

/// The deadlines of the term in which this node leads.
#[derive(Debug)]
pub(crate) struct Keeper {
    /// `None`: it does not lead, or has not begun to.
    leading: Mutex<Option<Leading>>,
    /// Changes when it begins to lead, and when what was proposed of leases is known.
    news: watch::Sender<()>,
    /// A keep-alive waits for what the log is to say.
    asked: Notify,
    /// The last checkpoint's number.
    checkpoint: AtomicU64,
    start: Instant,
}

#[derive(Debug)]
struct Leading {
    term: u64,
    deadlines: Deadlines,
}

impl Keeper {
    /// Of a node that does not lead yet.
    pub(crate) fn new() -> Self {
        Self {
            leading: Mutex::new(None),
            news: watch::Sender::new(()),
            asked: Notify::new(),
            checkpoint: AtomicU64::new(0),
            start: Instant::now(),
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn leading(&self) -> MutexGuard<'_, Option<Leading>> {
        self.leading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a lease its whole time again, at the node that leads; returns that time, or 0 if there is no such lease.
    ///
    /// # Errors
    /// When this node does not lead or does not know whether it does, or the store cannot be read.
    pub(crate) async fn keep_alive(&self, api: &Api, id: i64) -> Result<i64, Status> {
        let kept = timeout(PATIENCE, self.try_keep_alive(api, id)).await;
        kept.unwrap_or_else(|_late| Err(status::refused(refusal::TIMEOUT)))
    }

    async fn try_keep_alive(&self, api: &Api, id: i64) -> Result<i64, Status> {
        let mut news = self.news.subscribe();
        loop {
            news.mark_unchanged();
            api.read_index().await?;
            if !api.leads() {
                return Err(status::refused(refusal::NO_LEADER));
            }
            match self.renew(api, id).map_err(status::unreadable)? {
                Some(Renewal::Renewed { ttl_s }) => return Ok(ttl_s),
                Some(Renewal::Unknown) => return Ok(0),
                Some(Renewal::Undecided) => self.asked.notify_one(),
                None => {}
            }
            // What is awaited lives as long as `self`.
            drop(news.changed().await);
        }
    }

    /// `None`: this node does not lead, or has not begun to.
    fn renew(&self, api: &Api, id: i64) -> Result<Option<Renewal>, StoreError> {
        let lease = api.store.lease(id)?;
        Ok(self.in_term(api.leadership.borrow().term, |deadlines, now| {
            match &lease {
                Some(lease) => deadlines.learn(lease, now),
                None => deadlines.forget(id),
            }
            deadlines.renew(id, now)
        }))
    }

    /// What is left of a lease that is in the store; `None`: this node does not lead, or has not begun to.
    pub(crate) fn left(&self, api: &Api, lease: &Lease) -> Option<Left> {
        let left = self.in_term(api.leadership.borrow().term, |deadlines, now| {
            deadlines.learn(lease, now);
            deadlines.left(lease.id, now)
        });
        left.flatten()
    }

    /// Does something with the deadlines of a term.
    fn in_term<T>(&self, term: u64, work: impl FnOnce(&mut Deadlines, Duration) -> T) -> Option<T> {
        let (mut leading, now) = (self.leading(), self.now());
        let leading = leading.as_mut().filter(|leading| leading.term == term);
        leading.map(|leading| work(&mut leading.deadlines, now))
    }

    /// Takes in the leases that were granted since it looked last.
    fn learn(&self, store: &Store, term: u64) -> Result<(), StoreError> {
        loop {
            let after = self.in_term(term, |deadlines, _| deadlines.newest_epoch());
            let granted = store.granted(after.unwrap_or_default(), LEASES_MAX)?;
            self.in_term(term, |deadlines, now| granted.iter().for_each(|lease| deadlines.learn(lease, now)));
            if granted.len() < LEASES_MAX {
                return Ok(());
            }
        }
    }

    fn begin(&self, term: u64) {
        *self.leading() = Some(Leading { term, deadlines: Deadlines::default() });
        self.news.send_replace(());
    }

    fn end(&self) {
        *self.leading() = None;
        self.news.send_replace(());
    }

    /// Takes in what came of the ends that were proposed.
    fn settle(&self, store: &Store, term: u64, asked: &[LeaseEpoch]) -> Result<(), StoreError> {
        for lease in asked {
            let there = store.lease(lease.id)?.is_some_and(|found| found.epoch == lease.epoch);
            self.in_term(term, |deadlines, _| match there {
                true => deadlines.still_there(lease),
                false => deadlines.ended(lease),
            });
        }
        self.news.send_replace(());
        Ok(())
    }
}

/// Does what a leader does about leases, whenever this node leads, for as long as it is polled.
pub(crate) async fn keep(api: Api) {
    let mut leadership = api.leadership.clone();
    loop {
        if api.leads() {
            let term = leadership.borrow_and_update().term;
            let mut pulse = Pulse::new();
            if begin(&api, term, &mut pulse).await {
                lead(&api, term, &mut pulse).await;
            }
            api.keeper.end();
        } else if leadership.changed().await.is_err() {
            return;
        }
    }
}

fn leads_in(api: &Api, term: u64) -> bool {
    api.leads() && api.leadership.borrow().term == term
}

/// Says in the log that a term has begun; whether this node still leads in it.
async fn begin(api: &Api, term: u64, pulse: &mut Pulse) -> bool {
    while leads_in(api, term) {
        match api.propose(Caller::default(), Request::BeginTerm(BeginTerm { term })).await {
            Ok(_) => {
                api.keeper.begin(term);
                return true;
            }
            Err(status) => tracing::debug!(%status, term, "the term has not begun; it is tried again"),
        }
        pulse.beat().await;
    }
    false
}

async fn lead(api: &Api, term: u64, pulse: &mut Pulse) {
    while leads_in(api, term) {
        tokio::select! {
            () = pulse.beat() => {}
            () = api.keeper.asked.notified() => {}
        }
        if let Err(error) = look_after_all(api, term, pulse).await {
            tracing::warn!(%error, "leases cannot be looked after; the next round goes on");
        }
    }
}

async fn look_after_all(api: &Api, term: u64, pulse: &mut Pulse) -> Result<(), StoreError> {
    api.keeper.learn(&api.store, term)?;
    if say_what_is_left(api, term, pulse).await {
        end_those_that_are_over(api, term, pulse).await?;
    }
    Ok(())
}

/// What a node that was stopped did not hear of ends no lease. Returns until when nothing was missed: what is over by then
/// is over, however long the process is stopped behind this look.
fn forgive(keeper: &Keeper, term: u64, pulse: &mut Pulse) -> Duration {
    let (seen, stalled) = pulse.look();
    if stalled {
        tracing::warn!("this node was stopped for a while; leases have what a new leader would give them");
        keeper.in_term(term, |deadlines, now| deadlines.renew_all(now));
    }
    seen.saturating_duration_since(keeper.start)
}

/// Says in the log what the next leader must know; whether it is there.
async fn say_what_is_left(api: &Api, term: u64, pulse: &mut Pulse) -> bool {
    let keeper = &api.keeper;
    loop {
        let seen = forgive(keeper, term, pulse);
        let unsaid = keeper.in_term(term, |deadlines, _| deadlines.unsaid(seen, LEASES_MAX));
        let leases = unsaid.unwrap_or_default();
        if leases.is_empty() {
            return true;
        }
        let number = keeper.checkpoint.fetch_add(1, Ordering::Relaxed) + 1;
        let checkpoint = Request::LeaseCheckpoint(LeaseCheckpoint { term, number, leases: leases.clone() });
        if let Err(status) = pulse.during(api.propose(Caller::default(), checkpoint)).await {
            tracing::debug!(%status, "what is left of leases was not said; it is tried again");
            return false;
        }
        keeper.in_term(term, |deadlines, now| deadlines.said(&leases, now));
        keeper.news.send_replace(());
    }
}

async fn end_those_that_are_over(api: &Api, term: u64, pulse: &mut Pulse) -> Result<(), StoreError> {
    let (keeper, store) = (&api.keeper, &api.store);
    let seen = forgive(keeper, term, pulse);
    let leases = keeper.in_term(term, |deadlines, _| deadlines.due(seen, LEASES_MAX)).unwrap_or_default();
    if leases.is_empty() {
        return Ok(());
    }
    let expire = Request::LeaseExpire(LeaseExpire { term, leases: leases.clone() });
    match pulse.during(api.propose(Caller::default(), expire)).await {
        Ok(Outcome::Expired(expired)) => tracing::debug!(ids = ?expired.ids, "leases have ended"),
        Ok(_) => tracing::error!("the end of leases was answered by something else"),
        Err(status) => tracing::debug!(%status, "leases were not ended; it is tried again"),
    }
    keeper.settle(store, term, &leases)
}

/// Notices that the process was stopped: its beats were further apart than beats are.
struct Pulse {
    beats: Interval,
    last: Instant,
    stalled: bool,
}

impl Pulse {
    fn new() -> Self {
        let mut beats = interval(BEAT);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { beats, last: Instant::now(), stalled: false }
    }

    async fn beat(&mut self) {
        self.beats.tick().await;
        self.stalled |= self.last.elapsed() > STALL;
        self.last = Instant::now();
    }

    /// Waits for something, and beats on.
    async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => return done,
                () = self.beat() => {}
            }
        }
    }

    /// Looks at the clock, and whether the process was stopped between the last look and this one.
    fn look(&mut self) -> (Instant, bool) {
        let now = Instant::now();
        let stalled = std::mem::take(&mut self.stalled) || now - self.last > STALL;
        self.last = now;
        (now, stalled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const TERM: u64 = 3;

    fn with_a_lease() -> (Keeper, Pulse) {
        let (keeper, pulse) = (Keeper::new(), Pulse::new());
        keeper.begin(TERM);
        let lease = Lease { id: 1, ttl_s: 10, epoch: 5, keys: 0, left_ms: 0 };
        keeper.in_term(TERM, |deadlines, now| deadlines.learn(&lease, now));
        (keeper, pulse)
    }

    fn due(keeper: &Keeper, seen: Duration) -> usize {
        keeper.in_term(TERM, |deadlines, _| deadlines.due(seen, LEASES_MAX).len()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn stop_of_the_process_ends_no_lease_before_the_look_nor_behind_it() {
        let (keeper, mut pulse) = with_a_lease();
        let seen = forgive(&keeper, TERM, &mut pulse);
        advance(Duration::from_secs(60)).await;
        assert_eq!(due(&keeper, seen), 0);
        let seen = forgive(&keeper, TERM, &mut pulse);
        assert_eq!(due(&keeper, seen), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn lease_whose_time_passes_beat_by_beat_is_due() {
        let (keeper, mut pulse) = with_a_lease();
        let mut beats = 0;
        while due(&keeper, forgive(&keeper, TERM, &mut pulse)) == 0 {
            pulse.beat().await;
            beats += 1;
        }
        assert!((50..60).contains(&beats), "{beats}");
    }
}
