//! Promises about pages and their tokens.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::future::try_join;

use super::case::{Case, Kept, Violation, all, delete, json, keep, put};
use crate::{Record, StoreError, Token, Write};

/// Records that are always there.
const FIXED: u32 = 40;
/// Records that come and go.
const PASSING: u32 = 20;

fn fixed(case: &Case<'_>, number: u32) -> String {
    case.key(&format!("{number:03}"))
}

fn passing(case: &Case<'_>, number: u32) -> String {
    case.key(&format!("{number:03}-passing"))
}

/// Whether a passing record is there in a generation.
fn is_there(generation: u32, number: u32) -> bool {
    (generation + number).is_multiple_of(3)
}

/// Everything of one generation, written at once.
fn generation(case: &Case<'_>, generation: u32) -> Vec<Write> {
    let value = generation.to_string();
    let mut writes: Vec<Write> = (0..FIXED).map(|number| put(&fixed(case, number), &value)).collect();
    writes.extend((0..PASSING).map(|number| {
        let key = passing(case, number);
        if is_there(generation, number) { put(&key, &value) } else { delete(&key) }
    }));
    writes
}

/// The keys of a generation, in order.
fn keys(case: &Case<'_>, generation: u32) -> Vec<String> {
    let there = (0..PASSING).filter(|number| is_there(generation, *number));
    let mut keys: Vec<String> = there.map(|number| passing(case, number)).collect();
    keys.extend((0..FIXED).map(|number| fixed(case, number)));
    keys.sort_unstable();
    keys
}

/// While every record is being replaced, and others come and go.
pub(super) async fn pages_of_a_scan_are_of_one_revision(case: &Case<'_>) -> Kept {
    case.write(generation(case, 0)).await?;
    let done = AtomicBool::new(false);
    let write = async {
        let mut number = 0;
        while !done.load(Ordering::Relaxed) {
            number += 1;
            case.write(generation(case, number)).await?;
        }
        Ok::<_, Violation>(())
    };
    let read = async {
        let other = case.connect().await?;
        for limit in [7, 1, 13, 3, 50, 7, 10, 2] {
            let records = all(other.as_ref(), &case.folder, limit).await?;
            is_one_generation(case, &records)?;
        }
        done.store(true, Ordering::Relaxed);
        Ok(())
    };
    try_join(write, read).await.map(|_both| ())
}

fn is_one_generation(case: &Case<'_>, records: &[Record]) -> Kept {
    let first = records.first().ok_or_else(|| Violation::new("nothing was scanned"))?;
    let text: Result<String, _> = serde_json::from_slice(&first.value);
    let number = text.ok().and_then(|text| text.parse().ok());
    let number = number.ok_or_else(|| Violation::new(format!("never written: {first:?}")))?;
    let other =
        records.iter().find(|record| (&record.value, record.version) != (&first.value, first.version));
    keep!(other.is_none(), "{first:?} and {other:?} are of different revisions");
    let found: Vec<&String> = records.iter().map(|record| &record.key).collect();
    let wanted = keys(case, number);
    keep!(
        found.iter().copied().eq(&wanted),
        "generation {number} has the keys {wanted:?}, scanned {found:?}"
    );
    Ok(())
}

async fn token(case: &Case<'_>, folder: &str) -> Result<Token, Violation> {
    let writes = (0..6).map(|number| put(&format!("{folder}{number}"), "x")).collect();
    case.write(writes).await?;
    let page = case.store.scan(folder, 2, None).await?;
    page.next.ok_or_else(|| Violation::new("2 of 6 records, but no token for the rest"))
}

/// Not answered from another revision.
pub(super) async fn token_behind_history_is_told_so(case: &Case<'_>) -> Kept {
    let token = token(case, &case.folder).await?;
    let mut last = case.put(&case.key("0"), "newer").await?;
    for number in 0..5 {
        last = case.put(&case.key("3"), &format!("newer {number}")).await?;
    }
    case.harness.compact(last).await?;
    let last = case.put(&case.key("0"), "newest").await?;
    let store = case.connect().await?;
    let page = store.scan(&case.folder, 2, Some(&token)).await;
    keep!(matches!(page, Err(StoreError::TooOld { .. })), "a token from before {last} answered {page:?}");
    let found = all(store.as_ref(), &case.folder, 2).await?;
    let is_newest = found.first().is_some_and(|record| record.value == json("newest"));
    keep!(found.len() == 6 && is_newest, "listed again: {found:?}");
    Ok(())
}

/// It would go on in the middle of nowhere.
pub(super) async fn token_of_another_scan_is_refused(case: &Case<'_>) -> Kept {
    let token = token(case, &case.key("one/")).await?;
    case.put(&case.key("two/x"), "x").await?;
    let page = case.store.scan(&case.key("two/"), 2, Some(&token)).await;
    keep!(matches!(page, Err(StoreError::Invalid { .. })), "a token of another folder answered {page:?}");
    let text = token.to_string();
    let read: Result<Token, _> = text.parse();
    let again = read.map_err(|_malformed| Violation::new(format!("{text} is not read back")))?;
    let page = case.store.scan(&case.key("one/"), 100, Some(&again)).await?;
    keep!(page.records.len() == 4, "2 of 6 records were read, the token brings {page:?}");
    Ok(())
}
