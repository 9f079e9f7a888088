//! Bugs of reads and scans.

use std::{collections::HashMap, sync::Mutex};

use async_trait::async_trait;
use metadata_store::{MetadataStore, Page, Record, StoreError, Token, Version};

use super::{Bug, each_breaks};

each_breaks! {
    stale_read_is_noticed: StaleRead::default() => every_read_sees_what_was_acknowledged_before,
    truncated_value_is_noticed: Truncated => value_at_the_limit_is_kept_whole,
    record_that_a_page_skips_is_noticed: SkippedRecord => pages_of_a_scan_are_of_one_revision,
    record_that_two_pages_have_is_noticed: DoubledRecord => pages_of_a_scan_are_of_one_revision,
    page_of_another_revision_is_noticed: NewestPage => pages_of_a_scan_are_of_one_revision,
    neighbour_that_leaks_into_a_scan_is_noticed: Neighbours => prefix_matches_its_own_keys_and_no_neighbours,
    old_token_that_starts_again_is_noticed: ForgivenToken => token_behind_history_is_told_so,
    token_of_another_scan_that_is_taken_is_noticed: AnyToken => token_of_another_scan_is_refused,
}

/// Answers what it read the last time.
#[derive(Default)]
struct StaleRead(Mutex<HashMap<String, Option<Record>>>);

#[async_trait]
impl Bug for StaleRead {
    async fn get(
        &self,
        store: &dyn MetadataStore,
        key: &str,
        at_least: Version,
    ) -> Result<Option<Record>, StoreError> {
        let found = store.get(key, at_least).await?;
        let before = self.0.lock().unwrap().insert(key.to_owned(), found.clone());
        Ok(before.unwrap_or(found))
    }
}

/// Cuts large values.
struct Truncated;

#[async_trait]
impl Bug for Truncated {
    async fn get(
        &self,
        store: &dyn MetadataStore,
        key: &str,
        at_least: Version,
    ) -> Result<Option<Record>, StoreError> {
        let mut found = store.get(key, at_least).await?;
        if let Some(record) = &mut found {
            record.value.truncate(64 << 10);
        }
        Ok(found)
    }
}

/// A later page begins one record too late.
struct SkippedRecord;

#[async_trait]
impl Bug for SkippedRecord {
    async fn scan(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Page, StoreError> {
        let mut page = store.scan(prefix, limit, token).await?;
        if token.is_some() && !page.records.is_empty() {
            page.records.remove(0);
        }
        Ok(page)
    }
}

/// A page has its last record twice.
struct DoubledRecord;

#[async_trait]
impl Bug for DoubledRecord {
    async fn scan(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Page, StoreError> {
        let mut page = store.scan(prefix, limit, token).await?;
        if page.records.len() + 1 < limit {
            page.records.extend(page.records.last().cloned());
        }
        Ok(page)
    }
}

/// Later pages are of now, and say that they are of then.
struct NewestPage;

#[async_trait]
impl Bug for NewestPage {
    async fn scan(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Page, StoreError> {
        let page = store.scan(prefix, limit, token).await?;
        if token.is_none() {
            return Ok(page);
        }
        let mut now = store.scan(prefix, 0, None).await?;
        let (first, last) = (page.records.first().cloned(), page.records.last().cloned());
        now.records.retain(|record| {
            first.as_ref().is_some_and(|first| record.key >= first.key)
                && last.as_ref().is_some_and(|last| record.key <= last.key)
        });
        Ok(Page { records: now.records, ..page })
    }
}

/// A prefix is taken without its last slash.
struct Neighbours;

#[async_trait]
impl Bug for Neighbours {
    async fn scan(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Page, StoreError> {
        let bare = prefix.trim_end_matches('/');
        let parent = bare.rfind('/').map_or(prefix, |slash| &bare[..=slash]);
        let mut page = store.scan(parent, limit, token).await?;
        page.records.retain(|record| record.key.starts_with(bare));
        Ok(page)
    }
}

/// A token that is too old begins again, at another revision.
struct ForgivenToken;

#[async_trait]
impl Bug for ForgivenToken {
    async fn scan(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Page, StoreError> {
        match store.scan(prefix, limit, token).await {
            Err(StoreError::TooOld { .. }) => store.scan(prefix, limit, None).await,
            other => other,
        }
    }
}

/// A token of another scan begins this one.
struct AnyToken;

#[async_trait]
impl Bug for AnyToken {
    async fn scan(
        &self,
        store: &dyn MetadataStore,
        prefix: &str,
        limit: usize,
        token: Option<&Token>,
    ) -> Result<Page, StoreError> {
        match store.scan(prefix, limit, token).await {
            Err(StoreError::Invalid { field: "token", .. }) => store.scan(prefix, limit, None).await,
            other => other,
        }
    }
}
