//! What is refused before anything is sent: the rules of `flaredb_proto::validate`, with sizes told apart.

use flaredb_proto::{
    limits::{BATCH_BYTES_MAX, BATCH_OPS_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX},
    v1::{CommitRequest, write::Op},
    validate::InvalidField,
};

use crate::Error;

/// A record's key and value.
pub(crate) fn sizes(key: &[u8], value: &[u8]) -> Result<(), Error> {
    at_most("key", key.len(), KEY_BYTES_MAX)?;
    at_most("value", value.len(), VALUE_BYTES_MAX)
}

/// A whole batch.
pub(crate) fn batch(request: &CommitRequest) -> Result<(), Error> {
    at_most("operations", request.compares.len() + request.writes.len(), BATCH_OPS_MAX)?;
    let mut bytes = 0;
    for compare in &request.compares {
        sizes(&compare.key, b"")?;
        bytes += compare.key.len();
    }
    for write in &request.writes {
        let value = if let Some(Op::Put(value)) = &write.op { &value[..] } else { b"" };
        sizes(&write.key, value)?;
        bytes += write.key.len() + value.len();
    }
    at_most("batch", bytes, BATCH_BYTES_MAX)?;
    accept(flaredb_proto::validate::commit(request))
}

/// The verdict of a rule that client and server share.
pub(crate) fn accept(checked: Result<(), InvalidField>) -> Result<(), Error> {
    checked.map_err(Error::from)
}

fn at_most(what: &'static str, found: usize, accepted: usize) -> Result<(), Error> {
    if found > accepted { Err(Error::TooLarge { what, found, accepted }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use flaredb_proto::v1::Write;

    use super::*;

    fn put(key: String, bytes: usize) -> Write {
        Write { key: key.into(), op: Some(Op::Put(vec![0; bytes].into())) }
    }

    fn checked(writes: Vec<Write>) -> Result<(), Error> {
        batch(&CommitRequest { namespace: "n".to_owned(), writes, ..Default::default() })
    }

    #[test]
    fn batch_at_its_limits_is_accepted_and_over_them_is_too_large() {
        assert!(checked(vec![put("k".to_owned(), VALUE_BYTES_MAX)]).is_ok());
        let refused = checked(vec![put("k".to_owned(), VALUE_BYTES_MAX + 1)]).unwrap_err();
        assert_eq!(refused.to_string(), "value: 1048577 is too large; accepted: at most 1048576");
        let many = |count: usize, bytes| (0..count).map(|number| put(number.to_string(), bytes)).collect();
        assert!(checked(many(BATCH_OPS_MAX, 1)).is_ok());
        assert!(matches!(
            checked(many(BATCH_OPS_MAX + 1, 1)),
            Err(Error::TooLarge { what: "operations", .. })
        ));
        assert!(matches!(checked(many(9, VALUE_BYTES_MAX)), Err(Error::TooLarge { what: "batch", .. })));
    }

    #[test]
    fn batch_that_writes_a_key_twice_is_invalid() {
        assert!(matches!(
            checked(vec![put("k".to_owned(), 1), put("k".to_owned(), 1)]),
            Err(Error::Invalid { .. })
        ));
    }
}
