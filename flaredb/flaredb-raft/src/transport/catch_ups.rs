//! Who gets a snapshot, or has just got one and still lacks the log that comes after it.
//!
//! That log must not be purged meanwhile: where a snapshot takes longer than the log reaches back, the peer would need
//! another one, and then another, for as long as anybody writes. A peer that no longer advances holds nothing up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// A peer that has not advanced for so long is not waited for.
const STALLED_AFTER: Duration = Duration::from_secs(10);

/// The peers of one region that catch up.
#[derive(Clone, Debug, Default)]
pub(crate) struct CatchUps(Arc<Mutex<BTreeMap<u64, CatchUp>>>);

#[derive(Clone, Copy, Debug)]
struct CatchUp {
    /// Whether the snapshot is on its way.
    sending: bool,
    /// Where the peer was last seen.
    position: u64,
    /// When it was first seen there.
    since: Instant,
}

/// A snapshot is on its way while this lives.
#[derive(Debug)]
pub(crate) struct Sending {
    all: CatchUps,
    peer: u64,
}

impl Drop for Sending {
    fn drop(&mut self) {
        if let Some(catch_up) = self.all.peers().get_mut(&self.peer) {
            (catch_up.sending, catch_up.since) = (false, Instant::now());
        }
    }
}

impl CatchUps {
    /// A peer is sent a snapshot.
    pub(crate) fn begin(&self, peer: u64) -> Sending {
        self.peers().insert(peer, CatchUp { sending: true, position: 0, since: Instant::now() });
        Sending { all: self.clone(), peer }
    }

    /// Whether somebody still needs entries before `end`. `position` says up to where a peer has the log; `None` if it
    /// is no member, or this node does not lead.
    pub(crate) fn need(&self, end: u64, now: Instant, position: impl Fn(u64) -> Option<u64>) -> bool {
        let mut peers = self.peers();
        peers.retain(|&peer, catch_up| {
            let Some(position) = position(peer) else { return catch_up.sending };
            if position > catch_up.position {
                (catch_up.position, catch_up.since) = (position, now);
            }
            catch_up.sending || (position < end && now.duration_since(catch_up.since) < STALLED_AFTER)
        });
        !peers.is_empty()
    }

    fn peers(&self) -> MutexGuard<'_, BTreeMap<u64, CatchUp>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_is_needed_from_the_snapshot_until_the_peer_has_caught_up() {
        let (all, now) = (CatchUps::default(), Instant::now());
        assert!(!all.need(100, now, |_| Some(0)));
        let sending = all.begin(7);
        assert!(all.need(100, now, |_| Some(0)));
        assert!(all.need(500, now + 9 * STALLED_AFTER, |_| Some(0)), "the snapshot takes its time");
        drop(sending);
        assert!(all.need(900, now, |_| Some(100)), "it is there, and the log after it is not");
        assert!(all.need(1000, now, |_| Some(800)));
        assert!(!all.need(1100, now, |_| Some(1100)));
        assert!(!all.need(2000, now, |_| Some(1200)), "from then on it is a follower like any other");
    }

    #[test]
    fn peer_that_has_not_advanced_for_long_or_is_no_member_needs_nothing() {
        let (all, now) = (CatchUps::default(), Instant::now());
        drop(all.begin(7));
        assert!(all.need(900, now, |_| Some(100)));
        assert!(all.need(900, now + STALLED_AFTER / 2, |_| Some(100)));
        assert!(all.need(900, now + STALLED_AFTER, |_| Some(101)));
        assert!(!all.need(900, now + 2 * STALLED_AFTER, |_| Some(101)));
        drop(all.begin(7));
        assert!(!all.need(900, now, |_| None));
    }
}
