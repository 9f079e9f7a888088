//! The keys that make a packet one of ours.
//!
//! One key seals, every key opens. So a key is changed without a moment of deafness in three rounds over all nodes: add
//! the new one everywhere, use it everywhere, remove the old one everywhere.

use std::fmt;

use chacha20poly1305::{KeyInit as _, Tag, XChaCha20Poly1305, XNonce, aead::AeadInOut as _};
use sha2::{Digest as _, Sha256};

/// Keys that a ring holds, at most: the one in use, the one to come, and one that is not yet removed everywhere.
pub const KEYS_MAX: usize = 3;
/// Bytes of a nonce: 16 of the sender's session, 8 that count its packets.
pub(crate) const NONCE_BYTES: usize = 24;
/// Bytes by which a packet is longer than what is in it because of its seal.
pub(crate) const TAG_BYTES: usize = 16;

/// Names a key without telling it: the first bytes of its hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId(pub(crate) [u8; 4]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A secret that all nodes of the cluster share. It is wiped when it is dropped.
#[derive(Clone)]
pub struct Key {
    id: KeyId,
    cipher: XChaCha20Poly1305,
}

impl Key {
    /// A key of 32 bytes, which must be random.
    pub fn new(bytes: [u8; 32]) -> Self {
        let hash = Sha256::new().chain_update(b"chainfire gossip key").chain_update(bytes).finalize();
        let mut id = [0; 4];
        id.iter_mut().zip(hash).for_each(|(to, from)| *to = from);
        Self { id: KeyId(id), cipher: XChaCha20Poly1305::new(&bytes.into()) }
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id)
    }
}

/// Why a ring stays as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyringError {
    /// There is no place for another key.
    #[error("the ring holds {KEYS_MAX} keys already; remove one first")]
    Full,
    /// There is no such key; add it first.
    #[error("the ring has no key {0}")]
    Unknown(KeyId),
    /// The key seals; use another one first.
    #[error("key {0} is in use; use another one before it is removed")]
    InUse(KeyId),
}

/// The keys of a node.
#[derive(Clone, Debug)]
pub struct Keyring {
    sealing: Key,
    others: Vec<Key>,
}

impl Keyring {
    /// A ring that seals with `key`.
    pub fn new(key: Key) -> Self {
        Self { sealing: key, others: Vec::new() }
    }

    /// The keys' names; the one that seals comes first.
    pub fn ids(&self) -> Vec<KeyId> {
        self.all().map(Key::id).collect()
    }

    /// From now on opens what was sealed with `key` as well. A key that is there already changes nothing.
    ///
    /// # Errors
    /// When the ring is full.
    pub fn add(&mut self, key: Key) -> Result<(), KeyringError> {
        if self.find(key.id).is_some() {
            return Ok(());
        }
        if self.others.len() + 1 >= KEYS_MAX {
            return Err(KeyringError::Full);
        }
        self.others.push(key);
        Ok(())
    }

    /// From now on seals with this key. Using the key in use changes nothing.
    ///
    /// # Errors
    /// When the ring has no such key.
    pub fn use_key(&mut self, id: KeyId) -> Result<(), KeyringError> {
        if self.sealing.id == id {
            return Ok(());
        }
        let other = self.others.iter_mut().find(|key| key.id == id).ok_or(KeyringError::Unknown(id))?;
        std::mem::swap(&mut self.sealing, other);
        Ok(())
    }

    /// From now on refuses what was sealed with this key.
    ///
    /// # Errors
    /// When the ring has no such key, or seals with it.
    pub fn remove(&mut self, id: KeyId) -> Result<(), KeyringError> {
        if self.sealing.id == id {
            return Err(KeyringError::InUse(id));
        }
        let place = self.others.iter().position(|key| key.id == id).ok_or(KeyringError::Unknown(id))?;
        self.others.remove(place);
        Ok(())
    }

    fn all(&self) -> impl Iterator<Item = &Key> {
        std::iter::once(&self.sealing).chain(&self.others)
    }

    fn find(&self, id: KeyId) -> Option<&Key> {
        self.all().find(|key| key.id == id)
    }

    pub(crate) fn sealing(&self) -> KeyId {
        self.sealing.id
    }

    /// Encrypts `text` in place and returns its tag; `None` only for a text longer than the cipher can take (256 GiB).
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        head: &[u8],
        text: &mut [u8],
    ) -> Option<[u8; TAG_BYTES]> {
        let nonce = XNonce::from(*nonce);
        self.sealing.cipher.encrypt_inout_detached(&nonce, head, text.into()).ok().map(Into::into)
    }

    /// Decrypts `text` in place, if it was sealed with a key of the ring.
    pub(crate) fn open(
        &self,
        id: KeyId,
        nonce: &[u8; NONCE_BYTES],
        head: &[u8],
        text: &mut [u8],
        tag: [u8; TAG_BYTES],
    ) -> bool {
        let (nonce, tag) = (XNonce::from(*nonce), Tag::from(tag));
        self.find(id)
            .is_some_and(|key| key.cipher.decrypt_inout_detached(&nonce, head, text.into(), &tag).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> Key {
        Key::new([byte; 32])
    }

    fn opens(to: &Keyring, from: &Keyring) -> bool {
        let (nonce, mut text) = ([7; NONCE_BYTES], *b"hello");
        let tag = from.seal(&nonce, b"head", &mut text).unwrap();
        let opened = to.open(from.sealing(), &nonce, b"head", &mut text, tag);
        assert_eq!(opened, text == *b"hello");
        opened
    }

    #[test]
    fn change_of_keys_in_three_rounds_leaves_no_two_nodes_deaf() {
        let (old, new) = (key(1), key(2));
        let mut rings = [Keyring::new(old.clone()), Keyring::new(old.clone())];
        let mut step = |change: &dyn Fn(&mut Keyring) -> Result<(), KeyringError>| {
            for at in 0..2 {
                change(&mut rings[at]).unwrap();
                assert!(opens(&rings[0], &rings[1]) && opens(&rings[1], &rings[0]));
            }
        };
        step(&|ring| ring.add(new.clone()));
        step(&|ring| ring.use_key(new.id()));
        step(&|ring| ring.remove(old.id()));
        assert!(!opens(&rings[0], &Keyring::new(old)));
    }

    #[test]
    fn ring_never_loses_the_key_it_seals_with_and_never_grows_beyond_its_bound() {
        let mut ring = Keyring::new(key(1));
        assert_eq!(ring.remove(key(1).id()), Err(KeyringError::InUse(key(1).id())));
        assert_eq!(ring.use_key(key(2).id()), Err(KeyringError::Unknown(key(2).id())));
        ring.add(key(2)).unwrap();
        ring.add(key(2)).unwrap();
        ring.add(key(3)).unwrap();
        assert_eq!(ring.add(key(4)), Err(KeyringError::Full));
        assert_eq!(ring.ids(), [key(1).id(), key(2).id(), key(3).id()]);
    }

    #[test]
    fn key_shows_its_name_and_never_itself() {
        assert_eq!(format!("{:?}", key(1)), format!("Key({})", key(1).id()));
    }
}
