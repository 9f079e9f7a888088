//! Session tokens: what lets an eventual read see an earlier write, at whichever replica it lands.
//!
//! A token names a region and an applied index of its log, nothing of the data. Tokens come back from callers, so
//! one that this module did not write is refused instead of being read as some index.

use bytes::{BufMut as _, Bytes, BytesMut};

const FORMAT: u8 = 1;
const LENGTH: usize = 17;

/// "Everything up to `index` of `region`'s log".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Session {
    /// Whose log it is.
    pub(crate) region: u64,
    /// The last log index that was seen.
    pub(crate) index: u64,
}

impl Session {
    /// The token as callers carry it: opaque to them.
    pub(crate) fn encode(self) -> Bytes {
        let mut token = BytesMut::with_capacity(LENGTH);
        token.put_u8(FORMAT);
        token.put_u64(self.region);
        token.put_u64(self.index);
        token.freeze()
    }

    /// Reads a token; `None` for bytes that are none.
    pub(crate) fn decode(token: &[u8]) -> Option<Self> {
        let (&format, rest) = token.split_first()?;
        let (region, index) = rest.split_first_chunk::<8>()?;
        let index = <[u8; 8]>::try_from(index).ok()?;
        (format == FORMAT)
            .then(|| Self { region: u64::from_be_bytes(*region), index: u64::from_be_bytes(index) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_as_it_was_written() {
        let session = Session { region: 1, index: u64::MAX - 1 };
        assert_eq!(Session::decode(&session.encode()), Some(session));
    }

    #[test]
    fn foreign_bytes_are_no_token() {
        let token = Session { region: 1, index: 2 }.encode();
        let mut other_format = token.to_vec();
        other_format[0] = 9;
        let longer = [&token[..], b"x"].concat();
        for bytes in [&b""[..], &token[..16], &other_format, &longer] {
            assert_eq!(Session::decode(bytes), None, "{bytes:?}");
        }
    }
}
