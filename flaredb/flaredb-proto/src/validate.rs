//! Whether a request keeps to the [limits](crate::limits): asked by clients before they send, by the server before
//! it proposes, and by the embedded store.
//!
//! What needs the state to be judged (does the namespace exist, is the key inside its prefix) is not decided here.

use crate::{
    limits::{
        BATCH_BYTES_MAX, BATCH_OPS_MAX, IDEMPOTENCY_ID_BYTES_MAX, KEY_BYTES_MAX, NAMESPACE_BYTES_MAX,
        VALUE_BYTES_MAX,
    },
    v1::{
        CasDeleteRequest, CasRequest, CommitRequest, CreateNamespaceRequest, GetRequest, NamespaceMode,
        RawDeleteRequest, RawGetRequest, RawPutRequest, RawScanRequest, ScanRequest, WatchRequest, Write,
        write::Op,
    },
};

/// A field that is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {found} is not accepted; accepted: {accepted}")]
pub struct InvalidField {
    /// The request's field.
    pub field: &'static str,
    /// What it held.
    pub found: String,
    /// What it may hold.
    pub accepted: String,
}

type Checked = Result<(), InvalidField>;

fn invalid(field: &'static str, found: impl Into<String>, accepted: impl Into<String>) -> Checked {
    Err(InvalidField { field, found: found.into(), accepted: accepted.into() })
}

fn bytes_max(field: &'static str, bytes: usize, max: usize) -> Checked {
    if bytes > max {
        invalid(field, format!("{bytes} bytes"), format!("at most {max} bytes"))
    } else {
        Ok(())
    }
}

/// A key: 1 to 4,096 bytes.
///
/// # Errors
/// When it is empty or too long.
pub fn key(key: &[u8]) -> Checked {
    if key.is_empty() {
        return invalid("key", "an empty key", format!("1 to {KEY_BYTES_MAX} bytes"));
    }
    bytes_max("key", key.len(), KEY_BYTES_MAX)
}

/// A value: at most 1 MiB.
///
/// # Errors
/// When it is too large.
pub fn value(value: &[u8]) -> Checked {
    bytes_max("value", value.len(), VALUE_BYTES_MAX)
}

/// An idempotency id: at most 64 bytes.
///
/// # Errors
/// When it is too long.
pub fn idempotency_id(id: &[u8]) -> Checked {
    bytes_max("idempotency_id", id.len(), IDEMPOTENCY_ID_BYTES_MAX)
}

/// A bound of a key range, which may be empty and one byte longer than a key.
fn range_bound(field: &'static str, bound: &[u8]) -> Checked {
    bytes_max(field, bound.len(), KEY_BYTES_MAX + 1)
}

/// The name of a namespace: lower-case letters, digits, `-` and `_`, at most 63 bytes.
///
/// # Errors
/// When it is anything else.
pub fn namespace(name: &str) -> Checked {
    let accepted = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_".contains(&byte);
    if !name.is_empty() && name.len() <= NAMESPACE_BYTES_MAX && name.bytes().all(accepted) {
        return Ok(());
    }
    let shown: String = name.chars().take(NAMESPACE_BYTES_MAX).collect();
    invalid("namespace", format!("{shown:?}"), format!("1 to {NAMESPACE_BYTES_MAX} of a-z, 0-9, '-' and '_'"))
}

/// A compare-and-swap.
///
/// # Errors
/// The first field that is not accepted.
pub fn cas(request: &CasRequest) -> Checked {
    namespace(&request.namespace)?;
    key(&request.key)?;
    value(&request.value)?;
    idempotency_id(&request.idempotency_id)
}

/// A compare-and-delete; its expected version is never 0, since what is absent cannot be deleted.
///
/// # Errors
/// The first field that is not accepted.
pub fn cas_delete(request: &CasDeleteRequest) -> Checked {
    namespace(&request.namespace)?;
    key(&request.key)?;
    if request.expected_version == 0 {
        return invalid("expected_version", "0", "the version of a record, from 1");
    }
    idempotency_id(&request.idempotency_id)
}

/// A linearizable read.
///
/// # Errors
/// The first field that is not accepted.
pub fn get(request: &GetRequest) -> Checked {
    namespace(&request.namespace)?;
    key(&request.key)
}

/// A page of a scan.
///
/// # Errors
/// The first field that is not accepted.
pub fn scan(request: &ScanRequest) -> Checked {
    namespace(&request.namespace)?;
    range_bound("start_key", &request.start_key)?;
    range_bound("end_key", &request.end_key)
}

