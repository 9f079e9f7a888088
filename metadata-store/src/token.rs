//! Tokens of scans: where the next page starts, and the revision that all pages are of.
//!
//! The text form is for APIs that hand tokens to their own callers: letters, digits and dots, with a check sum, so
//! that a token that was cut or typed is refused instead of starting somewhere else.

use std::{fmt, str::FromStr};

use crate::Version;

/// Where a scan goes on. Opaque to everybody but the backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub(crate) revision: Version,
    pub(crate) start: Vec<u8>,
}

/// A text that is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token of a scan")]
pub struct MalformedToken;

impl Token {
    /// FNV-1a over what the token says.
    fn check_sum(&self) -> u32 {
        let revision = self.revision.0.to_be_bytes();
        let bytes = revision.iter().chain(&self.start);
        bytes.fold(0x811c_9dc5, |sum: u32, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:08x}.", self.revision.0, self.check_sum())?;
        self.start.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Token {
    type Err = MalformedToken;

    fn from_str(text: &str) -> Result<Token, MalformedToken> {
        let mut parts = text.splitn(3, '.');
        let revision = parts.next().and_then(hexadecimal).ok_or(MalformedToken)?;
        let sum = parts.next().and_then(hexadecimal).ok_or(MalformedToken)?;
        let start = parts.next().and_then(bytes).ok_or(MalformedToken)?;
        let token = Token { revision: Version(revision), start };
        if u64::from(token.check_sum()) == sum { Ok(token) } else { Err(MalformedToken) }
    }
}

fn hexadecimal(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if digits { u64::from_str_radix(text, 16).ok() } else { None }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    pairs.map(|pair| u8::try_from(hexadecimal(pair?)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_token_is_read_back_from_its_text(revision: u64, start: Vec<u8>) {
            let token = Token { revision: Version(revision), start };
            prop_assert_eq!(token.to_string().parse::<Token>(), Ok(token));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9a-f.#é]{0,40}") {
            let _parsed = text.parse::<Token>();
        }

        #[test]
        fn cut_token_is_refused(revision: u64, start in prop::collection::vec(any::<u8>(), 1..20)) {
            let text = Token { revision: Version(revision), start }.to_string();
            prop_assert_eq!(text[..text.len() - 2].parse::<Token>(), Err(MalformedToken));
        }
    }
}
