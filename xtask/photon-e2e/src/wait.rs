//! Level-triggered waits: a condition is asked until it holds or its time is over.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Asks `condition` until it answers `Some`, for at most `at_most`.
///
/// # Errors
/// When it never did; `what` is named in the message.
pub(crate) async fn wait_for<T>(
    what: &str,
    at_most: Duration,
    mut condition: impl AsyncFnMut() -> Option<T>,
) -> Result<T> {
    let patience = Patience::new(what, at_most);
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        patience.look_again().await?;
    }
}

/// The time that a condition has, for loops of their own.
#[derive(Debug)]
pub(crate) struct Patience<'a> {
    what: &'a str,
    at_most: Duration,
    started: Instant,
}

impl<'a> Patience<'a> {
    /// Starts now.
    pub(crate) fn new(what: &'a str, at_most: Duration) -> Self {
        Self { what, at_most, started: Instant::now() }
    }

    /// Returns when it is time for the next look.
    ///
    /// # Errors
    /// When the time is over.
    pub(crate) async fn look_again(&self) -> Result<()> {
        if self.started.elapsed() > self.at_most {
            bail!("waited {:.1} s in vain for {}", self.at_most.as_secs_f64(), self.what);
        }
        tokio::time::sleep(LOOK_EVERY).await;
        Ok(())
    }
}