/// A batch: at most 1,024 operations and 8 MiB, each key written once.
///
/// # Errors
/// The first field that is not accepted.
pub fn commit(request: &CommitRequest) -> Checked {
    namespace(&request.namespace)?;
    idempotency_id(&request.idempotency_id)?;
    let operations = request.compares.len() + request.writes.len();
    if operations > BATCH_OPS_MAX {
        return invalid("writes", format!("{operations} operations"), format!("at most {BATCH_OPS_MAX}"));
    }
    request.compares.iter().try_for_each(|compare| key(&compare.key))?;
    request.writes.iter().try_for_each(write)?;
    let compared: usize = request.compares.iter().map(|compare| compare.key.len()).sum();
    let written: usize = request.writes.iter().map(write_bytes).sum();
    bytes_max("writes", compared + written, BATCH_BYTES_MAX)?;
    written_once(&request.writes)
}

fn write(write: &Write) -> Checked {
    key(&write.key)?;
    match &write.op {
        Some(Op::Put(put)) => value(put),
        Some(Op::Delete(true)) => Ok(()),
        _ => invalid("writes.op", "nothing", "a put or a delete"),
    }
}

fn write_bytes(write: &Write) -> usize {
    write.key.len() + if let Some(Op::Put(value)) = &write.op { value.len() } else { 0 }
}

fn written_once(writes: &[Write]) -> Checked {
    let mut keys: Vec<&[u8]> = writes.iter().map(|write| &write.key[..]).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(twice) => invalid(
            "writes.key",
            format!("{:?} twice", String::from_utf8_lossy(twice[0])),
            "each key once in a batch",
        ),
        None => Ok(()),
    }
}

/// A watch.
///
/// # Errors
/// The first field that is not accepted.
pub fn watch(request: &WatchRequest) -> Checked {
    namespace(&request.namespace)?;
    bytes_max("prefix", request.prefix.len(), KEY_BYTES_MAX)
}

/// An eventual write.
///
/// # Errors
/// The first field that is not accepted.
pub fn raw_put(request: &RawPutRequest) -> Checked {
    namespace(&request.namespace)?;
    key(&request.key)?;
    value(&request.value)
}

/// An eventual read.
///
/// # Errors
/// The first field that is not accepted.
pub fn raw_get(request: &RawGetRequest) -> Checked {
    namespace(&request.namespace)?;
    key(&request.key)
}

/// A page of an eventual scan.
///
/// # Errors
/// The first field that is not accepted.
pub fn raw_scan(request: &RawScanRequest) -> Checked {
    namespace(&request.namespace)?;
    range_bound("start_key", &request.start_key)?;
    range_bound("end_key", &request.end_key)
}

/// An eventual delete.
///
/// # Errors
/// The first field that is not accepted.
pub fn raw_delete(request: &RawDeleteRequest) -> Checked {
    namespace(&request.namespace)?;
    key(&request.key)
}

/// A new namespace.
///
/// # Errors
/// The first field that is not accepted.
pub fn create_namespace(request: &CreateNamespaceRequest) -> Checked {
    namespace(&request.name)?;
    bytes_max("key_prefix", request.key_prefix.len(), KEY_BYTES_MAX)?;
    match request.mode() {
        NamespaceMode::Unspecified => {
            invalid("mode", request.mode.to_string(), "NAMESPACE_MODE_STRONG or NAMESPACE_MODE_EVENTUAL")
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn largest_key_and_value_are_accepted_and_one_byte_more_is_not() {
        assert_eq!(key(&[1; KEY_BYTES_MAX]), Ok(()));
        assert_eq!(value(&vec![1; VALUE_BYTES_MAX]), Ok(()));
        let refused = value(&vec![1; VALUE_BYTES_MAX + 1]).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "value: 1048577 bytes is not accepted; accepted: at most 1048576 bytes"
        );
        assert!(key(&[1; KEY_BYTES_MAX + 1]).is_err() && key(&[]).is_err());
    }

    #[test]
    fn key_written_twice_in_a_batch_is_refused() {
        let write = |key: &'static [u8]| Write { key: key.into(), op: Some(Op::Delete(true)) };
        let batch = |writes| CommitRequest { namespace: "n".to_owned(), writes, ..Default::default() };
        assert_eq!(commit(&batch(vec![write(b"b"), write(b"a")])), Ok(()));
        assert_eq!(
            commit(&batch(vec![write(b"b"), write(b"a"), write(b"b")])).unwrap_err().field,
            "writes.key"
        );
    }

    #[test]
    fn delete_of_an_absent_record_is_refused() {
        let request = CasDeleteRequest { key: "k".into(), namespace: "n".to_owned(), ..Default::default() };
        assert_eq!(cas_delete(&request).unwrap_err().field, "expected_version");
    }
}
