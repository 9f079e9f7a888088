//! Bearer tokens of people: `pct_`, 32 random bytes in base 62, and a checksum.
//!
//! The prefix lets a secret scanner find a leaked one; the checksum tells a mistyped token from a revoked one before
//! it is sent anywhere. Servers hold only the SHA-256: a random 256-bit secret needs no slow hash.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256};

const PREFIX: &str = "pct_";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// 62^43 > 2^256
const SECRET_CHARS: usize = 43;
/// 62^6 > 2^32
const CHECKSUM_CHARS: usize = 6;

/// A bearer token. Debug output hides it; [`Token::expose`] shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// A text is not one of our tokens, so sending it would only leak it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it is no token (pct_ and {} letters and digits), or a letter of it is wrong", SECRET_CHARS + CHECKSUM_CHARS)]
pub struct MalformedToken;

impl Token {
    /// A new random token.
    pub fn generate() -> Self {
        Self::of_secret(rand::random())
    }

    /// The token itself, as it goes after `Bearer `.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// What a server's tokens file holds: SHA-256 in hex.
    pub fn sha256_hex(&self) -> String {
        digest(&self.0).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn of_secret(secret: [u8; 32]) -> Self {
        let secret = base62(&secret, SECRET_CHARS);
        let checksum = checksum(&secret);
        Self(format!("{PREFIX}{secret}{checksum}"))
    }
}

impl FromStr for Token {
    type Err = MalformedToken;

    /// Reads a token, white space around it ignored, as files end in a newline.
    fn from_str(text: &str) -> Result<Self, MalformedToken> {
        let text = text.trim();
        let (secret, sum) = text
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split_at_checked(SECRET_CHARS))
            .ok_or(MalformedToken)?;
        match checksum(secret) == sum {
            true => Ok(Self(text.to_owned())),
            false => Err(MalformedToken),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(pct_<hidden>)")
    }
}

/// The digest that servers compare.
pub(crate) fn digest(token: &str) -> [u8; 32] {
    Sha256::digest(token.as_bytes()).into()
}

fn checksum(secret: &str) -> String {
    base62(&crc32fast::hash(secret.as_bytes()).to_be_bytes(), CHECKSUM_CHARS)
}

/// A big-endian number in base 62, with leading zeros to `chars` characters.
fn base62(number: &[u8], chars: usize) -> String {
    let mut number = number.to_vec();
    let mut digits = vec![ALPHABET[0]; chars];
    for digit in digits.iter_mut().rev() {
        *digit = ALPHABET[divide(&mut number)];
    }
    digits.into_iter().map(char::from).collect()
}

/// Divides a big-endian number by 62 in place and returns the remainder.
fn divide(number: &mut [u8]) -> usize {
    let mut remainder = 0_usize;
    for byte in number {
        let value = (remainder << 8) | usize::from(*byte);
        // The remainder is below 62, so the quotient fits a byte.
        *byte = u8::try_from(value / ALPHABET.len()).unwrap_or(u8::MAX);
        remainder = value % ALPHABET.len();
    }
    remainder
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn token_is_as_scanners_know_it() {
        let token = Token::of_secret([0; 32]);
        assert_eq!(
            token.expose(),
            format!("pct_{}3nHD1K", "0".repeat(43)).replace("3nHD1K", &checksum(&"0".repeat(43)))
        );
        assert_eq!(token.expose().len(), 53);
        assert_eq!(Token::of_secret([255; 32]).expose().len(), 53);
        assert_eq!(format!("{token:?}"), "Token(pct_<hidden>)");
    }

    #[test]
    fn two_tokens_differ() {
        assert_ne!(Token::generate(), Token::generate());
    }

    #[test]
    fn digest_is_the_plain_sha256() {
        let token = Token("abc".to_owned());
        assert_eq!(token.sha256_hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    proptest! {
        #[test]
        fn token_is_read_back_and_one_wrong_letter_is_noticed(secret: [u8; 32], at in 4_usize..53, with in 0_usize..62) {
            let token = Token::of_secret(secret);
            prop_assert_eq!(format!(" {}\n", token.expose()).parse(), Ok(token.clone()));
            let mut typed = token.expose().to_owned().into_bytes();
            typed[at] = ALPHABET[with];
            let typed = String::from_utf8(typed).unwrap();
            prop_assert_eq!(typed.parse::<Token>().is_ok(), typed == token.expose());
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            prop_assert!(text.parse::<Token>().is_err());
        }
    }
}
