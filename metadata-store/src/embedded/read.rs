//! Reads of the engine, which may wait for the disk, off the threads that serve others: a bounded number at a time.

use std::{sync::Arc, time::Duration};

use flaredb_engine::{EngineError, ReadError};
use tokio::{sync::Semaphore, time::timeout};

use crate::{StoreError, Version};

/// Reads that wait for the disk at a time.
const READS_MAX: usize = 64;

/// Lets a bounded number of reads through, for a bounded time.
pub(super) struct Gate {
    permits: Arc<Semaphore>,
    timeout: Duration,
}

impl Gate {
    pub(super) fn new(timeout: Duration) -> Gate {
        Gate { permits: Arc::new(Semaphore::new(READS_MAX)), timeout }
    }

    /// Runs a read. After the timeout nobody waits for it any more; it keeps its place until it is through.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce() -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permits = Arc::clone(&self.permits);
        let reading = async move {
            let permit = permits.acquire_owned().await.map_err(StoreError::unavailable)?;
            let found = tokio::task::spawn_blocking(move || {
                let found = read();
                drop(permit);
                found
            });
            found.await.map_err(StoreError::unavailable)?.map_err(StoreError::from)
        };
        match timeout(self.timeout, reading).await {
            Ok(found) => found,
            Err(elapsed) => Err(StoreError::unavailable(elapsed)),
        }
    }
}

impl From<ReadError> for StoreError {
    fn from(error: ReadError) -> StoreError {
        match error {
            ReadError::NoNamespace(id) => StoreError::NotFound { key: format!("namespace {id}") },
            ReadError::TooOld { requested, oldest } => {
                StoreError::TooOld { requested: Version(requested), oldest: Version(oldest) }
            }
            ReadError::FutureRevision { requested, newest } => {
                StoreError::invalid("token", format!("revision {requested}"), format!("at most {newest}"))
            }
            ReadError::Engine(error) => error.into(),
            ReadError::Installing => StoreError::unavailable(error),
        }
    }
}

impl From<EngineError> for StoreError {
    fn from(error: EngineError) -> StoreError {
        match error {
            EngineError::Rocks(_) => StoreError::unavailable(error),
            damaged => StoreError::corrupt("embedded store", damaged),
        }
    }
}
