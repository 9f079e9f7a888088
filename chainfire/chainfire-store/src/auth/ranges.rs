//! Whether ranges of keys together hold every key of another one.

use std::ops::Bound;

use bytes::Bytes;
use chainfire_proto::KeyRange;

/// Whether every key of `wanted` is in one of these, which may be one's beginning and another's end.
pub(super) fn cover(mut granted: Vec<KeyRange>, wanted: &KeyRange) -> bool {
    if wanted.is_empty() {
        return true;
    }
    granted.sort_by(|one, two| one.start().cmp(two.start()));
    let mut reached = wanted.start().clone();
    for range in granted {
        if *range.start() > reached {
            return false;
        }
        match end(&range) {
            None => return true,
            Some(end) if end > reached => reached = end,
            Some(_) => {}
        }
        if end(wanted).is_some_and(|end| reached >= end) {
            return true;
        }
    }
    false
}

/// The first key behind a range; `None`: there is none.
fn end(range: &KeyRange) -> Option<Bytes> {
    match range.end() {
        Bound::Included(key) => Some([key, &[0][..]].concat().into()),
        Bound::Excluded(end) => Some(end.clone()),
        Bound::Unbounded => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(prop::sample::select(vec![b'a', b'b', b'c']), 1..3)
    }

    fn range() -> impl Strategy<Value = KeyRange> {
        let end = prop_oneof![Just(Vec::new()), Just(vec![0]), key(), key()];
        (key(), end).prop_map(|(key, end)| KeyRange::new(key, end))
    }

    #[test]
    fn neighbours_cover_what_lies_across_both() {
        let granted =
            vec![KeyRange::Between("c".into(), "e".into()), KeyRange::Between("a".into(), "c".into())];
        assert!(cover(granted.clone(), &KeyRange::Between("b".into(), "d".into())));
        assert!(!cover(granted, &KeyRange::From("b".into())));
    }

    proptest! {
        #[test]
        fn what_is_covered_is_in_one_of_the_ranges(
            granted in prop::collection::vec(range(), 0..4),
            wanted in range(),
            key in key(),
        ) {
            let any = granted.iter().any(|range| range.contains(&key));
            if cover(granted.clone(), &wanted) {
                prop_assert!(!wanted.contains(&key) || any);
            } else if let KeyRange::One(one) = &wanted {
                prop_assert!(!granted.iter().any(|range| range.contains(one)));
            } else {
                prop_assert!(!granted.iter().any(|range| range.covers(&wanted)));
            }
        }
    }
}
