//! Promises about versions, and about what a read sees.

use super::case::{Case, Kept, Violation, commit, delete, get, json, keep, put};
use crate::{Commit, Record, StoreError, Version};

/// A version that stood for one record never stands for another one.
pub(super) async fn versions_never_repeat_not_even_after_delete_and_create(case: &Case<'_>) -> Kept {
    let key = case.key("thing");
    let (mut last, mut seen) = (Version::ABSENT, Vec::new());
    for round in 0..5 {
        let created = case.put(&key, &format!("created {round}")).await?;
        rose(&mut last, created)?;
        let updated = case.put(&key, &format!("updated {round}")).await?;
        rose(&mut last, updated)?;
        let found = case.get(&key).await?.map(|record| record.version);
        keep!(found == Some(updated), "written at {updated}, read at {found:?}");
        let deleted = case.write(vec![delete(&key)]).await?;
        rose(&mut last, deleted)?;
        seen.extend([created, updated]);
    }
    let again = case.put(&key, "again").await?;
    rose(&mut last, again)?;
    for old in seen {
        let written = commit(case.store.as_ref(), Commit::put(&key, json("stolen"), old)).await;
        keep!(matches!(written, Err(StoreError::Conflict(_))), "version {old} still counts: {written:?}");
    }
    Ok(())
}

fn rose(last: &mut Version, next: Version) -> Kept {
    keep!(next > *last, "version {next} came after {last}");
    *last = next;
    Ok(())
}

/// Whoever asks, from wherever, after the acknowledgement.
pub(super) async fn every_read_sees_what_was_acknowledged_before(case: &Case<'_>) -> Kept {
    let other = case.connect().await?;
    let key = case.key("thing");
    for round in 0..60 {
        let value = format!("round {round}");
        let version = case.put(&key, &value).await?;
        let wanted = Some(Record { key: key.clone(), value: json(&value), version });
        for store in [&other, &case.store] {
            let found = get(store.as_ref(), &key, Version::ABSENT).await?;
            keep!(found == wanted, "acknowledged {wanted:?}, read {found:?}");
            let found = get(store.as_ref(), &key, version).await?;
            keep!(found == wanted, "asked for at least {version} and read {found:?}");
            let page = super::case::all(store.as_ref(), &case.folder, 0).await?;
            keep!(page.first() == wanted.as_ref(), "acknowledged {wanted:?}, scanned {page:?}");
        }
    }
    case.write(vec![delete(&key), put(&case.key("zz"), "other")]).await?;
    let gone = get(other.as_ref(), &key, Version::ABSENT).await?;
    gone.map_or(Ok(()), |found| Err(Violation::new(format!("deleted, but still read: {found:?}"))))
}
