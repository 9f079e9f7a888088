//! Promises about which keys are whose.

use super::case::{Case, Kept, all, json, keep, put, revision, watch};
use crate::{Commit, Compare, StoreError, Version};

/// Names inside the folder `a/`, in order: also such that end with the largest character.
const INSIDE: [&str; 6] = ["a/0", "a/a/b", "a/~", "a/\u{ff}", "a/\u{10ffff}", "a/\u{10ffff}\u{10ffff}"];
/// Names beside it that begin alike, or are next to it in the order of bytes.
const BESIDE: [&str; 8] = ["a", "a.", "a0", "a0/x", "aa/x", "A/x", "a\u{10ffff}/x", "\u{10ffff}"];

/// In scans and in watches.
pub(super) async fn prefix_matches_its_own_keys_and_no_neighbours(case: &Case<'_>) -> Kept {
    let folder = case.key("a/");
    let names = BESIDE.iter().chain(&INSIDE);
    let written = case.write(names.map(|name| put(&case.key(name), "x")).collect()).await?;
    let wanted: Vec<String> = INSIDE.iter().map(|name| case.key(name)).collect();
    for limit in [0, 1, 2, 6] {
        let records = all(case.store.as_ref(), &folder, limit).await?;
        let found: Vec<String> = records.into_iter().map(|record| record.key).collect();
        keep!(found == wanted, "in pages of {limit}, {folder} has {found:?}, not {wanted:?}");
    }
    let last = case.key("\u{10ffff}/");
    keep!(all(case.store.as_ref(), &last, 0).await?.is_empty(), "{last} is not empty");
    case.put(&format!("{last}x"), "x").await?;
    keep!(all(case.store.as_ref(), &last, 0).await?.len() == 1, "{last} has not one record");
    let mut events = watch(case.store.as_ref(), &folder, written).await?;
    let mut seen: Vec<String> =
        revision(&mut events).await?.events.into_iter().map(|event| event.key).collect();
    seen.sort_unstable();
    keep!(seen == wanted, "a watch of {folder} saw {seen:?}, not {wanted:?}");
    Ok(())
}

fn is_refused<T>(answer: &Result<T, StoreError>) -> bool {
    matches!(answer, Err(StoreError::Invalid { .. }))
}

/// By every operation, also where it is only compared.
pub(super) async fn key_outside_the_prefix_is_refused(case: &Case<'_>) -> Kept {
    let own = case.harness.namespace().prefix;
    let bare = own.trim_end_matches('/');
    let store = &case.store;
    for outside in
        [format!("{bare}2/x"), "/somebody/x".to_owned(), bare.to_owned(), "x".to_owned(), String::new()]
    {
        let write = Commit::put(&outside, json("x"), Version::ABSENT);
        let mixed =
            Commit { writes: vec![put(&case.key("mine"), "x"), put(&outside, "x")], ..Commit::default() };
        let compares = vec![Compare { key: outside.clone(), version: Version::ABSENT }];
        let compared = Commit { compares, writes: vec![put(&case.key("mine"), "x")], ..Commit::default() };
        let is_taken = [
            !is_refused(&store.get(&outside, Version::ABSENT).await),
            !is_refused(&store.scan(&format!("{outside}/"), 1, None).await),
            !is_refused(&store.scan(&outside, 1, None).await),
            !is_refused(&store.watch(&outside, Version::ABSENT).await),
            !is_refused(&store.commit(write).await),
            !is_refused(&store.commit(mixed).await),
            !is_refused(&store.commit(compared).await),
        ];
        // With a slash behind it, the bare name is the service's own prefix.
        let is_own = outside == bare;
        let is_wrong = is_taken.iter().enumerate().any(|(which, taken)| *taken && !(is_own && which == 1));
        keep!(!is_wrong, "{outside:?} was taken (get, scan, scan, watch, three commits): {is_taken:?}");
    }
    keep!(case.all().await?.is_empty(), "a refused batch wrote");
    Ok(())
}
