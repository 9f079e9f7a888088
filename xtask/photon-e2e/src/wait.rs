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
    let started = Instant::now();
    loop {
        if let Some(found) = condition().await {
            return Ok(found);
        }
        if started.elapsed() > at_most {
            bail!("waited {:.1} s in vain for {what}", at_most.as_secs_f64());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
