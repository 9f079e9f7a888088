//! The end of a prefix's key range.

/// The first key behind all keys that start with `prefix`; `None` when there is none, because the prefix is empty or
/// all `0xff`.
pub fn prefix_end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|&byte| byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_a_prefix_is_the_next_key_that_lacks_it() {
        assert_eq!(prefix_end(b"/fiberlb/"), Some(b"/fiberlb0".to_vec()));
        assert_eq!(prefix_end(b"a\xff\xff"), Some(b"b".to_vec()));
    }

    #[test]
    fn prefixes_without_a_successor_reach_to_the_end() {
        assert_eq!(prefix_end(b""), None);
        assert_eq!(prefix_end(b"\xff\xff"), None);
    }
}
