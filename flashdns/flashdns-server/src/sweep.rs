//! Collects rows that belong to nothing: of deleted zones, of generations that an import replaced, of imports
//! that died, and answers kept for repeats that nobody asked for within a day.
//!
//! It deletes only what a trash note names, and only after it has taken the note for itself (so that an import
//! that is late cannot claim rows that are going). It does one pass when woken and on a timer; a pass that fails
//! is repeated by the next, since every step of it may be done twice.

use std::time::Duration;

use metadata_store::{MetadataStore as _, Record, StoreError, Version, Write};
use photon_runtime::errors::chain;
use tokio_util::sync::CancellationToken;

use crate::{
    clock,
    editor::commit_of,
    metadata::{
        FlareDbMetadataStore, decode, keys,
        records::{DoneRecord, TrashRecord},
    },
    plan,
};

/// Keys of one commit.
const KEYS_MAX: usize = 500;

/// How long an answer is kept for its caller to ask again.
const ANSWER_MS: i64 = 24 * 60 * 60 * 1000;

/// Between passes when nothing wakes it.
const PERIOD: Duration = Duration::from_secs(600);

/// Time for a page of a list that was begun before a pass to be finished from the store's history, and for
/// several deletions in a row to share a pass.
const SETTLE: Duration = Duration::from_secs(1);

/// Collects until `shutdown`; woken by `wake`.
pub(crate) async fn run(
    store: FlareDbMetadataStore,
    wake: std::sync::Arc<tokio::sync::Notify>,
    shutdown: CancellationToken,
) {
    loop {
        if let Some(Err(error)) = shutdown.run_until_cancelled(pass(&store, clock::unix_ms())).await {
            tracing::warn!(error = %chain(&error), "sweep stopped early; the next goes on");
        }
        let woken = async {
            let _elapsed = tokio::time::timeout(PERIOD, wake.notified()).await;
            tokio::time::sleep(SETTLE).await;
        };
        if shutdown.run_until_cancelled(woken).await.is_none() {
            return;
        }
    }
}

/// Collects everything that is due.
///
/// # Errors
/// The store's; what was not collected stays for the next pass.
pub async fn pass(store: &FlareDbMetadataStore, now_ms: i64) -> Result<(), StoreError> {
    let mut token = None;
    loop {
        let page = store.scan(keys::TRASH, KEYS_MAX, token.as_ref()).await?;
        for note in &page.records {
            collect(store, note, now_ms).await?;
        }
        token = page.next;
        if token.is_none() {
            break;
        }
    }
    forget_answers(store, now_ms).await
}

async fn collect(store: &FlareDbMetadataStore, note: &Record, now_ms: i64) -> Result<(), StoreError> {
    let trash: TrashRecord = match decode(note) {
        Ok(trash) => trash,
        // The others are collected all the same.
        Err(error) => {
            tracing::warn!(error = %chain(&error), "note of the sweeper is passed over");
            return Ok(());
        }
    };
    if trash.not_before_unix_ms > now_ms && !trash.doomed {
        return Ok(());
    }
    let Some(version) = doom(store, note, &trash).await? else { return Ok(()) };
    for prefix in &trash.prefixes {
        delete_all(store, prefix).await?;
    }
    tracing::info!(prefixes = ?trash.prefixes, "collected rows that belong to nothing");
    let compares = vec![plan::compare(note.key.clone(), version)];
    let done = store.commit(commit_of(compares, vec![Write::Delete { key: note.key.clone() }])).await;
    unless_conflict(done).map(|_version| ())
}

/// Takes the note, so that nobody can claim what it names; `None` when somebody was first.
async fn doom(
    store: &FlareDbMetadataStore,
    note: &Record,
    trash: &TrashRecord,
) -> Result<Option<Version>, StoreError> {
    if trash.doomed {
        return Ok(Some(note.version));
    }
    let doomed = TrashRecord { doomed: true, ..trash.clone() };
    let value = crate::metadata::encode(&doomed)?;
    let compares = vec![plan::compare(note.key.clone(), note.version)];
    let write = Write::Put { key: note.key.clone(), value };
    unless_conflict(store.commit(commit_of(compares, vec![write])).await)
}

fn unless_conflict(result: Result<Version, StoreError>) -> Result<Option<Version>, StoreError> {
    match result {
        Err(StoreError::Conflict(_)) => Ok(None),
        other => other.map(Some),
    }
}

async fn delete_all(store: &FlareDbMetadataStore, prefix: &str) -> Result<(), StoreError> {
    loop {
        let page = store.scan(prefix, KEYS_MAX, None).await?;
        if page.records.is_empty() {
            return Ok(());
        }
        delete(store, page.records.into_iter().map(|record| record.key)).await?;
    }
}

async fn delete(store: &FlareDbMetadataStore, keys: impl Iterator<Item = String>) -> Result<(), StoreError> {
    let writes: Vec<Write> = keys.map(|key| Write::Delete { key }).collect();
    if writes.is_empty() {
        return Ok(());
    }
    store.commit(commit_of(Vec::new(), writes)).await.map(|_version| ())
}

async fn forget_answers(store: &FlareDbMetadataStore, now_ms: i64) -> Result<(), StoreError> {
    let mut token = None;
    loop {
        let page = store.scan(keys::DONE, KEYS_MAX, token.as_ref()).await?;
        let old = page.records.iter().filter(|record| {
            decode::<DoneRecord>(record).is_ok_and(|done| done.at_unix_ms + ANSWER_MS < now_ms)
        });
        delete(store, old.map(|record| record.key.clone())).await?;
        token = page.next;
        if token.is_none() {
            return Ok(());
        }
    }
}
