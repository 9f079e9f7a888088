//! Bugs of commits.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use metadata_store::{Commit, Compare, MetadataStore, Page, Record, StoreError, Token, Version, Write};
use tokio::sync::Mutex;

use super::{Bug, Every, each_breaks};

each_breaks! {
    lost_update_is_noticed: LostUpdate::default() => no_update_is_lost,
    race_that_both_win_is_noticed: BothWin => of_two_racing_writers_exactly_one_wins,
    delete_of_a_wrong_version_is_noticed: WrongDelete => delete_of_a_wrong_version_changes_nothing,
    conflict_without_what_was_found_is_noticed: SilentConflict => conflict_reports_what_was_found,
    partial_batch_is_noticed: PartialBatch => batch_is_all_or_nothing,
    batch_written_in_pieces_is_noticed: Pieces => batch_is_read_whole,
    id_that_takes_effect_twice_is_noticed: ForgottenId => commit_under_one_id_takes_effect_once,
    version_that_starts_again_is_noticed: CountedVersions::default()
        => versions_never_repeat_not_even_after_delete_and_create,
    timeout_reported_as_failure_is_noticed: FalseFailure::default() => commit_that_failed_did_not_happen,
    acknowledgement_without_a_write_is_noticed: Unwritten::default() => commit_that_failed_did_not_happen,
    acknowledgement_before_the_sync_is_noticed: Unsynced => acknowledged_commits_survive_a_crash,
    foreign_key_that_is_taken_is_noticed: Renamed => key_outside_the_prefix_is_refused,
    bad_json_that_is_taken_is_noticed: AnyBytes => value_that_is_no_json_is_refused,
    oversized_value_that_is_taken_is_noticed: AnySize => what_is_beyond_a_limit_is_refused,
}

/// Now and then a lost race is written over the winner.
#[derive(Default)]
struct LostUpdate(Every);

#[async_trait]
impl Bug for LostUpdate {
    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        match store.commit(commit.clone()).await {
            Err(StoreError::Conflict(_)) if self.0.nth(5) => {
                store.commit(Commit { compares: Vec::new(), ..commit }).await
            }
            other => other,
        }
    }
}

/// Compares count for nothing.
struct BothWin;

#[async_trait]
impl Bug for BothWin {
    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        store.commit(Commit { compares: Vec::new(), ..commit }).await
    }
}

/// Deletes whatever the version.
struct WrongDelete;

#[async_trait]
impl Bug for WrongDelete {
    async fn commit(&self, store: &dyn MetadataStore, mut commit: Commit) -> Result<Version, StoreError> {
        if let [Write::Delete { .. }] = commit.writes[..] {
            commit.compares.clear();
        }
        store.commit(commit).await
    }
}

/// Says that there was a conflict, but not with what.
struct SilentConflict;

#[async_trait]
impl Bug for SilentConflict {
    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        store.commit(commit).await.map_err(|error| match error {
            StoreError::Conflict(mut conflict) => {
                conflict.found.iter_mut().for_each(|found| found.actual = None);
                StoreError::Conflict(conflict)
            }
            other => other,
        })
    }
}

/// Of a batch that is refused, a write remains.
struct PartialBatch;

#[async_trait]
impl Bug for PartialBatch {
    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        let answer = store.commit(commit.clone()).await;
        if matches!(answer, Err(StoreError::Conflict(_))) {
            let last = commit.writes.last().cloned();
            store.commit(Commit { writes: last.into_iter().collect(), ..Commit::default() }).await?;
        }
        answer
    }
}

/// A batch is as many commits as it has writes.
struct Pieces;

#[async_trait]
impl Bug for Pieces {
    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        let mut version = Version::ABSENT;
        for write in commit.writes {
            version = store.commit(Commit { writes: vec![write], ..Commit::default() }).await?;
        }
        Ok(version)
    }
}

/// Ids are not kept.
struct ForgottenId;

#[async_trait]
impl Bug for ForgottenId {
    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        store.commit(Commit { idempotency_id: None, ..commit }).await
    }
}

