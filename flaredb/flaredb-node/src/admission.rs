//! Bounds on what is under way at once: in number, in bytes, and in how long it is worth waiting.
//!
//! A write that finds too many under way waits a moment. Were it refused at once, its caller would pause and ask again,
//! which costs both sides more than the write itself; and were it let wait for long, its caller would rather know.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit},
    time::timeout,
};

use crate::metrics::Metrics;

const KIB: u64 = 1 << 10;

/// Too much is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} {what} are under way already; try again in a moment")]
pub struct Busy {
    /// What there is too much of.
    pub what: &'static str,
    /// How many are allowed.
    pub limit: u32,
}

/// The bounds of a region's writes.
#[derive(Debug, Clone, Copy)]
pub struct WriteLimits {
    /// Writes under way at once; more wait.
    pub proposals_max: u32,
    /// How long they wait at most.
    pub proposal_wait: Duration,
    /// Bytes of the writes that are under way or wait.
    pub proposals_bytes_max: u64,
}

/// A bound on what may be under way at once.
#[derive(Debug)]
pub struct Admission {
    what: &'static str,
    limit: u32,
    free: Arc<Semaphore>,
}

impl Admission {
    /// At most `limit` at once; `what` names them in the refusal.
    pub fn new(what: &'static str, limit: u32) -> Self {
        let permits = usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS);
        Self { what, limit, free: Arc::new(Semaphore::new(permits)) }
    }

    /// Enters, or is refused at once; for what outlives the borrow.
    ///
    /// # Errors
    /// [`Busy`] at the bound.
    pub fn enter_owned(&self) -> Result<OwnedSemaphorePermit, Busy> {
        Arc::clone(&self.free).try_acquire_owned().map_err(|_full| self.busy())
    }

    /// Enters with a weight, or is refused at once. What weighs more than the limit counts as the limit, or it could
    /// never enter.
    fn enter_with(&self, weight: u32) -> Result<SemaphorePermit<'_>, Busy> {
        self.free.try_acquire_many(weight.min(self.limit)).map_err(|_full| self.busy())
    }

    fn busy(&self) -> Busy {
        Busy { what: self.what, limit: self.limit }
    }
}

/// What one region's writes are held against.
#[derive(Debug)]
pub(crate) struct Writes {
    under_way: Admission,
    kib: Admission,
    wait: Duration,
}

/// What a write holds while it is under way.
#[derive(Debug)]
pub(crate) struct Entered<'a> {
    _memory: SemaphorePermit<'a>,
    _place: SemaphorePermit<'a>,
}

impl Writes {
    /// These bounds.
    pub(crate) fn new(config: WriteLimits) -> Self {
        let kib = u32::try_from(config.proposals_bytes_max.div_ceil(KIB)).unwrap_or(u32::MAX);
        Self {
            under_way: Admission::new("writes", config.proposals_max),
            kib: Admission::new("KiB of writes", kib),
            wait: config.proposal_wait,
        }
    }

    /// Enters, as soon as there is a place, or is refused.
    ///
    /// # Errors
    /// [`Busy`].
    pub(crate) async fn enter(&self, bytes: usize, metrics: &Metrics) -> Result<Entered<'_>, Busy> {
        let kib = u32::try_from(bytes.div_ceil(1 << 10)).unwrap_or(u32::MAX);
        let memory = self.kib.enter_with(kib)?;
        let place = match self.under_way.free.try_acquire() {
            Ok(place) => place,
            Err(_full) => self.wait_for_place(metrics).await?,
        };
        Ok(Entered { _memory: memory, _place: place })
    }

    async fn wait_for_place(&self, metrics: &Metrics) -> Result<SemaphorePermit<'_>, Busy> {
        let _counted = metrics.waiting();
        let waited = timeout(self.wait, self.under_way.free.acquire()).await;
        waited.ok().and_then(Result::ok).ok_or_else(|| self.under_way.busy())
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn writes(proposals_max: u32, proposal_wait_ms: u64, proposals_bytes_max: u64) -> Writes {
        let proposal_wait = Duration::from_millis(proposal_wait_ms);
        Writes::new(WriteLimits { proposals_max, proposal_wait, proposals_bytes_max })
    }

    #[tokio::test]
    async fn a_write_waits_for_one_that_ends_in_time() {
        let (writes, metrics) = (writes(1, 3_600_000, 1 << 20), Metrics::default());
        let first = writes.enter(100, &metrics).await.unwrap();
        let mut second = Box::pin(writes.enter(100, &metrics));
        assert!(second.as_mut().now_or_never().is_none());
        drop(first);
        assert!(second.await.is_ok());
    }

    #[tokio::test]
    async fn a_write_that_has_waited_for_long_enough_is_refused() {
        let (writes, metrics) = (writes(1, 1, 1 << 20), Metrics::default());
        let _first = writes.enter(100, &metrics).await.unwrap();
        let refused = writes.enter(100, &metrics).await.unwrap_err();
        assert_eq!(refused.to_string(), "1 writes are under way already; try again in a moment");
    }

    #[tokio::test]
    async fn more_bytes_than_the_bound_are_refused_at_once_and_one_large_write_is_not() {
        let (writes, metrics) = (writes(10, 3_600_000, 8 << 10), Metrics::default());
        let large = writes.enter(1 << 20, &metrics).await.unwrap();
        let refused = writes.enter(1, &metrics).now_or_never().unwrap().unwrap_err();
        assert_eq!(refused.to_string(), "8 KiB of writes are under way already; try again in a moment");
        drop(large);
        assert!(writes.enter(1, &metrics).await.is_ok());
    }
}
