//! Tokens: who holds one has shown a password not long ago.
//!
//! A token is the user's name, the time, and a seal over both, under a key that all nodes have in the store, so any node
//! takes any node's tokens. It is good for a while from then on, and at each node for as long after every use there. A
//! new password or a deleted user makes tokens worthless at once; the key is replaced now and then, and they become
//! worthless with the one that replaces that.

mod uses;

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use chainfire_store::{
    Auth,
    internal::{Caller, TokenKey, command::Request},
};
use ring::hmac;
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::uses::{Nonce, Uses};
use crate::api::Api;

/// Random bytes of a key.
const KEY_BYTES: usize = 32;
/// How often a leader replaces the key. A token lives at most once to twice as long, however often it is used.
const KEY_EVERY: Duration = Duration::from_secs(12 * 60 * 60);

/// A new key.
pub(crate) fn new_key() -> Bytes {
    Bytes::copy_from_slice(&rand::random::<[u8; KEY_BYTES]>())
}

/// A token, taken apart.
#[derive(Clone, Copy)]
struct Token<'t> {
    nonce: &'t str,
    /// When it was given out, by the clock of the node that did.
    issued_ms: &'t str,
    seal: &'t str,
    user: &'t str,
}

impl<'t> Token<'t> {
    fn read(token: &'t str) -> Option<Self> {
        let mut parts = token.splitn(4, '.');
        let mut part = || parts.next();
        Some(Self { nonce: part()?, issued_ms: part()?, seal: part()?, user: part()? })
    }

    /// What is sealed: another password, or another user of the name, and it is something else.
    fn message(&self, auth: &Auth) -> Option<Vec<u8>> {
        let password = auth.password_hash(self.user)?;
        Some([self.nonce, "\0", self.issued_ms, "\0", self.user, "\0", password].concat().into_bytes())
    }

    fn is_sealed(&self, auth: &Auth) -> bool {
        let Some((seal, message)) = unhex(self.seal).zip(self.message(auth)) else { return false };
        let is_good =
            |key: &Bytes| hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), &message, &seal).is_ok();
        auth.token_keys().iter().any(is_good)
    }
}

/// A token for a user who has shown the password; `None`: nobody has to show one.
pub(crate) fn issue(auth: &Auth, user: &str) -> Option<String> {
    let (nonce, issued_ms) = (hex(&rand::random::<Nonce>()), wall_clock().as_millis().to_string());
    let token = Token { nonce: &nonce, issued_ms: &issued_ms, seal: "", user };
    let seal = hex(seal(auth.token_keys().first()?, &token.message(auth)?).as_ref());
    Some(format!("{nonce}.{issued_ms}.{seal}.{user}"))
}

/// How long tokens are good at this node.
#[derive(Debug)]
pub(crate) struct Tokens {
    lifetime: Duration,
    start: Instant,
    uses: Mutex<Uses>,
}

impl Tokens {
    /// Tokens that live so long, and as long again after every use.
    pub(crate) fn new(lifetime: Duration) -> Self {
        Self { lifetime, start: Instant::now(), uses: Mutex::default() }
    }

    /// Whose token it is, which has been used herewith; `None`: nobody's, or it is too old.
    pub(crate) fn user_of<'t>(&self, auth: &Auth, token: &'t str) -> Option<&'t str> {
        let token = Token::read(token).filter(|token| token.is_sealed(auth))?;
        let nonce = Nonce::try_from(unhex(token.nonce)?).ok()?;
        // By a clock that is ahead of this one's, it was given out just now.
        let age = wall_clock().saturating_sub(Duration::from_millis(token.issued_ms.parse().ok()?));
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        uses.extend(nonce, age, self.lifetime, self.start.elapsed()).then_some(token.user)
    }
}

fn wall_clock() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
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
