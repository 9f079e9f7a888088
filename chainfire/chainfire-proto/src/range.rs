//! What a range of keys is, by etcd's rules (API reference, "Key ranges").

use std::ops::Bound;

use bytes::Bytes;

/// `range_end` of the range of every key from `key` on.
const FROM_KEY: &[u8] = &[0];

/// A range of keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyRange {
    /// One key.
    One(Bytes),
    /// The keys from the first to before the second.
    Between(Bytes, Bytes),
    /// The keys from this one on.
    From(Bytes),
}

impl KeyRange {
    /// The range of a request's `key` and `range_end`. As in etcd, the key of one zero byte begins at the very first.
    pub fn new(key: impl Into<Bytes>, range_end: impl Into<Bytes>) -> Self {
        let (key, range_end) = (key.into(), range_end.into());
        match &*range_end {
            [] => Self::One(key),
            FROM_KEY => Self::From(key),
            _ => Self::Between(key, range_end),
        }
    }

    /// The keys that begin with this prefix; the empty one: every key.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let prefix = prefix.into();
        match prefix.iter().rposition(|byte| *byte != u8::MAX) {
            Some(last) => {
                let mut end = prefix[..=last].to_vec();
                end[last] += 1;
                Self::Between(prefix, end.into())
            }
            None => Self::From(prefix),
        }
    }

    /// Whether a key is in the range.
    pub fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::One(one) => one == key,
            Self::Between(start, end) => &**start <= key && key < &**end,
            Self::From(start) => &**start <= key,
        }
    }

    /// Whether every key of the other range is in this one.
    pub fn covers(&self, other: &Self) -> bool {
        match (other, self) {
            (Self::One(key), _) => self.contains(key),
            (_, Self::One(_)) => other.is_empty(),
            (Self::Between(start, end), Self::Between(from, to)) => {
                other.is_empty() || (from <= start && end <= to)
            }
            (Self::Between(start, _) | Self::From(start), Self::From(from)) => {
                other.is_empty() || from <= start
            }
            (Self::From(_), Self::Between(..)) => false,
        }
    }

    /// Whether no key can be in the range.
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Between(start, end) if start >= end)
    }

    /// Where the range begins.
    pub fn start(&self) -> &Bytes {
        match self {
            Self::One(key) | Self::Between(key, _) | Self::From(key) => key,
        }
    }

    /// Where the range ends.
    pub fn end(&self) -> Bound<&Bytes> {
        match self {
            Self::One(key) => Bound::Included(key),
            Self::Between(_, end) => Bound::Excluded(end),
            Self::From(_) => Bound::Unbounded,
        }
    }

    /// The range as a request's `key` and `range_end`.
    pub fn into_request(self) -> (Bytes, Bytes) {
        match self {
            Self::One(key) => (key, Bytes::new()),
            Self::Between(start, end) => (start, end),
            Self::From(start) => (start, Bytes::from_static(FROM_KEY)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        // Few letters, so that keys meet, and the largest byte, which has no successor.
        prop::collection::vec(prop::sample::select(vec![0, b'a', b'b', u8::MAX]), 1..4)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        (key(), prop::collection::vec(prop::sample::select(vec![0, b'a', b'b', u8::MAX]), 0..4))
            .prop_map(|(key, end)| KeyRange::new(key, end))
    }

    #[test]
    fn prefix_ends_before_its_successor_and_not_before_a_longer_sibling() {
        assert_eq!(KeyRange::prefix("/fiberlb/"), KeyRange::Between("/fiberlb/".into(), "/fiberlb0".into()));
        assert!(!KeyRange::prefix("/fiberlb/").contains(b"/fiberlb2/x"));
        assert_eq!(KeyRange::prefix(&b"a\xff"[..]), KeyRange::Between((&b"a\xff"[..]).into(), "b".into()));
        assert_eq!(KeyRange::prefix(&b"\xff"[..]), KeyRange::From((&b"\xff"[..]).into()));
        assert!(KeyRange::prefix("").contains(b"anything"));
    }

    proptest! {
        #[test]
        fn prefix_holds_exactly_the_keys_that_begin_with_it(prefix in key(), key in key()) {
            prop_assert_eq!(KeyRange::prefix(prefix.clone()).contains(&key), key.starts_with(&prefix));
        }

        #[test]
        fn range_is_the_same_after_a_trip_through_a_request(range in range()) {
            let (key, end) = range.clone().into_request();
            prop_assert_eq!(KeyRange::new(key, end), range);
        }

        #[test]
        fn range_that_covers_another_holds_each_of_its_keys(outer in range(), inner in range(), key in key()) {
            if outer.covers(&inner) && inner.contains(&key) {
                prop_assert!(outer.contains(&key));
            }
        }

        #[test]
        fn empty_range_holds_no_key(range in range(), key in key()) {
            prop_assert!(!(range.is_empty() && range.contains(&key)));
        }
    }
}
