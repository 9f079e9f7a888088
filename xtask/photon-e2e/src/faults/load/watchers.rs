//! A watch that follows one node after the other: it goes to the next one on faults and now and then without one, and
//! resumes where it was. It notes what a server sends, not what a client library makes of it, which would hide what a
//! server repeats.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::time::timeout;

use super::Shared;
use crate::faults::{
    check::{Revision, watch::Watched},
    cluster::SLOTS,
};

/// Servers send progress twice a second.
const SILENCE_AT_MOST: Duration = Duration::from_secs(2);
const OPEN_AT_MOST: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
/// One response in so many is followed by a move to another node.
const MOVES_ONE_IN: u32 = 300;

/// How a store is watched.
pub(in crate::faults) trait Feed: Send + 'static {
    /// A watch that is open.
    type Stream: Send;

    /// Watches, at this slot, the prefix from the first revision that has not come; `None`: it does not answer.
    fn open(&self, slot: usize, watched: &Watched) -> impl Future<Output = Option<Self::Stream>> + Send;

    /// What one response brings, without events: progress; `None`: the watch has ended.
    fn next(stream: &mut Self::Stream) -> impl Future<Output = Option<Vec<Revision>>> + Send;
}

/// One watch.
#[derive(Debug)]
pub(in crate::faults) struct Watcher<F> {
    feed: F,
    slot: usize,
    watched: Watched,
}

impl<F: Feed> Watcher<F> {
    /// A watch that begins at the slot of its number; one of them watches a part of the keys.
    pub(in crate::faults) fn new(feed: F, number: usize) -> Self {
        let prefix = if number == 0 { "pair/" } else { "" };
        let watched = Watched {
            name: format!("watch {number}"),
            prefix: prefix.to_owned(),
            from: 1,
            ..Watched::default()
        };
        Self { feed, slot: number, watched }
    }

    /// Watches until the last revision has come.
    pub(in crate::faults) async fn run(mut self, shared: Arc<Shared>, seed: u64) -> Watched {
        let mut random = StdRng::seed_from_u64(seed ^ u64::try_from(self.slot).unwrap_or(0));
        while self.misses_some(&shared) {
            let opened = timeout(OPEN_AT_MOST, self.feed.open(self.slot, &self.watched)).await;
            if let Some(stream) = opened.ok().flatten() {
                self.follow(stream, &shared, &mut random).await;
                self.watched.resumed += 1;
            } else {
                tokio::time::sleep(PAUSE).await;
            }
            self.slot = (self.slot + 1) % SLOTS;
        }
        self.watched
    }

    fn misses_some(&self, shared: &Shared) -> bool {
        self.watched.next() <= shared.last_revision.load(Ordering::SeqCst)
    }

    async fn follow(&mut self, mut stream: F::Stream, shared: &Shared, random: &mut StdRng) {
        while self.misses_some(shared) {
            let Ok(Some(revisions)) = timeout(SILENCE_AT_MOST, F::next(&mut stream)).await else { return };
            self.watched.delivered.extend(revisions);
            self.watched.arrived_ms.resize(self.watched.delivered.len(), shared.recorder.now_ms());
            if random.random_range(0..MOVES_ONE_IN) == 0 {
                return;
            }
        }
    }
}
