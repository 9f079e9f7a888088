//! Promises about batches and their ids.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::{join_all, try_join};

use super::case::{Case, Kept, Violation, commit, delete, json, keep, plain, put, revision, watch};
use crate::{Commit, Compare, StoreError, Version};

/// A compare that does not hold keeps every write of its batch back, also those of other keys.
pub(super) async fn batch_is_all_or_nothing(case: &Case<'_>) -> Kept {
    let (one, two, three) = (case.key("1"), case.key("2"), case.key("3"));
    let version = case.write(vec![put(&one, "before"), put(&two, "before")]).await?;
    let before = case.all().await?;
    let writes = vec![put(&one, "after"), delete(&two), put(&three, "after")];
    let compare = |version| vec![Compare { key: one.clone(), version }];
    let wrong = Commit { compares: compare(Version(version.0 + 1)), ..plain(writes.clone()) };
    let refused = commit(case.store.as_ref(), wrong).await;
    keep!(
        matches!(refused, Err(StoreError::Conflict(_))),
        "a compare that does not hold answered {refused:?}"
    );
    let after = case.all().await?;
    keep!(before == after, "a refused batch made {before:?} into {after:?}");
    let right = Commit { compares: compare(version), ..plain(writes) };
    let version = commit(case.store.as_ref(), right).await?;
    let found: Vec<_> =
        case.all().await?.into_iter().map(|record| (record.key, record.value, record.version)).collect();
    let wanted = [(one, json("after"), version), (three, json("after"), version)];
    keep!(found == wanted, "the batch wrote {found:?}, not {wanted:?}");
    Ok(())
}

/// A reader never sees a part of a batch.
pub(super) async fn batch_is_read_whole(case: &Case<'_>) -> Kept {
    let names: Vec<String> = (0..12).map(|number| case.key(&format!("{number:02}"))).collect();
    let done = AtomicBool::new(false);
    let write = async {
        for round in 0..40 {
            case.write(names.iter().map(|key| put(key, &format!("round {round}"))).collect()).await?;
        }
        done.store(true, Ordering::Relaxed);
        Ok::<_, Violation>(())
    };
    let read = async {
        while !done.load(Ordering::Relaxed) {
            let found = case.all().await?;
            let is_whole = found.is_empty() || found.len() == names.len();
            let first = found.first();
            let is_one = found.iter().all(|record| {
                first.is_some_and(|first| (first.version, &first.value) == (record.version, &record.value))
            });
            keep!(is_whole && is_one, "a part of a batch was read: {found:?}");
            tokio::task::yield_now().await;
        }
        Ok(())
    };
    try_join(write, read).await.map(|_both| ())
}

/// However often, at once or later, and also when a compare of it does not hold any more.
pub(super) async fn commit_under_one_id_takes_effect_once(case: &Case<'_>) -> Kept {
    let key = case.key("thing");
    let first = case.put(&key, "before").await?;
    let mut events = watch(case.store.as_ref(), &case.folder, first.next()).await?;
    let compares = vec![Compare { key: key.clone(), version: first }];
    let once = Commit { compares, ..plain(vec![put(&key, "once")]) };
    let sent = join_all((0..8).map(|_| commit(case.store.as_ref(), once.clone()))).await;
    let versions = sent.into_iter().collect::<Result<Vec<Version>, StoreError>>()?;
    let version = versions[0];
    keep!(versions.iter().all(|other| *other == version), "one id made the revisions {versions:?}");
    let plain_once = plain(vec![put(&case.key("other"), "once")]);
    let other = commit(case.store.as_ref(), plain_once.clone()).await?;
    let over = case.write(vec![put(&key, "over"), put(&case.key("other"), "over")]).await?;
    for (again, made) in [(once, version), (plain_once, other)] {
        let answered = commit(case.store.as_ref(), again).await?;
        keep!(answered == made, "the id made revision {made}, sent again it answers {answered}");
    }
    let found = case.all().await?;
    keep!(found.iter().all(|record| record.version == over), "sent again, it was written again: {found:?}");
    let last = case.put(&key, "last").await?;
    let mut seen = Vec::new();
    while seen.last() < Some(&last) {
        seen.push(revision(&mut events).await?.version);
    }
    keep!(seen == [version, other, over, last], "each took effect once, watched {seen:?}");
    Ok(())
}
