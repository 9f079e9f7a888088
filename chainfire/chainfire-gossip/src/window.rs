//! Which packets of a session have been seen: the newest 256, in any order, each once (RFC 4303 §3.4.3).

/// Packets by which one may be late.
const WIDTH: u64 = 256;

/// Counts of packets that were accepted.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Window {
    /// One more than the highest count; 0 when nothing was accepted.
    end: u64,
    seen: [u64; 4],
}

impl Window {
    /// Whether the packet is new; it then counts as seen. One that is too old to know counts as seen.
    pub(crate) fn accept(&mut self, count: u64) -> bool {
        if count == u64::MAX || count.saturating_add(WIDTH) < self.end {
            return false;
        }
        if count >= self.end {
            self.advance(count + 1);
        } else if self.is_seen(count) {
            return false;
        }
        self.mark(count);
        true
    }

    fn advance(&mut self, end: u64) {
        if end - self.end >= WIDTH {
            self.seen = [0; 4];
        } else {
            (self.end..end).for_each(|count| self.clear(count));
        }
        self.end = end;
    }

    fn is_seen(&self, count: u64) -> bool {
        let (word, bit) = place(count);
        self.seen.get(word).is_some_and(|bits| bits & bit != 0)
    }

    fn mark(&mut self, count: u64) {
        let (word, bit) = place(count);
        self.seen.get_mut(word).into_iter().for_each(|bits| *bits |= bit);
    }

    fn clear(&mut self, count: u64) {
        let (word, bit) = place(count);
        self.seen.get_mut(word).into_iter().for_each(|bits| *bits &= !bit);
    }
}

fn place(count: u64) -> (usize, u64) {
    (usize::try_from(count / 64 % 4).unwrap_or_default(), 1 << (count % 64))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_packet_is_accepted_once_and_none_that_is_too_old(counts in proptest::collection::vec(0..2000_u64, 0..400)) {
            let (mut window, mut seen, mut highest) = (Window::default(), BTreeSet::new(), 0);
            for count in counts {
                let known = count + WIDTH > highest || seen.is_empty();
                prop_assert_eq!(window.accept(count), known && !seen.contains(&count));
                if known {
                    seen.insert(count);
                    highest = highest.max(count);
                }
            }
        }
    }
}
