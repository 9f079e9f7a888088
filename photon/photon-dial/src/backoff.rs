//! How long to wait before the same thing is tried again. Pure: the random number comes in as an argument.

use std::time::Duration;

/// The first pause; about the time that one round trip and a busy moment take.
const FIRST: Duration = Duration::from_millis(10);
/// The longest pause: well below an election, so that a new leader is found soon.
const LONGEST: Duration = Duration::from_millis(200);

/// The pause before try number `round` (from 0): doubling up to a bound, and anywhere in its upper half, so that
/// clients which failed together do not come back together. `random` is in 0..1.
pub fn pause(round: u32, random: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1_u32.checked_shl(round).unwrap_or(u32::MAX)).min(LONGEST);
    doubled.mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pauses_are_bounded_and_jittered_in_their_upper_half(round in any::<u32>(), random in 0.0..1.0_f64) {
            let full = pause(round, 1.0);
            let drawn = pause(round, random);
            prop_assert!(full >= FIRST && full <= LONGEST);
            prop_assert!(drawn >= full / 2 && drawn <= full);
        }
    }

    #[test]
    fn pauses_double_until_the_bound() {
        let pauses: Vec<u128> = (0..6).map(|round| pause(round, 1.0).as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 200]);
    }
}
