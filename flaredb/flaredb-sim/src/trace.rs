//! What happened, as a hash that two runs of one seed must share, and as words for who looks into a failure.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// Lines kept for a failure's report.
const LINES_MAX: usize = 400;

/// The record of a run. Clones are of the same run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trace(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    hash: u64,
    events: u64,
    now_ms: u64,
    lines: VecDeque<String>,
    verbose: bool,
}

impl Trace {
    pub(crate) fn new(verbose: bool) -> Self {
        Self(Arc::new(Mutex::new(Inner { hash: 0xcbf2_9ce4_8422_2325, verbose, ..Inner::default() })))
    }

    pub(crate) fn set_now(&self, now_ms: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).now_ms = now_ms;
    }

    /// Adds an event.
    pub(crate) fn note(&self, event: fmt::Arguments<'_>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = format!("{:>6} {event}", inner.now_ms);
        for byte in line.bytes() {
            inner.hash = (inner.hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        inner.events += 1;
        if !inner.verbose && inner.lines.len() >= LINES_MAX {
            inner.lines.pop_front();
        }
        inner.lines.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).hash
    }

    pub(crate) fn events(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).events
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).lines.iter().cloned().collect()
    }
}
