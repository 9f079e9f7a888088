//! Much data, written in batches by several clients.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use flaredb_client::{CommitRequest, RdbClient, Write, idempotency_id, write};
use tokio::task::JoinSet;

const WRITERS: u64 = 8;
/// Attempts of one batch, each of which the client library repeats by itself.
const ATTEMPTS: u32 = 5;

/// Records with the keys of these numbers, each with a value of so many bytes.
#[derive(Clone, Debug)]
pub(crate) struct Filling {
    /// Where they go.
    pub(crate) namespace: &'static str,
    /// The numbers in their keys.
    pub(crate) numbers: Range<u64>,
    /// Bytes of each value.
    pub(crate) value_bytes: usize,
    /// Records of one batch.
    pub(crate) batch: u64,
}

/// The key with this number.
pub(crate) fn key(number: u64) -> String {
    format!("key/{number:012}")
}

impl Filling {
    /// Writes them all.
    ///
    /// # Errors
    /// When a batch is refused again and again.
    pub(crate) async fn write(&self, client: &RdbClient) -> Result<()> {
        let next = Arc::new(AtomicU64::new(self.numbers.start));
        let mut writers = JoinSet::new();
        for _ in 0..WRITERS {
            let (filling, client, next) = (self.clone(), client.clone(), Arc::clone(&next));
            writers.spawn(async move {
                loop {
                    let first = next.fetch_add(filling.batch, Ordering::Relaxed);
                    if first >= filling.numbers.end {
                        return anyhow::Ok(());
                    }
                    filling.one(&client, first).await?;
                }
            });
        }
        while let Some(ended) = writers.join_next().await {
            ended??;
        }
        Ok(())
    }

    async fn one(&self, client: &RdbClient, first: u64) -> Result<()> {
        let put = |number| put(key(number), value(number, self.value_bytes));
        let writes = (first..(first + self.batch).min(self.numbers.end)).map(put).collect();
        commit(client, self.namespace, writes).await.map(drop)
    }
}

/// A write of a value.
pub(crate) fn put(key: String, value: Bytes) -> Write {
    Write { key: key.into(), op: Some(write::Op::Put(value)) }
}

/// What a batch came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Committed {
    /// The revision that it made.
    pub(crate) revision: u64,
    /// How often it failed before.
    pub(crate) failures: u32,
}

/// Commits a batch, and asks again when it failed.
///
/// # Errors
/// When it fails again and again.
pub(crate) async fn commit(client: &RdbClient, namespace: &str, writes: Vec<Write>) -> Result<Committed> {
    let request = CommitRequest {
        namespace: namespace.to_owned(),
        writes,
        idempotency_id: idempotency_id(),
        ..CommitRequest::default()
    };
    let mut failures = 0;
    loop {
        match client.commit(request.clone()).await {
            Ok(revision) => return Ok(Committed { revision, failures }),
            Err(error) if failures < ATTEMPTS => {
                tracing::info!(%error, "a write failed and is asked for again");
                failures += 1;
            }
            Err(error) => return Err(error).context("a retry did not cure it"),
        }
    }
}

/// Bytes that do not compress, and differ between records.
pub(crate) fn value(number: u64, bytes: usize) -> Bytes {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(bytes).collect()
}
