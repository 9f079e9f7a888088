//! Promises about compares that do not hold.

use super::case::{Case, Kept, Violation, commit, json, keep, next, put, revision, watch};
use crate::{Commit, Compare, Conflict, Found, IdempotencyId, Record, StoreError, Version};

async fn conflict(case: &Case<'_>, wrong: Commit) -> Result<Conflict, Violation> {
    match commit(case.store.as_ref(), wrong).await {
        Err(StoreError::Conflict(conflict)) => Ok(conflict),
        other => Err(Violation::new(format!("a compare that does not hold answered {other:?}"))),
    }
}

/// Each compare that did not hold, with the record that was there; and no other.
pub(super) async fn conflict_reports_what_was_found(case: &Case<'_>) -> Kept {
    let (one, two, absent) = (case.key("one"), case.key("two"), case.key("absent"));
    let version = case.write(vec![put(&one, "first"), put(&two, "second")]).await?;
    let there = |key: &str, value: &str| Some(Record { key: key.to_owned(), value: json(value), version });
    let created = conflict(case, Commit::put(&one, json("x"), Version::ABSENT)).await?;
    let wanted = Found { key: one.clone(), expected: Version::ABSENT, actual: there(&one, "first") };
    keep!(created.found == [wanted.clone()], "found {wanted:?}, reported {created:?}");
    let wrong = Version(version.0 + 1_000_000);
    let updated = conflict(case, Commit::put(&absent, json("x"), wrong)).await?;
    let nothing = Found { key: absent.clone(), expected: wrong, actual: None };
    keep!(updated.found == [nothing.clone()], "found nothing, reported {updated:?}");
    let compare = |key: &str, version| Compare { key: key.to_owned(), version };
    let batch = Commit {
        compares: vec![compare(&one, Version::ABSENT), compare(&two, version), compare(&absent, wrong)],
        writes: vec![put(&absent, "x")],
        idempotency_id: Some(IdempotencyId::random()),
    };
    let reported = conflict(case, batch).await?;
    keep!(reported.found == [wanted, nothing], "two of three compares did not hold, reported {reported:?}");
    Ok(())
}

/// Neither a delete nor an update, and not of what is not there either.
pub(super) async fn delete_of_a_wrong_version_changes_nothing(case: &Case<'_>) -> Kept {
    let key = case.key("thing");
    let old = case.put(&key, "old").await?;
    let version = case.put(&key, "new").await?;
    let before = case.get(&key).await?;
    for wrong in [old, Version::ABSENT, Version(version.0 + 1)] {
        conflict(case, Commit::delete(&key, wrong)).await?;
        conflict(case, Commit::put(&key, json("stolen"), wrong)).await?;
        let after = case.get(&key).await?;
        keep!(before == after, "a refused write of version {wrong} made {before:?} into {after:?}");
    }
    conflict(case, Commit::delete(&case.key("absent"), version)).await?;
    commit(case.store.as_ref(), Commit::delete(&key, version)).await?;
    let left = case.all().await?;
    keep!(left.is_empty(), "deleted at the right version, but there is {left:?}");
    Ok(())
}

/// It is no error either, and makes no revision.
pub(super) async fn delete_of_what_is_absent_is_no_event(case: &Case<'_>) -> Kept {
    let (key, absent) = (case.key("thing"), case.key("absent"));
    let first = case.put(&key, "first").await?;
    let mut events = watch(case.store.as_ref(), &case.folder, first).await?;
    case.write(vec![super::case::delete(&absent)]).await?;
    let second = case.write(vec![super::case::delete(&absent), put(&key, "second")]).await?;
    let seen = [revision(&mut events).await?, revision(&mut events).await?];
    let versions = [seen[0].version, seen[1].version];
    keep!(versions == [first, second], "written at {first} and {second}, watched at {versions:?}");
    keep!(seen[1].events.len() == 1, "one record changed, watched {:?}", seen[1].events);
    let third = case.put(&key, "third").await?;
    let last = next(&mut events).await?;
    let is_third = matches!(&last, Some(Ok(revision)) if revision.version == third);
    keep!(is_third, "written at {third}, watched {last:?}");
    Ok(())
}
