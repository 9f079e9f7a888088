//! The newest revisions, read and decoded once for all watches.
//!
//! Watches that keep up all want the same few revisions. Whoever comes first reads them from the store's history; the
//! others take what was read. A watch that is behind what is kept here reads the history by itself.

use std::{collections::VecDeque, sync::Arc};

use chainfire_store::{Events, Revision, Store, StoreError};
use flaredb_engine::EventLimits;
use tokio::sync::Mutex;

/// What one read of the history brings at most.
const BATCH: EventLimits = EventLimits { revisions_max: 256, bytes_max: 1 << 20 };
/// Revisions that are kept, and their events.
const REVISIONS_MAX: usize = 1_024;
const EVENTS_MAX: usize = 16_384;

/// Revisions in order, and the first one that was not looked at.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    /// The revisions.
    pub(crate) revisions: Vec<Arc<Revision>>,
    /// Where to go on.
    pub(crate) next: i64,
}

/// The newest revisions of a store.
#[derive(Debug)]
pub(crate) struct Recent {
    store: Store,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    revisions: VecDeque<Arc<Revision>>,
    events: usize,
    /// The first revision from which all are here.
    from: i64,
    /// The first revision that was not looked at.
    next: i64,
}

impl Recent {
    /// Those of this store.
    pub(crate) fn of(store: Store) -> Self {
        Self { store, kept: Mutex::default() }
    }

    /// The revisions from `from` on, some of them.
    ///
    /// # Errors
    /// When `from` is compacted, or the history cannot be read.
    pub(crate) async fn read(&self, from: i64) -> Result<Batch, StoreError> {
        let mut kept = self.kept.lock().await;
        if let Some(batch) = kept.read(from) {
            return Ok(batch);
        }
        if kept.next > from {
            // It is behind what is kept, and there is no reason that others wait for it.
            drop(kept);
            return self.history(from).await;
        }
        let batch = self.history(from).await?;
        kept.append(from, &batch);
        Ok(batch)
    }

    async fn history(&self, from: i64) -> Result<Batch, StoreError> {
        let store = self.store.clone();
        let read = tokio::task::spawn_blocking(move || store.events(from, BATCH)).await;
        // The runtime ends, and the watch with it.
        let Events { revisions, next } = read.map_err(|_ending| StoreError::Installing)??;
        Ok(Batch { revisions: revisions.into_iter().map(Arc::new).collect(), next })
    }
}

impl Kept {
    /// What is kept from `from` on; `None` if that is not here.
    fn read(&self, from: i64) -> Option<Batch> {
        if from < self.from || from >= self.next {
            return None;
        }
        let start = self.revisions.partition_point(|revision| revision.revision < from);
        let revisions = self.revisions.iter().skip(start).take(BATCH.revisions_max).cloned();
        let revisions: Vec<_> = revisions.collect();
        let all = start + revisions.len() == self.revisions.len();
        let last = revisions.last().map_or(from, |last| last.revision + 1);
        Some(Batch { revisions, next: if all { self.next } else { last } })
    }

    fn append(&mut self, from: i64, batch: &Batch) {
        if from != self.next {
            *self = Self { from, ..Self::default() };
        }
        self.events += batch.revisions.iter().map(|revision| revision.events.len()).sum::<usize>();
        self.revisions.extend(batch.revisions.iter().cloned());
        self.next = batch.next;
        while self.revisions.len() > REVISIONS_MAX || self.events > EVENTS_MAX {
            let Some(oldest) = self.revisions.pop_front() else { break };
            self.events -= oldest.events.len();
            self.from = oldest.revision + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(revisions: std::ops::Range<i64>) -> Batch {
        let next = revisions.end;
        let revisions = revisions.map(|revision| Arc::new(Revision { revision, events: Vec::new() }));
        Batch { revisions: revisions.collect(), next }
    }

    fn numbers(batch: &Batch) -> Vec<i64> {
        batch.revisions.iter().map(|revision| revision.revision).collect()
    }

    #[test]
    fn what_is_kept_is_given_from_any_place_and_nothing_else_is() {
        let mut kept = Kept::default();
        kept.append(5, &batch(5..8));
        kept.append(8, &batch(8..10));
        let read = kept.read(7).unwrap();
        assert_eq!((numbers(&read), read.next), (vec![7, 8, 9], 10));
        assert!(kept.read(4).is_none() && kept.read(10).is_none());
    }

    #[test]
    fn oldest_revisions_go_first_and_are_not_said_to_be_here() {
        let mut kept = Kept::default();
        kept.append(2, &batch(2..2_000));
        assert!(kept.read(900).is_none());
        assert_eq!(numbers(&kept.read(1_999).unwrap()), [1_999]);
    }

    #[test]
    fn gap_begins_anew() {
        let mut kept = Kept::default();
        kept.append(2, &batch(2..4));
        kept.append(9, &batch(9..10));
        assert!(kept.read(3).is_none());
        assert_eq!(numbers(&kept.read(9).unwrap()), [9]);
    }
}
