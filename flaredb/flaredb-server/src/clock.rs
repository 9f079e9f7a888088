//! The hybrid logical clock that stamps writes: 48 bits of milliseconds, 16 of counter.
//!
//! A stamp is never below one that this process gave or took before, so that a write which follows another one
//! also wins over it. It refuses stamps far ahead of the local clock: one broken clock must not make the records
//! of everybody else unwritable for years. Nor must a local clock that is set back while the process runs, so the
//! time that has gone by since the start counts for that as well.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// How far ahead of this node's clock a caller's timestamp may be.
pub(crate) const AHEAD_MAX: Duration = Duration::from_millis(500);

const COUNTER_BITS: u32 = 16;

/// A timestamp that lies too far in the future, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timestamp {ts} is {ahead_ms} ms ahead of this node's clock, at most {} ms are accepted", AHEAD_MAX.as_millis())]
pub(crate) struct TooFarAhead {
    /// The refused timestamp.
    pub(crate) ts: u64,
    /// By how many milliseconds it is ahead.
    pub(crate) ahead_ms: u64,
}

/// Gives timestamps that only rise.
#[derive(Debug)]
pub(crate) struct Clock {
    last: AtomicU64,
    started: Instant,
    started_wall_ms: u64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { last: AtomicU64::default(), started: Instant::now(), started_wall_ms: wall_ms() }
    }
}

impl Clock {
    /// The next timestamp, above every one that was given or observed before.
    pub(crate) fn now(&self) -> u64 {
        self.tick(wall_ms())
    }

    /// Takes a caller's timestamp into account.
    ///
    /// # Errors
    /// [`TooFarAhead`]: the timestamp is refused, and the clock is as it was.
    pub(crate) fn observe(&self, ts: u64) -> Result<(), TooFarAhead> {
        let steady_ms = self.started_wall_ms.saturating_add(millis(self.started.elapsed()));
        self.observe_at(ts, wall_ms(), steady_ms)
    }

    fn tick(&self, wall_ms: u64) -> u64 {
        let wall = wall_ms << COUNTER_BITS;
        let step = |last: u64| Some(wall.max(last.saturating_add(1)));
        match self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, step) {
            Ok(last) | Err(last) => wall.max(last.saturating_add(1)),
        }
    }

    fn observe_at(&self, ts: u64, wall_ms: u64, steady_ms: u64) -> Result<(), TooFarAhead> {
        let ahead_ms = (ts >> COUNTER_BITS).saturating_sub(wall_ms.max(steady_ms));
        if u128::from(ahead_ms) > AHEAD_MAX.as_millis() {
            return Err(TooFarAhead { ts, ahead_ms });
        }
        self.last.fetch_max(ts, Ordering::AcqRel);
        Ok(())
    }
}

/// The smallest timestamp of a moment that lies `age` before now.
pub(crate) fn before_now(age: Duration) -> u64 {
    wall_ms().saturating_sub(millis(age)) << COUNTER_BITS
}

fn wall_ms() -> u64 {
    // A clock set before 1970 counts as 1970: stamps still rise, by the counter.
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX >> COUNTER_BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_rise_while_the_wall_clock_stands_still_or_goes_back() {
        let clock = Clock::default();
        let stamps = [1_000, 1_000, 900, 1_001].map(|wall_ms| clock.tick(wall_ms));
        assert!(stamps.is_sorted_by(|one, next| one < next), "{stamps:?}");
        assert_eq!(stamps[3] >> COUNTER_BITS, 1_001);
    }

    #[test]
    fn an_observed_stamp_is_passed_by_the_next_one() {
        let clock = Clock::default();
        let seen = (1_400 << COUNTER_BITS) + 7;
        clock.observe_at(seen, 1_000, 1_000).unwrap();
        assert_eq!(clock.tick(1_000), seen + 1);
    }

    #[test]
    fn a_stamp_from_the_far_future_is_refused_and_changes_nothing() {
        let clock = Clock::default();
        let ahead = 1_501 << COUNTER_BITS;
        assert_eq!(clock.observe_at(ahead, 1_000, 1_000), Err(TooFarAhead { ts: ahead, ahead_ms: 501 }));
        assert_eq!(clock.tick(1_000), 1_000 << COUNTER_BITS);
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_refuses_no_stamp_of_the_present() {
        let clock = Clock::default();
        let (now, hour) = (7_200_000, 3_600_000);
        clock.observe_at(now << COUNTER_BITS, now - hour, now).unwrap();
        clock.observe_at((now + 1) << COUNTER_BITS, now + hour, now + 1).unwrap();
        assert!(clock.observe_at((now + hour) << COUNTER_BITS, now - hour, now).is_err());
    }
}
