//! Promises about writers who want the same.

use futures::future::{join, try_join_all};

use super::case::{Case, Kept, Violation, commit, get, json, keep};
use crate::{Commit, MetadataStore, StoreError, Version};

const COUNTERS: u32 = 6;
const STEPS: u32 = 25;

/// Whichever it is, and the loser is told what the winner wrote.
pub(super) async fn of_two_racing_writers_exactly_one_wins(case: &Case<'_>) -> Kept {
    let other = case.connect().await?;
    let key = case.key("prize");
    let mut version = Version::ABSENT;
    for round in 0..50 {
        let values = [json(&format!("left {round}")), json(&format!("right {round}"))];
        let left = commit(case.store.as_ref(), Commit::put(&key, values[0].clone(), version));
        let right = commit(other.as_ref(), Commit::put(&key, values[1].clone(), version));
        let (won, lost, value) = match join(left, right).await {
            (Ok(won), Err(lost)) => (won, lost, &values[0]),
            (Err(lost), Ok(won)) => (won, lost, &values[1]),
            both => return Err(Violation::new(format!("two writers of version {version} got {both:?}"))),
        };
        let StoreError::Conflict(conflict) = &lost else { return Err(lost.into()) };
        let seen = conflict.found.first().and_then(|found| found.actual.as_ref());
        keep!(
            seen.is_some_and(|seen| seen.value == *value),
            "the loser was told {conflict:?}, not {value:?}"
        );
        let found = get(other.as_ref(), &key, won).await?;
        let is_winners = found.as_ref().is_some_and(|found| found.value == *value && found.version == won);
        keep!(is_winners, "{won} won with {value:?}, read {found:?}");
        version = won;
    }
    Ok(())
}

/// Counters that are read, raised and compared come out right.
pub(super) async fn no_update_is_lost(case: &Case<'_>) -> Kept {
    let key = case.key("counter");
    let counting = (0..COUNTERS).map(|_| async {
        let store = case.connect().await?;
        for _ in 0..STEPS {
            raise(store.as_ref(), &key).await?;
        }
        Ok::<_, Violation>(())
    });
    try_join_all(counting).await?;
    let (count, _) = count(case.store.as_ref(), &key).await?;
    keep!(count == COUNTERS * STEPS, "raised {} times, counted {count}", COUNTERS * STEPS);
    Ok(())
}

async fn raise(store: &dyn MetadataStore, key: &str) -> Kept {
    loop {
        let (count, version) = count(store, key).await?;
        match commit(store, Commit::put(key, json(&(count + 1).to_string()), version)).await {
            Err(StoreError::Conflict(_)) => {}
            other => return Ok(other.map(|_version| ())?),
        }
    }
}

async fn count(store: &dyn MetadataStore, key: &str) -> Result<(u32, Version), Violation> {
    let Some(record) = get(store, key, Version::ABSENT).await? else { return Ok((0, Version::ABSENT)) };
    let text: Result<String, _> = serde_json::from_slice(&record.value);
    let count = text.ok().and_then(|text| text.parse().ok());
    let count = count.ok_or_else(|| Violation::new(format!("a counter reads {record:?}")))?;
    Ok((count, record.version))
}
