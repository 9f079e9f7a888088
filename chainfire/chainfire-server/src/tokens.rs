//! Tokens: who holds one has shown a password not long ago.
//!
//! A token is the user's name and a seal over it, under a key that all nodes have in the store, so any node takes any
//! node's tokens and none is kept. A new password or a deleted user makes them worthless at once; the key is replaced
//! now and then, and they become worthless with the one that replaces that.

use std::time::Duration;

use bytes::Bytes;
use chainfire_store::{
    Auth,
    internal::{Caller, TokenKey, command::Request},
};
use ring::hmac;
use tokio::time::{MissedTickBehavior, interval};

use crate::api::Api;

/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// Random bytes of a token.
const NONCE_BYTES: usize = 16;
/// How often a leader replaces the key. A token lives once to twice as long.
const KEY_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// A new key.
pub(crate) fn new_key() -> Bytes {
    Bytes::copy_from_slice(&rand::random::<[u8; KEY_BYTES]>())
}

/// A token for a user who has shown the password; `None`: nobody has to show one.
pub(crate) fn issue(auth: &Auth, user: &str) -> Option<String> {
    let nonce = hex(&rand::random::<[u8; NONCE_BYTES]>());
    let seal = seal(auth.token_keys().first()?, &message(auth, user, &nonce)?);
    Some(format!("{nonce}.{}.{user}", hex(seal.as_ref())))
}

/// Whose token it is; `None`: nobody's.
pub(crate) fn user_of<'t>(auth: &Auth, token: &'t str) -> Option<&'t str> {
    let (nonce, rest) = token.split_once('.')?;
    let (seal, user) = rest.split_once('.')?;
    let (seal, message) = (unhex(seal)?, message(auth, user, nonce)?);
    let is_good =
        |key: &Bytes| hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &message, &seal).is_ok();
    auth.token_keys().iter().any(is_good).then_some(user)
}

/// What is sealed: another password, or another user of the name, and it is something else.
fn message(auth: &Auth, user: &str, nonce: &str) -> Option<Vec<u8>> {
    Some([nonce, "\0", user, "\0", auth.password_hash(user)?].concat().into_bytes())
}

fn seal(key: &[u8], message: &[u8]) -> hmac::Tag {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| digit.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()?;
    digits.chunks(2).map(|pair| Some(pair.first()? << 4 | pair.get(1)?)).collect()
}

/// Replaces the key of tokens now and then, while this node leads, for as long as it is polled.
pub(crate) async fn replace_keys(api: Api) {
    let mut tick = interval(KEY_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // The first one is at once.
    tick.tick().await;
    loop {
        tick.tick().await;
        if !api.leads() || !api.auth().is_ok_and(|auth| auth.enabled()) {
            continue;
        }
        let key = Request::TokenKey(TokenKey { token_key: new_key() });
        if let Err(status) = api.propose(Caller::default(), key).await {
            tracing::warn!(%status, "the key of tokens was not replaced; it is tried again in some hours");
        }
    }
}

/// The hash in what etcd's clients call a hashed password: bcrypt's, in base64.
pub(crate) fn decode_hash(hashed: &str) -> Option<String> {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let hash = String::from_utf8(STANDARD.decode(hashed).ok()?).ok()?;
    hash.starts_with("$2").then_some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_reads_back_and_nothing_else_does() {
        assert_eq!(unhex(&hex(&[0, 15, 255])), Some(vec![0, 15, 255]));
        assert_eq!((unhex("abc"), unhex("xy")), (None, None));
    }

    #[test]
    fn hash_of_bcrypt_is_taken_and_nothing_else() {
        assert_eq!(decode_hash("JDJhJDEw"), Some("$2a$10".to_owned()));
        assert_eq!((decode_hash("c2VjcmV0"), decode_hash("?")), (None, None));
    }
}
