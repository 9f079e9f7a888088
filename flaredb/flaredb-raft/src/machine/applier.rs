//! The thread on which one region's entries are applied.
//!
//! One thread, and not whichever of a pool is free: the memory that one batch has used is at hand for the next one,
//! where a pool would touch fresh pages on each of its threads.

use std::{io, thread};

use tokio::sync::{mpsc, oneshot};

use crate::simulation;

type Call = Box<dyn FnOnce() + Send>;

/// Runs calls one after the other; ends with this value.
#[derive(Debug)]
pub(crate) struct Applier {
    /// `None` in a simulation, which runs them on the spot.
    calls: Option<mpsc::Sender<Call>>,
}

/// The thread ended before the call did.
#[derive(Debug, thiserror::Error)]
#[error("the state machine panicked")]
pub(crate) struct Panicked;

impl Applier {
    pub(crate) fn start(region_id: u64) -> io::Result<Self> {
        if simulation::is_inline() {
            return Ok(Self { calls: None });
        }
        let (calls, mut waiting) = mpsc::channel::<Call>(1);
        let run = move || {
            while let Some(call) = waiting.blocking_recv() {
                call();
            }
        };
        thread::Builder::new().name(format!("apply-{region_id}")).spawn(run)?;
        Ok(Self { calls: Some(calls) })
    }

    /// Runs a call that may block.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        call: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Panicked> {
        let Some(calls) = &self.calls else {
            return simulation::blocking(call).await.map_err(|_panicked| Panicked);
        };
        let (done, outcome) = oneshot::channel();
        let call = move || {
            // Who no longer waits is going down.
            let _unheard = done.send(call());
        };
        calls.send(Box::new(call)).await.map_err(|_ended| Panicked)?;
        outcome.await.map_err(|_dropped| Panicked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_that_panics_is_reported_and_so_are_those_after_it() {
        let applier = Applier::start(1).unwrap();
        assert_eq!(applier.run(|| 7).await.unwrap(), 7);
        assert!(applier.run(|| panic!("broken")).await.is_err());
        assert!(applier.run(|| 8).await.is_err());
    }
}
