//! Which tokens are in use at this node: each use makes a token good for its lifetime again, as etcd's simple tokens.
//!
//! Pure: the time is an argument, of a clock that only goes forward. A token that is not known here is as good as its
//! age says, so a node that has forgotten one, or has just begun, at worst has its client show the password again.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

/// Tokens that are remembered; of more, those whose last use is longest ago are forgotten.
const TOKENS_MAX: usize = 65_536;

/// What tells tokens apart.
pub(super) type Nonce = [u8; 16];

/// The tokens that were used within their lifetime, and when that ends.
#[derive(Debug, Default)]
pub(super) struct Uses {
    ends: HashMap<Nonce, Duration>,
    /// The next to end first.
    queue: BTreeSet<(Duration, Nonce)>,
}

impl Uses {
    /// Whether a token of this age is good for a use, from which on it lives as long again.
    pub(super) fn extend(&mut self, nonce: Nonce, age: Duration, lifetime: Duration, now: Duration) -> bool {
        self.forget(|end, _| end <= now);
        if age >= lifetime && !self.ends.contains_key(&nonce) {
            return false;
        }
        let end = now + lifetime;
        if let Some(before) = self.ends.insert(nonce, end) {
            self.queue.remove(&(before, nonce));
        }
        self.queue.insert((end, nonce));
        self.forget(|_, tokens| tokens > TOKENS_MAX);
        true
    }

    /// Forgets those that end first, while this holds of the end and the number of all.
    fn forget(&mut self, is_over: impl Fn(Duration, usize) -> bool) {
        while let Some(&(end, nonce)) = self.queue.first()
            && is_over(end, self.queue.len())
        {
            self.queue.pop_first();
            self.ends.remove(&nonce);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(10);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn nonce(number: u128) -> Nonce {
        number.to_be_bytes()
    }

    #[test]
    fn token_lives_from_use_to_use() {
        let mut uses = Uses::default();
        assert!(uses.extend(nonce(1), at(9), LIFETIME, at(100)));
        assert!(uses.extend(nonce(1), at(18), LIFETIME, at(109)));
        assert!(uses.extend(nonce(1), at(27), LIFETIME, at(118)));
        assert!(!uses.extend(nonce(1), at(37), LIFETIME, at(128)));
        assert!(!uses.extend(nonce(1), at(37), LIFETIME, at(128)), "a use that is refused is none");
    }

    #[test]
    fn token_that_was_never_used_here_is_as_good_as_its_age() {
        let mut uses = Uses::default();
        assert!(!uses.extend(nonce(1), LIFETIME, LIFETIME, at(1)));
        assert!(uses.extend(nonce(2), LIFETIME - Duration::from_millis(1), LIFETIME, at(1)));
    }

    #[test]
    fn no_more_tokens_are_remembered_than_the_bound() {
        let mut uses = Uses::default();
        let tokens = TOKENS_MAX as u128 + 5;
        (0..tokens).for_each(|number| assert!(uses.extend(nonce(number), at(0), LIFETIME, at(1))));
        assert_eq!((uses.ends.len(), uses.queue.len()), (TOKENS_MAX, TOKENS_MAX));
        assert!(!uses.extend(nonce(0), LIFETIME, LIFETIME, at(2)), "the one used longest ago is forgotten");
        assert!(uses.extend(nonce(tokens - 1), LIFETIME, LIFETIME, at(2)));
    }
}
