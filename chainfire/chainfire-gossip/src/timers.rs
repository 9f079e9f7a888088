//! What is to be done when, measured in time that the node really ran.
//!
//! A process that was stopped wakes up with all its timers due, and the answers that it waited for still unread: judged
//! by the clock on the wall, everybody it probed is dead. So time in which we did not run does not count: when the next
//! timer is long overdue, all are moved on by as much, and by a grace in which to read what came in meanwhile.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
    time::Duration,
};

#[derive(Debug)]
struct Entry<T> {
    due: Duration,
    number: u64,
    alarm: T,
}

/// Alarms in their order. Times are since any start, and only grow.
#[derive(Debug)]
pub(crate) struct Timers<T> {
    heap: BinaryHeap<Reverse<Entry<T>>>,
    number: u64,
    /// Time that did not count.
    lost: Duration,
}

impl<T> Default for Timers<T> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), number: 0, lost: Duration::ZERO }
    }
}

impl<T> Timers<T> {
    /// The time that counts.
    pub(crate) fn lived(&self, now: Duration) -> Duration {
        now.saturating_sub(self.lost)
    }

    pub(crate) fn schedule(&mut self, now: Duration, after: Duration, alarm: T) {
        let due = self.lived(now).saturating_add(after);
        self.heap.push(Reverse(Entry { due, number: self.number, alarm }));
        self.number += 1;
    }

    /// When the next alarm is due.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse(entry)| entry.due.saturating_add(self.lost))
    }

    /// Takes the next alarm that is due.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry.alarm)
    }

    /// When the next alarm is overdue by more than `tolerance`, moves all of them on, so that it is due after `grace`.
    /// Returns by how much it was overdue.
    pub(crate) fn notice_stall(
        &mut self,
        now: Duration,
        tolerance: Duration,
        grace: Duration,
    ) -> Option<Duration> {
        let late = now.saturating_sub(self.next_at()?);
        if late <= tolerance {
            return None;
        }
        self.lost += late + grace;
        Some(late)
    }
}

impl<T> Entry<T> {
    fn key(&self) -> (Duration, u64) {
        (self.due, self.number)
    }
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn alarms_come_in_the_order_of_their_time_and_then_of_their_making() {
        let mut timers = Timers::default();
        timers.schedule(ms(0), ms(20), 'c');
        timers.schedule(ms(0), ms(10), 'a');
        timers.schedule(ms(5), ms(5), 'b');
        assert_eq!(timers.pop_due(ms(9)), None);
        assert_eq!(
            [timers.pop_due(ms(10)), timers.pop_due(ms(10)), timers.pop_due(ms(10))],
            [Some('a'), Some('b'), None]
        );
        assert_eq!(timers.next_at(), Some(ms(20)));
    }

    #[test]
    fn time_in_which_the_node_stood_still_does_not_count() {
        let mut timers = Timers::default();
        timers.schedule(ms(0), ms(100), "tick");
        timers.schedule(ms(0), ms(500), "suspect is down");
        assert_eq!(timers.notice_stall(ms(150), ms(80), ms(80)), None);
        assert_eq!(timers.notice_stall(ms(5100), ms(80), ms(80)), Some(ms(5000)));
        assert_eq!(timers.pop_due(ms(5100)), None, "first what came in is read");
        assert_eq!(timers.pop_due(ms(5180)), Some("tick"));
        assert_eq!(timers.next_at(), Some(ms(5580)));
        timers.schedule(ms(5180), ms(100), "tock");
        assert_eq!(timers.next_at(), Some(ms(5280)));
    }
}
