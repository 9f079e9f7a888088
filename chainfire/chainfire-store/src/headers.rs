//! Headers of records that were written lately.
//!
//! A put must know what it supersedes, though not its value; and what is written is mostly what was written before.
//! What is here is taken only for the version that it is of, so it may be older than the store, or of a run that was
//! never finished.

use std::collections::HashMap;

use bytes::Bytes;
use flaredb_engine::Current;
use foldhash::fast::RandomState;

use crate::record::Header;

/// Bytes of keys in one of the two generations.
const KEY_BYTES_MAX: usize = 8 << 20;
/// Records in one of the two generations.
const RECORDS_MAX: usize = 1 << 16;

/// Headers by key, in two generations: when the younger one is full, the older one goes.
#[derive(Debug, Default)]
pub(crate) struct Headers {
    young: Generation,
    old: Generation,
}

#[derive(Debug, Default)]
struct Generation {
    headers: HashMap<Box<[u8]>, (u64, Header), RandomState>,
    key_bytes: usize,
}

impl Headers {
    /// The header of a record as it is now, if it is known.
    pub(crate) fn get(&self, key: &[u8], current: Current) -> Option<Header> {
        let found = self.young.headers.get(key).or_else(|| self.old.headers.get(key));
        found.filter(|(version, _)| *version == current.version).map(|(_, header)| *header)
    }

    /// Remembers the header that a record has from `version` on.
    pub(crate) fn put(&mut self, key: &Bytes, version: u64, header: Header) {
        if let Some(kept) = self.young.headers.get_mut(&key[..]) {
            *kept = (version, header);
            return;
        }
        if self.young.headers.len() >= RECORDS_MAX || self.young.key_bytes >= KEY_BYTES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.key_bytes += key.len();
        self.young.headers.insert(key[..].into(), (version, header));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn current(version: u64) -> Current {
        Current { version, value_bytes: 1 }
    }

    fn header(version: u64) -> Header {
        Header { create_revision: 1, version, lease: 0 }
    }

    #[test]
    fn header_of_another_version_is_not_taken() {
        let (mut headers, key) = (Headers::default(), Bytes::from("k"));
        headers.put(&key, 7, header(1));
        assert_eq!(headers.get(&key, current(7)), Some(header(1)));
        assert_eq!(headers.get(&key, current(6)), None);
        headers.put(&key, 9, header(2));
        assert_eq!((headers.get(&key, current(7)), headers.get(&key, current(9))), (None, Some(header(2))));
    }

    #[test]
    fn no_more_is_kept_than_two_generations_and_the_newest_always_is() {
        let mut headers = Headers::default();
        let key = |number: usize| Bytes::from(number.to_string());
        for number in 0..3 * RECORDS_MAX {
            headers.put(&key(number), 1, header(1));
            assert!(headers.get(&key(number), current(1)).is_some());
        }
        assert!(headers.young.headers.len() + headers.old.headers.len() <= 2 * RECORDS_MAX);
        assert!(headers.get(&key(0), current(1)).is_none());
    }
}
