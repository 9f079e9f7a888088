//! The hybrid logical clock that stamps eventual writes: 48 bits of milliseconds, 16 of counter.
//!
//! A write is stamped once, before its first try: a retry with a new stamp could win over what others wrote since.
//! Stamps that come back from servers are folded in, so that a write which follows a read also wins over what was
//! read, whatever this machine's clock says.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{SystemTime, UNIX_EPOCH},
};

const COUNTER_BITS: u32 = 16;

/// Gives stamps that only rise.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: AtomicU64,
}

impl Clock {
    /// The next stamp, above every one that was given or observed before.
    pub(crate) fn now(&self) -> u64 {
        self.tick(wall_ms())
    }

    /// Folds a server's stamp in.
    pub(crate) fn observe(&self, ts: u64) {
        self.last.fetch_max(ts, Ordering::AcqRel);
    }

    fn tick(&self, wall_ms: u64) -> u64 {
        let wall = wall_ms << COUNTER_BITS;
        let after = |last: u64| wall.max(last.saturating_add(1));
        match self.last.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(after(last))) {
            Ok(last) | Err(last) => after(last),
        }
    }
}

fn wall_ms() -> u64 {
    // A clock set before 1970 counts as 1970: stamps still rise, by the counter.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX >> COUNTER_BITS)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn stamps_rise_whatever_the_wall_clock_and_the_servers_say(
            steps in prop::collection::vec((0..1_u64 << 40, prop::option::of(0..1_u64 << 56)), 1..50),
        ) {
            let clock = Clock::default();
            let mut last = 0;
            for (wall_ms, observed) in steps {
                if let Some(ts) = observed {
                    clock.observe(ts);
                    last = last.max(ts);
                }
                let stamp = clock.tick(wall_ms);
                prop_assert!(stamp > last && stamp >> COUNTER_BITS >= wall_ms);
                last = stamp;
            }
        }
    }

    #[test]
    fn a_stamp_has_the_wall_clock_in_its_upper_bits() {
        assert_eq!(Clock::default().tick(1_000), 1_000 << COUNTER_BITS);
    }
}
