//! What leaves the process: keys of the service's own, values that are UTF-8 JSON, batches within the bounds.

use bytes::Bytes;
use flaredb_proto::limits::{
    BATCH_BYTES_MAX, BATCH_OPS_MAX, IDEMPOTENCY_ID_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX,
};
use serde::de::IgnoredAny;

use crate::{Commit, Namespace, StoreError, Token, Version, Write};

type Checked = Result<(), StoreError>;

pub(crate) fn bytes_max(what: &'static str, bytes: usize, bytes_max: usize) -> Checked {
    if bytes > bytes_max { Err(StoreError::TooLarge { what, bytes, bytes_max }) } else { Ok(()) }
}

/// A key of the service.
pub(crate) fn key(namespace: &Namespace, key: &str) -> Checked {
    bytes_max("key", key.len(), KEY_BYTES_MAX)?;
    namespace.check_key(key)
}

/// A prefix of the service's keys.
pub(crate) fn prefix(namespace: &Namespace, prefix: &str) -> Checked {
    bytes_max("prefix", prefix.len(), KEY_BYTES_MAX)?;
    namespace.check_prefix(prefix)
}

/// A token of a scan of this prefix.
pub(crate) fn token(prefix: &str, token: &Token) -> Checked {
    if token.start.starts_with(prefix.as_bytes()) && token.start.len() <= KEY_BYTES_MAX + 1 {
        return Ok(());
    }
    Err(StoreError::invalid("token", "one of another scan", format!("tokens of a scan of {prefix:?}")))
}

/// A read may ask for a revision that it knows of; no read can be behind that, so a larger one is a foreign one.
pub(crate) fn reached(at_least: Version, revision: Version) -> Checked {
    if at_least <= revision {
        return Ok(());
    }
    Err(StoreError::invalid(
        "at_least",
        at_least.to_string(),
        format!("revisions up to the newest, {revision}"),
    ))
}

/// An idempotency id: 1 to 64 bytes.
pub(crate) fn idempotency_id(id: &[u8]) -> Checked {
    if (1..=IDEMPOTENCY_ID_BYTES_MAX).contains(&id.len()) {
        return Ok(());
    }
    let accepted = format!("1 to {IDEMPOTENCY_ID_BYTES_MAX} bytes");
    Err(StoreError::invalid("idempotency_id", format!("{} bytes", id.len()), accepted))
}

/// A commit that the store can take: everything that can be told without the state.
pub(crate) fn commit(namespace: &Namespace, commit: &Commit) -> Checked {
    let operations = commit.compares.len() + commit.writes.len();
    if operations > BATCH_OPS_MAX {
        let accepted = format!("at most {BATCH_OPS_MAX} compares and writes");
        return Err(StoreError::invalid("writes", format!("{operations} operations"), accepted));
    }
    for compare in &commit.compares {
        key(namespace, &compare.key)?;
    }
    for write in &commit.writes {
        key(namespace, write.key())?;
        if let Write::Put { value: put, .. } = write {
            value(write.key(), put)?;
        }
    }
    bytes_max("writes", bytes(commit), BATCH_BYTES_MAX)?;
    written_once(&commit.writes)
}

/// Keys and values of a commit together.
pub(crate) fn bytes(commit: &Commit) -> usize {
    let compares = commit.compares.iter().map(|compare| compare.key.len());
    let writes = commit.writes.iter().map(|write| match write {
        Write::Put { key, value } => key.len() + value.len(),
        Write::Delete { key } => key.len(),
    });
    compares.chain(writes).sum()
}

fn value(key: &str, value: &Bytes) -> Checked {
    bytes_max("value", value.len(), VALUE_BYTES_MAX)?;
    let refuse = |found: String| StoreError::invalid("value", format!("{key}: {found}"), "UTF-8 JSON");
    let text = std::str::from_utf8(value).map_err(|error| refuse(error.to_string()))?;
    serde_json::from_str::<IgnoredAny>(text).map(|_any| ()).map_err(|error| refuse(error.to_string()))
}

fn written_once(writes: &[Write]) -> Checked {
    let mut keys: Vec<&str> = writes.iter().map(Write::key).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => Err(StoreError::invalid("writes", format!("{:?} twice", twice[0]), "each key once")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Compare;

    const OURS: Namespace = Namespace { name: "fiberlb", prefix: "/fiberlb/" };

    fn put(key: &str, value: &'static [u8]) -> Commit {
        Commit::put(key, Bytes::from_static(value), Version::ABSENT)
    }

    #[test]
    fn neighbour_whose_name_goes_on_is_outside() {
        commit(&OURS, &put("/fiberlb/a", b"{}")).unwrap();
        for outside in ["/fiberlb2/a", "/fiberlb", "fiberlb/a", ""] {
            let refused = commit(&OURS, &put(outside, b"{}")).unwrap_err();
            assert!(refused.to_string().contains("\"/fiberlb/\""), "{refused}");
        }
        assert!(prefix(&OURS, "/fiberlb/pool").is_err(), "would match /fiberlb/pools");
        prefix(&OURS, "/fiberlb/pool/").unwrap();
    }

    #[test]
    fn compare_outside_the_prefix_is_refused_too() {
        let compares = vec![Compare { key: "/flashdns/x".to_owned(), version: Version(1) }];
        let refused = commit(&OURS, &Commit { compares, ..put("/fiberlb/a", b"1") });
        assert!(matches!(refused, Err(StoreError::Invalid { field: "key", .. })), "{refused:?}");
    }

    #[test]
    fn value_that_is_no_utf8_json_is_refused() {
        for bad in [&b"{"[..], b"", b"nope", b"\"\xff\"", b"{} {}"] {
            let refused = commit(&OURS, &put("/fiberlb/a", bad));
            assert!(
                matches!(refused, Err(StoreError::Invalid { field: "value", .. })),
                "{bad:?}: {refused:?}"
            );
        }
    }
}