/// Each key counts its own versions, from 1 again when it is created again.
#[derive(Default)]
struct CountedVersions(Mutex<HashMap<String, (u64, Version)>>);

impl CountedVersions {
    async fn counted(&self, mut record: Record) -> Record {
        if let Some((count, _)) = self.0.lock().await.get(&record.key) {
            record.version = Version(*count);
        }
        record
    }
}

#[async_trait]
impl Bug for CountedVersions {
    async fn get(
        &self,
        store: &dyn MetadataStore,
        key: &str,
        _at_least: Version,
    ) -> Result<Option<Record>, StoreError> {
        match store.get(key, Version::ABSENT).await? {
            Some(record) => Ok(Some(self.counted(record).await)),
            None => Ok(None),
        }
    }

    async fn scan(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Page, StoreError> {
        let mut page = store.scan(prefix, limit, token).await?;
        for record in &mut page.records {
            *record = self.counted(record.clone()).await;
        }
        Ok(page)
    }

    async fn commit(&self, store: &dyn MetadataStore, mut commit: Commit) -> Result<Version, StoreError> {
        let mut versions = self.0.lock().await;
        for Compare { key, version } in &mut commit.compares {
            *version = match versions.get(key) {
                Some((count, real)) if *count == version.0 => *real,
                // Of no record; but what is to be absent may be.
                _ => Version(version.0.min(1) * u64::MAX),
            };
        }
        let real = store.commit(commit.clone()).await?;
        let mut counted = real;
        for write in commit.writes {
            let key = write.key().to_owned();
            let count = versions.get(&key).map_or(0, |(count, _)| *count) + 1;
            counted = Version(count);
            match write {
                Write::Put { .. } => versions.insert(key, (count, real)),
                Write::Delete { .. } => versions.remove(&key),
            };
        }
        Ok(counted)
    }
}

/// Now and then a commit that happened is reported as one that did not.
#[derive(Default)]
struct FalseFailure(Every);

#[async_trait]
impl Bug for FalseFailure {
    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        let answer = store.commit(commit).await;
        if self.0.nth(7) { Err(StoreError::unavailable("deadline has elapsed")) } else { answer }
    }
}

/// Now and then a commit is acknowledged and forgotten.
#[derive(Default)]
struct Unwritten(Every);

#[async_trait]
impl Bug for Unwritten {
    async fn commit(&self, store: &dyn MetadataStore, commit: Commit) -> Result<Version, StoreError> {
        if self.0.nth(9) {
            return store.commit(Commit { writes: Vec::new(), ..commit }).await;
        }
        store.commit(commit).await
    }
}

/// Acknowledges before what it wrote is on disk.
struct Unsynced;

impl Bug for Unsynced {
    fn loses_the_tail(&self) -> bool {
        true
    }
}

/// Moves foreign keys under its own prefix instead of refusing them.
struct Renamed;

#[async_trait]
impl Bug for Renamed {
    async fn get(
        &self,
        store: &dyn MetadataStore,
        key: &str,
        at_least: Version,
    ) -> Result<Option<Record>, StoreError> {
        if key.starts_with("/suite/") { store.get(key, at_least).await } else { Ok(None) }
    }
}

/// Takes what is no JSON, somehow.
struct AnyBytes;

#[async_trait]
impl Bug for AnyBytes {
    async fn commit(&self, store: &dyn MetadataStore, mut commit: Commit) -> Result<Version, StoreError> {
        for write in &mut commit.writes {
            if let Write::Put { value, .. } = write
                && std::str::from_utf8(value).is_err()
            {
                *value = Bytes::from_static(b"\"?\"");
            }
        }
        store.commit(commit).await
    }
}

/// Takes a value of any size by cutting it.
struct AnySize;

#[async_trait]
impl Bug for AnySize {
    async fn commit(&self, store: &dyn MetadataStore, mut commit: Commit) -> Result<Version, StoreError> {
        for write in &mut commit.writes {
            if let Write::Put { value, .. } = write
                && value.len() > 1 << 20
            {
                *value = Bytes::from_static(b"\"cut\"");
            }
        }
        store.commit(commit).await
    }
}
