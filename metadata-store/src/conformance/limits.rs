//! Promises about what is accepted.

use bytes::Bytes;
use flaredb_proto::limits::{BATCH_OPS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};

use super::case::{Case, Kept, Violation, get, keep, plain, put, revision, watch};
use crate::{StoreError, Version, Write};

/// JSON of exactly so many bytes.
fn value(bytes: usize) -> Bytes {
    let text: String = ('a'..='z').cycle().take(bytes.saturating_sub(2)).collect();
    super::case::json(&text)
}

/// A key in the folder of exactly so many bytes.
fn key(case: &Case<'_>, bytes: usize) -> String {
    case.key(&"k".repeat(bytes.saturating_sub(case.folder.len())))
}

fn large(key: &str, bytes: usize) -> Write {
    Write::Put { key: key.to_owned(), value: value(bytes) }
}

/// In reads, scans and watches.
pub(super) async fn value_at_the_limit_is_kept_whole(case: &Case<'_>) -> Kept {
    let key = key(case, KEY_BYTES_MAX);
    for bytes in [2, 100, 4_095, 65_537, VALUE_BYTES_MAX] {
        let wanted = value(bytes);
        let version = case.write(vec![large(&key, bytes)]).await?;
        let record = get(case.store.as_ref(), &key, version).await?;
        let found = record.as_ref().map(|record| &record.value);
        keep!(found == Some(&wanted), "of {bytes} bytes, {:?} are read", found.map(Bytes::len));
        let page = case.all().await?;
        let found = page.first().map(|record| &record.value);
        keep!(found == Some(&wanted), "of {bytes} bytes, {:?} are scanned", found.map(Bytes::len));
        let mut events = watch(case.store.as_ref(), &case.folder, version).await?;
        let seen = revision(&mut events).await?;
        let found = seen.events.first().and_then(|event| event.value.as_ref());
        keep!(found == Some(&wanted), "of {bytes} bytes, {:?} are watched", found.map(Bytes::len));
    }
    let names: Vec<Write> =
        (0..BATCH_OPS_MAX).map(|number| put(&case.key(&format!("{number:04}")), "x")).collect();
    case.write(names).await?;
    let found = case.all().await?.len();
    keep!(found == BATCH_OPS_MAX + 1, "a batch of {BATCH_OPS_MAX}, found {found}");
    Ok(())
}

/// By its type, and nothing is written.
pub(super) async fn what_is_beyond_a_limit_is_refused(case: &Case<'_>) -> Kept {
    let name = case.key("x");
    let too_large: [(&str, Vec<Write>); 3] = [
        ("a value", vec![large(&name, VALUE_BYTES_MAX + 1)]),
        ("a key", vec![put(&key(case, KEY_BYTES_MAX + 1), "x")]),
        ("a batch", (0..9).map(|number| large(&case.key(&number.to_string()), VALUE_BYTES_MAX)).collect()),
    ];
    for (what, writes) in too_large {
        let answer = case.store.commit(plain(writes)).await;
        keep!(
            matches!(answer, Err(StoreError::TooLarge { .. })),
            "{what} that is too large answered {answer:?}"
        );
    }
    let many = (0..=BATCH_OPS_MAX).map(|number| put(&case.key(&number.to_string()), "x")).collect();
    let twice = vec![put(&name, "x"), put(&name, "y")];
    for (what, writes) in [("a batch of too many writes", many), ("a key written twice", twice)] {
        let answer = case.store.commit(plain(writes)).await;
        keep!(matches!(answer, Err(StoreError::Invalid { .. })), "{what} answered {answer:?}");
    }
    keep!(case.all().await?.is_empty(), "what was refused was written");
    Ok(())
}

/// Nor what is not UTF-8.
pub(super) async fn value_that_is_no_json_is_refused(case: &Case<'_>) -> Kept {
    let key = case.key("thing");
    for bad in [&b""[..], b"{", b"nope", b"\"\xff\"", b"{} {}", b"\x00"] {
        let write = Write::Put { key: key.clone(), value: Bytes::from_static(bad) };
        let answer = case.store.commit(plain(vec![write])).await;
        keep!(matches!(answer, Err(StoreError::Invalid { .. })), "{bad:?} answered {answer:?}");
    }
    let found = get(case.store.as_ref(), &key, Version::ABSENT).await?;
    found.map_or(Ok(()), |found| Err(Violation::new(format!("what was refused was written: {found:?}"))))
}
